# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of other people's code, by their names and by what package tools leave in them.

``vendor``, ``_vendor``, ``third_party`` and ``node_modules`` are never read, whatever a policy says
(:mod:`fedcode.corpus.sources`).
"""

from __future__ import annotations

from collections.abc import Iterable

FILTER = "vendored"

FOLDERS = frozenset(
    {"vendors", "vendored", "_vendored", "vendor_packages", "thirdparty", "third-party", "3rdparty"}
    | {"3rd-party", "3rd_party", "externals", "_externals", "_extern", "_bundled", "pods"}
    | {"carthage", "jspm_packages", "bower_components", "web_modules", "godeps", "elm-stuff"}
)
"""In lower case. ``external`` and ``extern`` are not among them: own code may be for what is so."""

UNPACKED = frozenset(
    {"PKG-INFO", ".cargo-checksum.json", ".cargo_vcs_info.json", ".bower.json", ".nupkg.metadata"}
)
"""Files that are in an unpacked package alone."""


def named(folder: str) -> bool:
    """Whether a folder of that name holds other people's code."""
    return folder.lower() in FOLDERS


def unpacked(names: Iterable[str]) -> str:
    """Why a folder with such files is an unpacked package; empty if it does not seem to be."""
    return "unpacked-package" if not UNPACKED.isdisjoint(names) else ""
