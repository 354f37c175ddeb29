# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a whole file says of itself, or what lies beside it: licences, markers, ignore files."""

from __future__ import annotations

import os
import zipfile

import pytest

from fedcode.corpus import Screen, read
from fedcode.corpus.filters import markers, models
from fedcode.corpus.filters.licences import allowed, of_header, of_text, readable
from fedcode.corpus.filters.look import Look
from fedcode.errors import CorpusError
from fedcode.filters import MODELS, PERMISSIVE, SWITCHES, FilterSettings

ALLOWED = frozenset(name.lower() for name in PERMISSIVE)
CODE = "def f(x):\n    return x + {n}\n\n\ny{n} = 1\n"


def write(root, files):
    for number, (path, text) in enumerate(files.items()):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text or CODE.replace("{n}", str(number)), encoding="utf-8")
    return root


def took(root, **settings):
    """The files that stay, and what was taken: filter, path, reason."""
    corpus = read(f"path:{root}", "o", screen=Screen(FilterSettings(**settings)))
    return [f.path for f in corpus], [(t.filter, t.path, t.reason) for t in corpus.taken]


# Licences.


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("MIT", True),
        ("mit", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("MIT AND GPL-2.0-only OR Apache-2.0", True),
        ("MIT AND (GPL-2.0-only OR Apache-2.0)", True),
        ("(MIT)", True),
        ("MIT+", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("LicenseRef-Acme", False),
        ("MIT OR", False),
        ("MIT Apache-2.0", False),
        ("(MIT", False),
        ("AND", False),
        ("(" * 100 + "MIT" + ")" * 100, False),
        ("MIT, GPL-3.0-only", False),
    ],
)
def test_expressions(expression, holds):
    assert allowed(expression, ALLOWED) is holds


def test_an_exception_can_be_allowed_by_itself():
    name = "GPL-2.0-only WITH Classpath-exception-2.0"
    assert allowed(name, {name.lower()})
    assert readable(name)
    assert not readable("MIT OR")


TEXTS = {
    "MIT": "Permission is hereby granted, free of charge, to any person obtaining a\ncopy of",
    "Apache-2.0": "                 Apache License\n           Version 2.0, January 2004",
    "BSD-2-Clause": "Redistribution and use in source and binary\nforms, with or without",
    "BSD-3-Clause": "Redistribution and use in source and binary forms\n * Neither the name of the",
    "ISC": "Permission to use, copy, modify, and/or distribute this software for any purpose",
    "MPL-2.0": "Mozilla Public License Version 2.0",
    "LGPL-2.1-or-later": "GNU LESSER GENERAL PUBLIC LICENSE\n... GNU General Public License",
    "GPL-2.0-or-later": "GNU GENERAL PUBLIC LICENSE\n Version 2, June 1991",
    "GPL-3.0-or-later": "GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007",
    "AGPL-3.0-or-later": "GNU AFFERO GENERAL PUBLIC LICENSE... GNU General Public License",
    "EPL-2.0": "Eclipse Public License - v 2.0",
    "Unlicense": "This is free and unencumbered software released into the public domain.",
    "CC0-1.0": "Creative Commons Legal Code\n\nCC0 1.0 Universal",
    "": "All rights reserved. Acme's own.",
}


@pytest.mark.parametrize("name", TEXTS)
def test_common_texts_are_known(name):
    assert of_text(TEXTS[name]) == name


def test_headers():
    tag = "SPDX-License-" + "Identifier:"
    assert of_header(Look.at(f"# {tag} MIT\nx = 1")) == "MIT"
    assert of_header(Look.at(f"/* {tag} GPL-2.0-only WITH Classpath-exception-2.0 */")) == (
        "GPL-2.0-only WITH Classpath-exception-2.0"
    )
    assert of_header(Look.at(f"<!-- {tag} MIT -->")) == "MIT"
    assert of_header(Look.at(f"# {tag} MIT\n# {tag} GPL-3.0-only")) == "(MIT) AND (GPL-3.0-only)"
    notice = "// it under the terms of the GNU General Public License as published by\n// version 3"
    assert of_header(Look.at(notice)) == "GPL-3.0-or-later"
    assert of_header(Look.at("x = 1")) == ""


def test_copyleft_files_in_a_companys_repository_go(tmp_path):
    gpl = "# under the GNU General Public License, version 2\n" + CODE.replace("{n}", "90")
    tag = "# SPDX-License-" + "Identifier: MIT\n"
    write(tmp_path, {
        "own.py": None, "copied.py": gpl, "lib/a.py": None,
        "lib/b.py": tag + CODE.replace("{n}", "91"),
        "lib/LICENSE": TEXTS["GPL-3.0-or-later"], "free/c.py": None, "free/COPYING": TEXTS["MIT"],
        "lib/license.py": None, "both/d.py": None, "both/LICENSE-MIT": TEXTS["MIT"],
        "both/LICENSE-GPL": TEXTS["GPL-2.0-or-later"],
    })  # fmt: skip
    kept, taken = took(tmp_path)
    assert kept == ["free/c.py", "lib/b.py", "own.py"]
    assert taken == [
        ("licences", "both/d.py", "(GPL-2.0-or-later) AND (MIT)"),
        ("licences", "copied.py", "GPL-2.0-or-later"),
        ("licences", "lib/a.py", "GPL-3.0-or-later"),
        ("licences", "lib/license.py", "GPL-3.0-or-later"),
    ]
    assert len(took(tmp_path, licences=False)[0]) == 7
    own = {"allowed_licences": ("GPL-3.0-or-later",), "unstated_licence": False}
    assert took(tmp_path, **own)[0] == ["lib/a.py", "lib/license.py"]


def test_the_licence_above_the_source_counts_up_to_its_repository(tmp_path):
    write(tmp_path, {"code/src/a.py": None, "code/LICENSE": TEXTS["GPL-3.0-or-later"]})
    assert took(tmp_path / "code" / "src")[0] == ["a.py"]
    (tmp_path / "code" / ".git").mkdir()
    with pytest.raises(CorpusError, match=r"filters leave nothing .* \(1 taken\)") as caught:
        took(tmp_path / "code" / "src")
    assert "a.py by licences: GPL-3.0-or-later" in caught.value.hint


# Written by programs, or by models.


GENERATED = [
    "// Code generated by protoc-gen-go. DO NOT EDIT.\n",
    "# -*- coding: utf-8 -*-\n# Generated by the protocol buffer compiler.  DO NOT EDIT!\n",
    "/* This file was automatically generated by SWIG (https://www.swig.org). */\n",
    "# This file is auto-generated; do not edit.\n",
    "/**\n * @generated\n */\n",
    "// <auto-generated>\n",
    "// Generated from Expr.g4 by ANTLR 4.9\n",
    "/**\n * Autogenerated by Thrift Compiler (0.9.3)\n * DO NOT EDIT\n */\n",
    "# Auto-generated by Tools/build/generate_token.py\n",
    '# Form implementation generated from reading ui file\n# Do not edit: generated\n',
    "/* A Bison parser, made by GNU Bison 3.0.4.  */\n/* generated by bison */\n",
]  # fmt: skip
WRITTEN = [
    '"""Generates tables; keys are auto-generated ids."""\n',
    "# generated values are kept\n",
    "def f():\n    # Code generated by x. DO NOT EDIT.\n    pass\n",
    "# This class is for tokens generated by a lexer\n",
]


@pytest.mark.parametrize("head", GENERATED)
def test_what_programs_wrote_is_known(head):
    assert markers.generated(Look.at(head + "\nint x = 1;\n"))


@pytest.mark.parametrize("head", WRITTEN)
def test_what_people_wrote_of_programs_is_not(head):
    assert not markers.generated(Look.at(head))


def test_minified():
    assert markers.minified(Look.at("!function(e,t){" + "var a=1;b(c,d);" * 300 + "}();"))
    assert markers.minified(Look.at("/* licence */\n" + "a=1;" * 2000))
    assert not markers.minified(
        Look.at("x = [\n" + "    'some words of a longer text',\n" * 300 + "]\n")
    )
    assert not markers.minified(Look.at("x = 1"))


def test_what_says_that_a_model_wrote_it_goes(tmp_path):
    body = "def f{n}(x):\n    y = x + {n}\n    return y\n\n\n"
    text = "".join(body.replace("{n}", str(n)) for n in range(8))
    write(tmp_path, {
        "all.py": "# Generated by ChatGPT\n" + text,
        "one.py": text + "# Written with GitHub Copilot\ndef g(x):\n    return x\n\n\ndef h(x):\n"
        "    # generated-by: Claude 3\n    return x + 1\n\n\ndef i(x):\n    return x + 2\n",
        "none.py": text + "\nz = 1  # written by people, generated by a machine\n",
    })  # fmt: skip
    corpus = read(f"path:{tmp_path}", "o", screen=Screen())
    assert [(t.path, t.name) for t in corpus.taken if t.filter == "models"] == [
        ("all.py", ""), ("one.py", "g"), ("one.py", "h"),
    ]  # fmt: skip
    assert (
        len(read(f"path:{tmp_path}", "o", screen=Screen(FilterSettings(models=False))).files) == 3
    )


BY_MODELS = [
    ("ann@firm.com", "Mend it\n\nCo-authored-by: Copilot <copilot@github.com>"),
    ("ann@firm.com", "Mend it\n\nSigned-off-by: Ann\nGenerated-By: claude-3"),
    ("ann@firm.com", "Mend it\n\nCo-Authored-By: Claude Opus 4.5 <noreply@anthropic.com>"),
    ("ann@firm.com", "Mend it\n\nCo-Authored-By: Claude <noreply@anthropic.com>"),
    ("ann@firm.com", "Mend it\n\nCo-authored-by: Claude Code <claude@firm.com>"),
    ("ann@firm.com", "Mend it\n\n\N{ROBOT FACE} Generated with [Claude Code](https://x.y)\n\nBye"),
    ("ann@firm.com", "Generated by ChatGPT"),
    ("198982749+copilot@users.noreply.github.com", "Mend it"),
    ("158243242+devin-ai-integration[bot]@users.noreply.github.com", "Mend it"),
    ("cursoragent@cursor.com", "Mend it"),
]
BY_PEOPLE = [
    ("ann@firm.com", "Mend it\n\nCo-authored-by: Ann Lee <ann@firm.com>\nFixes: copilot"),
    ("ann@firm.com", "Mend it\n\nCo-authored-by: Claude Monet <claude@firm.com>"),
    ("ann@firm.com", "Mend it\n\nCo-authored-by: Devin Lee <17+devin@users.noreply.github.com>"),
    ("17+claude@users.noreply.github.com", "Mend it"),
    ("49699333+dependabot[bot]@users.noreply.github.com", "Raise a version"),
    ("ann@firm.com", "Created a Gemini client"),
    ("ann@firm.com", "Created cursor with a position"),
    ("ann@firm.com", "Remove what was generated by ChatGPT"),
]


@pytest.mark.parametrize(("author", "message"), BY_MODELS)
def test_commits_of_models(author, message):
    assert Screen().by_model(author, message)
    assert not Screen(FilterSettings(models=False)).by_model(author, message)
    none = FilterSettings(model_names=(), model_accounts=())
    assert not Screen(none).by_model(author, message)
    assert none.off() == ("models",)


@pytest.mark.parametrize(("author", "message"), BY_PEOPLE)
def test_commits_of_people(author, message):
    assert not Screen().by_model(author, message)


def test_names_of_models_are_our_own_in_any_case():
    own = FilterSettings(
        model_names=("Our Assistant",),
        model_trailers=("X-Model",),
        model_accounts=("Bot@Firm.com",),
    )
    screen = Screen(own)
    assert screen.by_model("bot@firm.com", "Mend it")
    assert screen.by_model("ann@firm.com", "Mend it\n\nx-model: OUR ASSISTANT")
    assert not screen.by_model("ann@firm.com", "Mend it\n\nCo-authored-by: Copilot")
    assert models.blocks(Look.at("# Generated by our assistant"), own.model_names)
    assert not models.blocks(Look.at("# generated by copilot"), own.model_names)
    assert models.blocks(Look.at("# generated by [copilot](https://x.y)"), MODELS)


# Beside the code.


def test_vendored_folders_and_unpacked_packages_go(tmp_path):
    write(tmp_path, {
        "a.py": None, "externals/b.py": None, "lib/3rdparty/c.py": None, "pkg-1.0/d.py": None,
        "pkg-1.0/PKG-INFO": "Name: pkg", "PKG-INFO": "Name: ours", "vendor/e.py": None,
    })  # fmt: skip
    kept, taken = took(tmp_path)
    assert kept == ["a.py"]
    assert taken == [
        ("vendored", "externals/", "folder-name"),
        ("vendored", "lib/3rdparty/", "folder-name"),
        ("vendored", "pkg-1.0/", "unpacked-package"),
    ]
    assert len(took(tmp_path, vendored=False)[0]) == 4


def test_a_wheels_vendored_folders_go_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        for n, path in enumerate(("p/a.py", "p/_bundled/b.py", "p/_bundled/c.py", "_bundled/d.py")):
            archive.writestr(path, CODE.replace("{n}", str(n)))
    corpus = read(f"wheel:{tmp_path / 'a.whl'}", "o", screen=Screen())
    assert [f.path for f in corpus] == ["_bundled/d.py", "p/a.py"]
    assert [t.path for t in corpus.taken] == ["p/_bundled/"]


def test_gitattributes_are_read_as_data(tmp_path):
    write(tmp_path, {
        "a.py": None, "gen/b.py": None, "gen/own.py": None, "copied/c.py": None, "d space.py": None,
        ".gitattributes": "[attr]x linguist-generated\ngen/** linguist-generated=true filter=evil\n"
        'copied linguist-vendored\n"d space.py" linguist-generated\n*.py text\n',
        "gen/.gitattributes": "own.py -linguist-generated\n",
    })  # fmt: skip
    kept, taken = took(tmp_path)
    assert kept == ["a.py", "gen/own.py"]
    assert taken == [
        ("vendored", "copied/c.py", "attribute"),
        ("generated", "d space.py", "attribute"),
        ("generated", "gen/b.py", "attribute"),
    ]
    assert len(took(tmp_path, generated=False, vendored=False)[0]) == 5


@pytest.mark.parametrize("bad", [b"\xff linguist-generated\n", b"a*b*c*d*e*f linguist-generated\n"])
def test_bad_attributes_say_nothing(tmp_path, bad):
    write(tmp_path, {"a.py": None})
    (tmp_path / ".gitattributes").write_bytes(bad)
    assert took(tmp_path) == (["a.py"], [])


def test_an_ignore_file_at_any_level(tmp_path):
    write(tmp_path, {
        "a.py": None, "b.py": None, "x/b.py": None, "x/keep.py": None, "x/y/z.py": None,
        "secret/c.py": None, "secret/keep.py": None, "w/secret.py": None,
        ".fedcodeignore": "# no\nb.py\n/secret/\n!secret/keep.py\nx/**/z.py\n",
        "x/.fedcodeignore": "*\n!keep.py\n",
    })  # fmt: skip
    kept, taken = took(tmp_path)
    assert kept == ["a.py", "w/secret.py", "x/keep.py"]
    assert {(f, p) for f, p, _ in taken} == {
        ("ignored", "b.py"), ("ignored", "secret/"), ("ignored", "x/b.py"), ("ignored", "x/y/"),
    }  # fmt: skip
    assert len(took(tmp_path, ignored=False)[0]) == 8


@pytest.mark.parametrize("bad", [b"\xff\xfe", b"a*b*c*d*e*f\n", b"x" * (1 << 20) + b"y"])
def test_an_ignore_file_that_cannot_be_read_stops_the_reading(tmp_path, bad):
    write(tmp_path, {"a.py": None})
    (tmp_path / ".fedcodeignore").write_bytes(bad)
    with pytest.raises(CorpusError, match="fedcodeignore"):
        took(tmp_path)


def test_hostile_neighbours(tmp_path):
    write(tmp_path, {"a.py": None, "x/b.py": None})
    os.mkfifo(tmp_path / "LICENSE")
    (tmp_path / "x" / "COPYING").symlink_to("/dev/zero")
    assert took(tmp_path)[0] == ["a.py", "x/b.py"]
    (tmp_path / ".fedcodeignore").symlink_to("/dev/zero")
    with pytest.raises(CorpusError, match="fedcodeignore cannot be read"):
        took(tmp_path)


def test_what_is_off_is_named():
    assert FilterSettings().off() == ()
    assert FilterSettings(**dict.fromkeys(SWITCHES, False)).off() == SWITCHES


def test_without_a_screen_nothing_is_taken(tmp_path):
    write(tmp_path, {"a.py": GENERATED[3] + "x = 1\n", ".fedcodeignore": "*\n"})
    corpus = read(f"path:{tmp_path}", "o")
    assert (len(corpus.files), corpus.taken) == (1, ())


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ("# License: GPL", "GPL-2.0-or-later"),
        ("# License: GPLv3+", "GPL-3.0-or-later"),
        ('__license__ = "LGPL"', "LGPL-2.1-or-later"),
        ('"""A module.\n\n:license: BSD, see LICENSE for more.\n"""', "BSD-3-Clause"),
        (" * Licensed under the MIT license.", "MIT"),
        ("// Licence: proprietary", "LicenseRef-Proprietary"),
        ("# License: see the file LICENSE", ""),
        ("license = load()", ""),
        ("def license(gpl): pass", ""),
        ("x = 'License: GPL'", ""),
    ],
)
def test_a_licence_that_is_stated_by_its_name(head, licence):
    assert of_header(Look.at(f"{head}\nx = 1\n")) == licence


@pytest.mark.parametrize("name", ["Apache2", "MIT OR ISC", "", "GPL"])
def test_a_licence_that_nobody_knows_is_no_policy(name):
    with pytest.raises(ValueError, match="no SPDX identifier"):
        FilterSettings(allowed_licences=("MIT", name))


def test_licences_are_written_as_spdx_has_them():
    own = ("mit", "gpl-2.0-only with classpath-exception-2.0", "LicenseRef-Ours")
    assert FilterSettings(allowed_licences=own).allowed_licences == (
        "MIT",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "LicenseRef-Ours",
    )


def test_the_licence_of_python_only_speaks_of_the_gpl():
    text = (
        "A. HISTORY OF THE SOFTWARE\nGPL-compatible doesn't mean that it is under the GPL.\n"
        "PSF LICENSE AGREEMENT FOR PYTHON 3.12\n... distributed under the GNU General Public\n"
        "License (GPL) ..."
    )
    assert of_text(text) == "Python-2.0"
    assert of_text("GNU GENERAL PUBLIC LICENSE\nVersion 3") == "GPL-3.0-or-later"
