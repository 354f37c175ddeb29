# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Keys, tokens and passwords by their form.

Most secrets are long runs of letters and digits, and hardly any code is: runs are found by a search
in a copy of the text in which every such character is the same, and patterns look at the few that
there are. What has a name before it (``password = "..."``) or stands in an address is found by
its name, or by ``://``. Every pattern begins where a run begins, and is bounded or possessive.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Iterator

from fedcode.corpus.filters.look import Block, Look

FILTER = "secrets"

KINDS = {
    "aws-access-key": (
        "AKIA ASIA ABIA ACCA",
        r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    ),
    "github-token": ("ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{36,255}+"),
    "github-fine-grained-token": (
        "github_pat_",
        r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{40,255}+",
    ),
    "gitlab-token": (
        "glpat- gldt- glrt- glcbt- glptt- glft- glsoat- glagent- glimt-",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|imt)-[\w-]{20,255}+",
    ),
    "slack-token": (
        "xox xapp-",
        r"xox[abeoprs]-(?:[A-Za-z0-9]{1,80}+-?){2,8}|xapp-\d-[A-Z0-9]{8,20}-[\w-]{20,999}+",
    ),
    "slack-webhook": ("services/T", r"services/T[A-Z0-9]{7,12}/B[A-Z0-9]{7,12}/[A-Za-z0-9]{20,28}"),
    "stripe-key": (
        "_live_ _test_ whsec_",
        r"[rsp]k_(?:live|test)_[A-Za-z0-9]{16,255}+|whsec_[A-Za-z0-9]{32,64}",
    ),
    "google-api-key": ("AIza", r"AIza[\w-]{35}(?![\w-])"),
    "google-oauth-secret": ("GOCSPX- ya29.", r"GOCSPX-[\w-]{28}|ya29\.[\w-]{40,999}+"),
    "jwt": ("eyJ", r"(?<![\w-])eyJ[\w-]{10,9999}+\.eyJ[\w-]{10,9999}+\.[\w-]{16,999}+"),
    "azure-storage-key": ("==", r"[A-Za-z0-9+/]{86}==(?![A-Za-z0-9+/=])"),
    "azure-shared-key": (
        "Key= key= sig= SIG= KEY=",
        r"(?i:SharedAccessKey|sig)=[A-Za-z0-9+/%]{40,60}(?:=|%3[dD])",
    ),
    "azure-client-secret": ("7Q~ 8Q~", r"[\w.~-]{3}[78]Q~[\w.~-]{31,34}(?![\w~-])"),
    "npm-token": ("npm_", r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    "pypi-token": ("pypi-AgE", r"pypi-AgE[\w-]{50,999}+"),
    "sendgrid-key": ("SG.", r"SG\.[\w-]{16,32}\.[\w-]{16,64}"),
    "twilio-key": ("SK AC", r"(?:SK|AC)[0-9a-f]{32}(?![\w-])"),
    "mailgun-key": ("key-", r"key-[0-9a-f]{32}(?![\w-])"),
    "mailchimp-key": ("-us", r"[0-9a-f]{32}-us\d{1,2}(?!\w)"),
    "telegram-token": (":AA", r"\d{8,10}:AA[\w-]{33}(?![\w-])"),
    "discord-token": (
        "MD MT Mj Mz ND NT Nj Nz OD OT Oj Oz",
        r"[MNO][DTjz][\w-]{22,26}\.[\w-]{6}\.[\w-]{27,38}(?![\w-])",
    ),
    "discord-webhook": ("webhooks/", r"webhooks/\d{17,20}/[\w-]{60,80}"),
    "openai-key": (
        "sk-",
        r"sk-(?:[A-Za-z0-9]{40,64}(?![\w-])|(?:proj|svcacct|admin|or-v1)-[\w-]{20,999}+)",
    ),
    "anthropic-key": ("sk-ant-", r"sk-ant-[a-z]{2,8}\d\d-[\w-]{40,999}+"),
    "hugging-face-token": (
        "hf_ api_org_",
        r"(?:hf_[A-Za-z]{34}|api_org_[A-Za-z]{34})(?![A-Za-z0-9_])",
    ),
    "square-token": ("sq0 EAAA", r"sq0(?:atp|csp|idp)-[\w-]{22,43}|EAAA[\w-]{60}"),
    "digitalocean-token": ("_v1_", r"do[opr]_v1_[0-9a-f]{64}"),
    "shopify-token": ("shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    "databricks-token": ("dapi", r"dapi[0-9a-f]{32}(?:-\d)?(?![0-9a-f])"),
    "docker-token": ("dckr_", r"dckr_(?:pat|oat)_[\w-]{27,999}+"),
    "vault-token": ("hvs. hvb. hvr.", r"hv[sbr]\.[\w-]{24,999}+"),
    "grafana-token": ("glsa_ glc_", r"gl(?:sa|c)_[A-Za-z0-9+/]{32,999}+"),
    "postman-key": ("PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    "linear-key": ("lin_", r"lin_(?:api|oauth)_[A-Za-z0-9]{40}"),
    "newrelic-key": ("NRAK- NRJS-", r"NRAK-[A-Z0-9]{27}|NRJS-[0-9a-f]{19}"),
    "atlassian-token": ("ATATT3", r"ATATT3[\w=-]{60,999}+"),
    "sentry-token": ("sntry", r"sntry[su]_[\w+/=]{40,999}+"),
    "age-key": ("AGE-SECRET", r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    "facebook-token": ("EAA", r"EAA[A-Za-z0-9]{90,999}+"),
    "terraform-token": (".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,70}"),
    "artifactory-token": ("AKC cmVmd", r"AKC[A-Za-z0-9]{40,80}|cmVmd[A-Za-z0-9]{50,80}"),
}
"""Secrets that have a form of their own: what their text contains, and how they look."""

_FORMS = [
    (kind, tuple(hints.split()), re.compile(rf"(?<![A-Za-z0-9])(?:{form})"))
    for kind, (hints, form) in KINDS.items()
]
_HINTS = re.compile("|".join(re.escape(hint) for _, hints, _ in _FORMS for hint in hints))
_RUN, _BEFORE, _AFTER = 20, 60, 120
_IN_RUNS = (string.ascii_letters + string.digits + "_-+/=").encode()
_ALIKE = bytes(0x78 if code in _IN_RUNS else 0x20 for code in range(256))
_DIGIT = re.compile(
    r"\d|(?:hf|api_org|gh[a-z]|npm|sk_live|sk_test)_|gl[a-z]{2,5}-|AKIA|AIza|GOCSPX|xox"
)

_PEM = re.compile(r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_KEY_FOLLOWS = re.compile(
    r"(?:[^A-Za-z0-9+/]|[A-Za-z0-9+/]{1,39}+(?![A-Za-z0-9+/])){0,400}+[A-Za-z0-9+/]{40}"
)
_MOST_PEM, _PEM_HEADERS = 20_000, 600

_IN_ADDRESS = re.compile(r"://[^\s/:@\"'`<>()\[\]{}]{0,80}+:([^\s/:@\"'`]{3,200}+)@[\w.\[-]")

_NAMES = {
    "password": ("passw", "pwd", "passphrase"),
    "token": ("secret", "token", "credential", "apikey", "accesskey", "authkey", "_key", "-key"),
}
_KEYS = re.compile(r"(?:api|access|private|auth|encryption|signing|secret|shared|master)[_-]?key")
_ASSIGNED = re.compile(
    r"[\w-]{0,40}+[\"'`]?(?:\[\d{0,4}\]|\])?[ \t]*+(?::[ \t]*+[\w.<>\[\]| &*?]{1,40}?(?==))?"
    r"(?:=>|:=|={1,3}(?!=)|:)[ \t]*+(?:\([ \t]*+)?(?:\\?\n[ \t]*+)?"
    r"(?:[brfuBRFUL@$]{0,2}([\"'`])([^\"'`\n]{8,300}+)\1)"
)
_PAIR = re.compile(r"(?:ord|d)?+[\"'],[ \t]*+([\"'`])([^\"'`\n]{8,300}+)\1")
_INSIDE = re.compile(r"[\w-]{0,12}+ ?= ?([^\s;&\"'`$%{}<>()\[\],]{8,200}+)(?=[;&\"'`])")
_BARE = re.compile(r"[\w-]{0,40}+=([^\s;&\"'`$%{}<>()\[\],]{8,200}+)(?=[\s;]|\Z)")
_VARIABLE = re.compile(
    r"[ \t]*(?:(?:export|declare|local|readonly|set|env|ENV|ARG)[ \t]{1,4})?[\w-]*"
)
"""What a shell's line begins with, up to the name of a variable."""

_LONGEST_NAME = 80
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_CALLED = re.compile(r"[\w-]{0,40}+\([ \t]*+([\"'`])([^\"'`\n]{8,300}+)\1[ \t]*+\)")
_AWS = re.compile(
    r"[\w.\- ]{0,40}+[\"'`]?\]?[ \t]*+(?:=>|:=|=|:)[ \t]*+[\"'`]?"
    r"([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
)

_PLACEHOLDER = re.compile(
    r"^[<%$({\[]|\$[{(]|%\(|%[sd]|\{[\w.]{0,60}\}|[>)}\]]$|\*{3}|\.{3}|x{4}|X{4}|0{6}|1234(?!.*[!#$%&])|"
    r"(?i:changeme|change_me|change-me|example|sample|dummy|placeholder|your|insert|replace|redacted"
    r"|todo|fixme|fake|mock|secret_?key|password|passwd|passphrase|not.?set|undefined|default"
    r"|foobar|foo|lorem|abcdef|none$|null$|true$|false$|test)"
)
_WEAK = frozenset(
    {"pass", "passwd", "password", "pw", "pwd", "secret", "tiger", "user", "username", "admin"}
    | {"root", "guest", "foo", "bar", "baz", "test", "none", "null", "token", "key", "apikey"}
    | {"api_key", "postgres", "mysql", "mypass", "mypassword", "pass123"}
)
_WORDS = re.compile(
    r"(?:(?:[A-Z]?[a-z]{2,}+|[A-Z]{2,}+)(?:\d{1,2}(?!\d))?+"
    r"(?:[-_./:+ ](?:[a-zA-Z]?\d{1,2}(?!\w))?)?+)++"
)
_CLASSES = (re.compile("[a-z]"), re.compile("[A-Z]"), re.compile(r"\d"), re.compile(r"[^\w\s]"))


def blocks(look: Look) -> list[Block]:
    """The lines of a text in which a secret stands."""
    return list(
        dict.fromkeys(
            Block(FILTER, reason, look.line(start), look.line(stop))
            for reason, start, stop in _found(look)
        )
    )


def _found(look: Look) -> Iterator[tuple[str, int, int]]:
    """The kind of each secret, and where it stands: of PEM the end is the key's."""
    yield from _runs(look.text)
    if "PRIVATE KEY" in look.text:
        yield from _pem(look.text)
    if "://" in look.text:
        yield from _addresses(look.text)
    for at in look.places("aws"):
        if (match := _AWS.match(look.text, at + 3)) and _random(match[1], 4.0):
            yield "aws-secret-key", match.start(1), match.end(1)
    yield from _named(look)


def _runs(text: str) -> Iterator[tuple[str, int, int]]:
    alike = text.encode("ascii", "replace").translate(_ALIKE)
    long = b"x" * _RUN
    start = alike.find(long)
    while start >= 0:
        stop = alike.find(b" ", start)
        stop = stop if stop >= 0 else len(text)
        if _DIGIT.search(text, start, stop) or text[start - 1 : start] in (":", "~"):
            begin, end = max(start - _BEFORE, 0), min(stop + _AFTER, len(text))
            if _HINTS.search(text, begin, end):
                yield from _formed(text, begin, end)
        start = alike.find(long, stop)


def _formed(text: str, begin: int, end: int) -> Iterator[tuple[str, int, int]]:
    near = text[begin:end]
    for kind, hints, form in _FORMS:
        if any(hint in near for hint in hints):
            for match in form.finditer(text, begin, end):
                if not _repeated(match[0]):
                    yield kind, match.start(), match.end()


def _repeated(value: str) -> bool:
    """Whether a secret's form is filled with hardly any characters: xxxx, 0000, abababab."""
    tail = value[-20:]
    return len(set(tail)) < 6 or "EXAMPLE" in value or "xxxx" in value.lower()


def _pem(text: str) -> Iterator[tuple[str, int, int]]:
    end = 0
    for match in _PEM.finditer(text):
        if match.start() < end:
            continue
        body = _KEY_FOLLOWS.match(text, match.end(), match.end() + _PEM_HEADERS)
        if body:
            over = text.find("-----END", body.end(), body.end() + _MOST_PEM)
            end = over if over >= 0 else body.end()
            yield "private-key", match.start(), end


def _addresses(text: str) -> Iterator[tuple[str, int, int]]:
    at = text.find("://")
    while at >= 0:
        match = _IN_ADDRESS.match(text, at)
        if match and match[1].lower() not in _WEAK and not _PLACEHOLDER.search(match[1]):
            begin = max(at - 20, 0)
            scheme = re.search(r"[A-Za-z+]*$", text[begin:at])
            web = scheme is not None and scheme[0].lower() in ("http", "https", "ftp", "ws", "wss")
            yield "address-with-password" if web else "database-address", at, match.end()
        at = text.find("://", at + 3)


def _named(look: Look) -> Iterator[tuple[str, int, int]]:
    for kind, names in _NAMES.items():
        is_secret = _password if kind == "password" else _token
        for name in names:
            for at in look.places(name):
                if name[1:] == "key" and not _KEYS.search(look.low, max(at - 10, 0), at + 4):
                    continue
                for form in (_ASSIGNED, _CALLED, _PAIR):
                    match = form.match(look.text, at + len(name))
                    if match and is_secret(match[2]):
                        yield f"assigned-{kind}", match.start(2), match.end(2)
                if (bare := _bare(look.text, at, len(name))) and is_secret(bare[1]):
                    yield f"assigned-{kind}", bare.start(1), bare.end(1)
                match = _INSIDE.match(look.text, at + len(name)) if kind == "password" else None
                if match and _password(match[1]):
                    yield "connection-password", match.start(1), match.end(1)


def _bare(text: str, at: int, length: int) -> re.Match[str] | None:
    """A value without quotation marks, as shells have it: ``export NAME=value``."""
    match = _BARE.match(text, at + length)
    if match is None or _DOTTED.fullmatch(match[1]):
        return None
    begin = text.rfind("\n", max(at - _LONGEST_NAME, 0), at) + 1
    return match if _VARIABLE.fullmatch(text, begin, at) else None


def _password(value: str) -> bool:
    """Whether a string is rather a password than a word, a text or a placeholder."""
    if any(character.isspace() for character in value) or _PLACEHOLDER.search(value):
        return False
    if "://" in value or value[0] in "/.-#:" or _WORDS.fullmatch(value):
        return False
    kinds = sum(bool(one.search(value)) for one in _CLASSES)
    return kinds >= 3 and _random(value, 2.7) and bool(_CLASSES[2].search(value))


def _token(value: str) -> bool:
    """Whether a string is rather drawn at random than written: sixteen characters or more."""
    if len(value) < 16 or not re.fullmatch(r"[\w+/=.~-]+", value) or _PLACEHOLDER.search(value):
        return False
    digits = len(re.findall(r"\d", value))
    return (
        digits >= 2 and digits < len(value) and not _WORDS.fullmatch(value) and _random(value, 3.2)
    )


def _random(value: str, bits: float) -> bool:
    """Whether a string's characters have so many bits each (Shannon, of its own frequencies)."""
    counts = Counter(value)
    n = len(value)
    return -sum(c / n * math.log2(c / n) for c in counts.values()) >= bits
