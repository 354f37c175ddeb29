# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Functions in which a secret stands are not trained on; what only looks like one stays."""

from __future__ import annotations

import pytest
from planted_secrets import assigned, pem, planted

from fedcode.corpus import Screen
from fedcode.corpus.files import cut, source_file
from fedcode.corpus.filters import secret_scan
from fedcode.corpus.filters.look import Look
from fedcode.corpus.filters.secret_patterns import blocks
from fedcode.filters import FilterSettings

SECRETS = planted()

G = "\n\n\ndef g(a):\n    return a\n"
PYTHON = {
    "function": 'x = 1\n\n\ndef f(a):\n    b = "%s"\n    return a + b' + G,
    "comment": "x = 1\n\n\ndef f(a):\n    # %s\n    return a" + G,
    "docstring": 'x = 1\n\n\ndef f(a):\n    """Uses %s."""\n    return a' + G,
    "several-lines": 'x = 1\n\n\ndef f(a):\n    b = """\n    one\n    %s\n    """\n    return b'
    + G,
    "default": 'x = 1\n\n\ndef f(a="%s"):\n    return a' + G,
}
OUTSIDE = {
    "module": 'x = "%s"' + G,
    "comment": "# %s\nx = 1" + G,
    "last": f"x = 1{G}\n\ny = [\n    1,\n    '%s',\n]\n",
    "class": "class A:\n    key = '%s'\n\n    def g(self):\n        return 1\n",
}
OTHERS = {
    "A.java": 'class A {\n int x;\n String f() {\n return "%s";\n }\n int g() { return 1; }\n}\n',
    "a.js": "let x = 1;\nfunction f() {\n  return `%s`;\n}\nfunction g() { return 1; }\n",
    "a.ts": "let x = 1;\nconst f = () => {\n  // %s\n  return x;\n};\nfunction g() { return 1; }\n",
    "a.go": 'package a\n\nfunc f() string {\n\treturn "%s"\n}\n\nfunc g() int { return 1 }\n',
    "a.c": 'int x;\nchar *f(void) {\n  return "%s";\n}\nint g(void) { return 1; }\n',
    "a.rs": 'const X: i32 = 1;\nfn f() -> &str {\n    "%s"\n}\nfn g() -> i32 { 1 }\n',
    "A.cs": 'class A {\n int x;\n string F() {\n return "%s";\n }\n int G() { return 1; }\n}\n',
}


def kept(path, text):
    """The names that stay, and what was taken."""
    found = cut(path, text.encode(), Screen())
    file = source_file(found)
    assert all(r.tokens for r in file.records)
    return [r.name for r in file.records], found


def test_there_are_twenty_kinds_and_more():
    assert len({block.reason for s in SECRETS.values() for block in blocks(Look.at(s))}) >= 20
    assert len(SECRETS) >= 30


@pytest.mark.parametrize("kind", SECRETS)
def test_a_planted_secret_is_blocked_wherever_it_stands(kind):
    secret = SECRETS[kind]
    for text in PYTHON.values():
        names, found = kept("a.py", text % secret)
        assert names == ["g", "<module>"]
        assert {t.name for t in found.taken if t.filter == "secrets"} == {"f"}
        assert not any(secret[-12:] in part for part in (*found.tokens, *map(str, found.taken)))
    for text in OUTSIDE.values():
        names, found = kept("a.py", text % secret)
        assert [name.removeprefix("A.") for name in names] == ["g"]
        assert [t.name for t in found.taken if t.filter == "secrets"][-1] == "<module>"
    for path, text in OTHERS.items():
        names, _ = kept(path, text % secret)
        assert {name.lower().removeprefix("a.") for name in names} == {"g", "<module>"}


@pytest.mark.parametrize("seed", range(2, 12))
def test_whatever_is_drawn(seed):
    for kind, secret in planted(seed).items():
        assert blocks(Look.at(f'def f():\n    return "{secret}"\n')), kind
    for form, value in assigned(seed).items():
        assert blocks(Look.at(form % value)), form


def test_a_key_over_several_lines_takes_all_that_it_stands_in():
    names, _ = kept(
        "a.py", f'x = 1\n\n\ndef f():\n    return """{pem()}"""\n\n\ndef g():\n    return 1\n'
    )
    assert names == ["g", "<module>"]
    names, _ = kept("a.py", f'KEY = """\n{pem()}\n"""\n\n\ndef g():\n    return 1\n')
    assert names == ["g"]
    joined = pem().replace("\n", "\\n")
    assert kept("a.js", f'let k = "{joined}";\nfunction g() {{ return 1; }}\n')[0] == ["g"]


def test_a_line_that_function_and_module_share_takes_both():
    secret = SECRETS["github-token"]
    both = f'function f() {{ return 1; }} let k = "{secret}";'
    text = f"let x = 1;\n{both}\nfunction g() {{ return 2; }}\n"
    assert kept("a.js", text)[0] == ["g"]


def test_a_language_without_functions_loses_the_file():
    assert kept("a.rb", f'x = 1\nkey = "{SECRETS["stripe-key"]}"\n')[0] == []


NEAR_MISSES = [
    'password = "changeme"',
    'password = "xxxxxxxxxxxx"',
    'password = "********"',
    'password = "<your password>"',
    'password = "${DB_PASSWORD_1}"',
    'password = "%(password1)s"',
    'password = "{{ vault.password_9 }}"',
    'password = os.environ["DB_PASSWORD_2"]',
    'password = getenv("APP_PASSWORD_V2")',
    'password = "correct horse battery 1"',
    'label = {"password": "Password1"}',
    'password = "password_field_2"',
    'api_key = "YOUR_API_KEY_1234567890"',
    'token = "access_token_header_name_v2"',
    'token = "oauth2.token.endpoint.name.v2"',
    'TOKEN_URL = "https://example.com/oauth2/v2/token"',
    'secret_name = "projects/p1/secrets/db-password"',
    'names = ["add_secret_args", "compute_request_body_sha256"]',
    'sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0bb822cd15d6c15b0f00a08"',
    '"integrity": "sha512-z1Q0vJ3Yc4wX4p1y9x0ZrJ1oU3c6lH1vJ9N6c8c1a2b3c4d5e6f7g8h9i0j1k2l3"',
    'commit = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"',
    'uuid = "123e4567-e89b-12d3-a456-426614174000"',
    'url = "postgresql://scott:tiger@localhost/test"',
    'url = "postgres://user:password@host/db"',
    'url = f"postgres://{user}:{password}@{host}/db"',
    'url = "https://user:${TOKEN1}@host"',
    'url = "http://localhost:8080/a@b"',
    'example = "AKIAIOSFODNN7EXAMPLE"',
    'begin = "-----BEGIN PRIVATE KEY-----"\nend = "-----END PRIVATE KEY-----"',
    "if password == other.password_1:\n    pass",
    'def test_that_a_very_long_name_with_a_digit_1_in_it_is_no_secret(): pass',
    'css = "sk-estimator-doc-link-with-a-long-name-2"',
    'hf_transformer_configuration_version_4 = 1',
    'ghp_ = "ghp_" + "x" * 36',
    'stripe = "sk_live_xxxxxxxxxxxxxxxxxxxxxxxx"',
    "export DB_PASSWORD=$OTHER_PASSWORD_1a",
    "PASSWORD=$(cat /run/secrets/db1)\nDB_PASSWORD=${PASSWORD}",
    "connect(\n    password=settings.DbPassword2\n)",
    "connect(\n    password=getDbPassword2()\n)",
    "PASSWORD_FILE=/run/secrets/Db1",
    "password = (\n    os.environ['A'] or other\n)",
]  # fmt: skip


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_what_only_looks_like_a_secret_stays(text):
    assert blocks(Look.at(text)) == []


def test_the_deep_scan_finds_more_and_is_off_by_default():
    value = "c3VwZXIgbG9uZyBzdHJpbmcgc2hvdWxkIGNhdXNlIGVub3VnaCBlbnRyb3B5"
    text = f"def f():\n    return '{value}'\n"
    deep = Screen(FilterSettings(deep_secrets=True))
    deep.check()
    assert not cut("a.py", text.encode(), Screen()).taken
    (taken,) = cut("a.py", text.encode(), deep).taken
    assert taken.reason.startswith("deep-")


def test_switched_off_nothing_is_blocked():
    text = PYTHON["function"] % SECRETS["npm-token"]
    assert not cut("a.py", text.encode(), Screen(FilterSettings(secrets=False))).taken


def test_the_deep_scan_asks_no_server(monkeypatch):
    requests = pytest.importorskip("requests")

    def refuse(*_, **__):
        raise AssertionError("something was sent")

    monkeypatch.setattr(requests.Session, "request", refuse)
    text = "".join(f"x = '{secret}'\n" for secret in SECRETS.values())
    assert len(secret_scan.blocks(text)) > 5
