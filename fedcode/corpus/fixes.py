# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Which commits mend a bug, as far as their messages, an issue tracker and what they change tell.

A message is read in this order, and the first that says anything decides:

1. a key of an issue that the tracker's export knows: a bug or not;
2. a conventional commit's type (``fix:``; ``feat:``, ``docs:`` and the like), or a revert;
3. a subject about documentation, tests, style, types, builds or releases: no fix;
4. words of mending in the subject, ``fixes #12`` anywhere, and the organization's own patterns;
5. words that say what no longer goes wrong, if nothing in the subject says that something is new;
   words of failure in the body's first paragraph beside a word of mending.

Measured on known fixes in docs/results.md.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fedcode.errors import ConfigError

_TYPED = re.compile(r"(?:\W{0,3}:\w+:\s*)?(\w+)(?:\([^)]*\))?!?:\s", re.ASCII)
_TYPES = {
    **dict.fromkeys(("fix", "bugfix", "hotfix", "bug"), True),
    **dict.fromkeys(("feat", "feature", "docs", "doc", "style", "refactor", "refac"), False),
    **dict.fromkeys(("test", "tests", "chore", "ci", "build", "release", "perf", "deps"), False),
}

_REST = r"""(?:
    doc(?:s|umentation|string|strings)? | readme | changelog | release\ notes? | tutorials? | faq
    | examples? | comments? | typos? | spelling | grammar | wording | links? | badges? | news
    | (?:the\ |an?\ |some\ |few\ |more\ )?(?:unit|integration|flaky|failing|broken|new)?\ ?tests?
    | test\ (?:cases?|suite|failures?|runs?|data) | coverage | ci | travis | appveyor | tox
    | jenkins
    | codecov | github\ actions? | circleci | build(?:s|ing)? | lint(?:er|ing|s)? | flake8 | pylint
    | pycodestyle | pep-?8 | isort | ruff | eslint | prettier | mypy | style
    | typ(?:e\ |ing\ )\w+ | typing
    | indentation | white-?space | formatting | code\ ?style | imports? | rebase | merge
    | conflicts?
    | requirements? | pinn(?:ed|ing) | dependenc(?:y|ies) | deps | packaging | setup\.py
    | dockerfile | makefile
    | pre-commit | copyright | licen[cs]es? | deprecat\w+\ warnings? | version | releases?
    )\b"""
"""What is mended there is no defect of the code."""

_OTHER = re.compile(
    rf"""^\W*{_REST}(?!\w)(?::|\s+(?:[\w/]+\s+)?(?:fix\w*|error\w*|issue\w*|bugs?)\b)?
    | \b{_REST}\s+fix(?:es)?\b | \bfix(?:e[sd]|ing|up)?:?\s+(?:[\w./`'-]+\s+)?{_REST}
    | ^\W*(?:refactor(?:s|ed|ing)? | renam(?:e|es|ed|ing) | clean(?:s|ed|ing)?\ ?-?up | tidy
    | bump(?:s|ed)?
    | reformat(?:s|ted)? | cosmetics? | version\ \d | v?\d+\.\d
    | updat(?:e|es|ed)\ (?:\w+\ )?{_REST}
    | (?:add|improve|extend|expand)(?:s|ed)?\ (?:\w+\ )?{_REST})\b""",
    re.IGNORECASE | re.VERBOSE,
)

_MENDS = re.compile(
    r"""\b(?:
    (?:bug|hot)?-?fix(?:e[sd]|ing|up|ups)? | (?:bug|hot)-fix | bugs? | hotfix
    | regress(?:ion|ions|ed)
    | crash(?:es|ed|ing)? | segfaults? | deadlocks? | races?\ conditions? | (?:memory\ )?leaks?
    | leak(?:ed|ing) | overflows? | broken | breakage | wrong(?:ly)? | incorrect(?:ly)?
    | erroneous(?:ly)?
    | mistak(?:e|es|en|enly) | misbehav\w+ | faulty? | defects? | repair(?:s|ed)? | traceback
    | [a-z]+Error | [a-z]+Exception | npe | null\ pointer | off-by-one
    | infinite\ (?:loop|recursion)
    | corrupt(?:s|ed|ion)? | vulnerabilit(?:y|ies) | cve-\d+ | workaround | glitch(?:es)?
    | hang(?:s|ing)? | stuck | resolve[sd]?\ (?:an?\ |the\ )?(?:issue|problem|bug)s?
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)

_CLOSES = re.compile(
    r"\b(?:fix(?:e[sd])?|resolve[sd]?|bug)(?::|\ for)?\s+(?:issues?\s+|bug\s+)?"
    r"(?:[\w./-]*\#|gh-|https?://\S+/issues/)\d+",
    re.IGNORECASE,
)

_NO_LONGER = re.compile(
    r"""^\W*(?:\w+:\s+)?(?:do|does|should)(?:\ not|n't|n’t)\b | \b(?:
    prevent(?:s|ed|ing)? | handl(?:e|es|ed|ing) | ignor(?:e|es|ed) | ensure[sd]? | no\ longer
    | missing
    | (?:should|must|does)(?:\ not|n't|n’t) | properly | correctly | fail(?:s|ed|ures?)?
    | escap(?:e|es|ed|ing) | preserv(?:e|es|ed|ing) | respect(?:s|ed)? | honou?r(?:s|ed|ing)?
    | restore[sd]? | edge[\ -]cases? | corner[\ -]cases? | case[\ -]insensitive | unexpected(?:ly)?
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)

_NEW = re.compile(
    r"""\b(?: add(?:s|ed|ing)? | support(?:s|ed|ing)? | implement(?:s|ed|ing|ation)?
    | introduc\w+ | new
    | feature | enable[sd]? | improv\w+ | updat\w+ | upgrad\w+ | remov\w+ | drop(?:s|ped)?
    | deprecat\w+
    | merge\ branch | options?\ (?:to|for) | expos\w+ | faster | speed | optimi[sz]\w+ | initial
    | wip
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)

_FAILURE = re.compile(
    r"""\b(?: bugs? | crash(?:es|ed)? | broken | broke | regress(?:ion|ed) | mistaken?(?:ly)?
    | oversight
    | corrupt(?:s|ed) | leak(?:s|ed) | neglected | fail(?:s|ed)\ (?:when|if|on|with|for|to)
    | wrong(?:ly)?
    | incorrect(?:ly)? | raise[sd]?\ an?\ \w+ | hangs?\b
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)

_REVERT = re.compile(r'revert(?:s|ed|ing)?\b(?::| "|\s)', re.IGNORECASE)
_MERGED = re.compile(r"merge (?:pull request|branch|remote|tag|commit)\b[^\n]*\n*", re.IGNORECASE)
_TRAILER = re.compile(r"^[A-Z][\w-]+-by: .*$|^Change-Id: .*$", re.MULTILINE)

_BUILDS = re.compile(
    r"(?:setup|conf|noxfile|fabfile|_?_?version_?_?|versioneer|conanfile)\.py|SConstruct"
    r"|(?:Gruntfile|gulpfile|\w+\.config)\.[cm]?[jt]s|build\.rs|build\.go"
)
"""Files in which what is mended is the building of the code."""

_BUG = re.compile(r"bug|defect|fault|error|regression|crash|incident", re.IGNORECASE)
_LONGEST = 2_000


def builds(path: str) -> bool:
    """Whether a file says how the code is built, packed or documented."""
    return bool(_BUILDS.fullmatch(path.rpartition("/")[2]))


@dataclass(frozen=True, slots=True)
class Fixes:
    r"""What makes a commit a fix.

    Attributes:
        patterns: the organization's own, that make a message a fix's.
        other: its own, that make it none; they win over ``patterns``.
        issues: a pattern of its tracker's keys, as ``PROJ-\d+``.
        bugs: of each key that is known, in upper case, whether it is a bug's.
    """

    patterns: tuple[re.Pattern[str], ...] = ()
    other: tuple[re.Pattern[str], ...] = ()
    issues: re.Pattern[str] | None = None
    bugs: Mapping[str, bool] = field(default_factory=dict)

    def said_by(self) -> list[object]:
        """All of it as plain values."""
        patterns = [[one.pattern for one in some] for some in (self.patterns, self.other)]
        return [*patterns, self.issues and self.issues.pattern, sorted(self.bugs.items())]

    def said(self, message: str) -> bool:
        """Whether a commit's message speaks of a bug that it mends."""
        message = _MERGED.sub("", _TRAILER.sub("", message[:_LONGEST])).strip()
        if any(one.search(message) for one in self.other):
            return False
        if self.issues and (keys := self.issues.findall(message)):
            known = [self.bugs[key.upper()] for key in keys if key.upper() in self.bugs]
            if known:
                return any(known)
        return any(one.search(message) for one in self.patterns) or _reads_so(message)


def _reads_so(message: str) -> bool:
    subject, _, body = message.partition("\n")
    left = _OTHER.sub(" ", subject)
    if (typed := _TYPED.match(subject)) and typed[1].lower() in _TYPES:
        return _TYPES[typed[1].lower()] and not _OTHER.search(subject[typed.end() :])
    if _REVERT.match(subject):
        return False
    if left != subject:
        return bool(_MENDS.search(left))
    if _MENDS.search(subject) or _CLOSES.search(message):
        return True
    if _NEW.search(subject):
        return False
    first = body.strip().partition("\n\n")[0]
    return bool(_NO_LONGER.search(subject) or _FAILURE.search(first))


def tracker(file: Path) -> dict[str, bool]:
    """Reads an issue tracker's export: of each key whether it is a bug's.

    Args:
        file: CSV with a header line; columns ``key`` and ``type`` (or ``issue key`` and
            ``issue type``), in whatever case. Other columns are not looked at.

    Raises:
        ConfigError: the file cannot be read, or lacks a column.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = csv.reader(text)
            header = [name.strip().lower().removeprefix("issue ") for name in next(rows, [])]
            if not {"key", "type"} <= set(header):
                raise ConfigError(
                    f"{file} has no columns key and type", "export them from the tracker as CSV"
                )
            key, kind = header.index("key"), header.index("type")
            return {
                row[key].strip().upper(): bool(_BUG.search(row[kind]))
                for row in rows
                if len(row) > max(key, kind)
            }
    except FileNotFoundError as error:
        raise ConfigError(
            f"{file} is not there", "fixes.tracker names the tracker's export; is the path right?"
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file} cannot be read as CSV", "export it as UTF-8") from error
