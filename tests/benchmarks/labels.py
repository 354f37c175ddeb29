# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Labels from histories: how fast they come, and how many fixes are found.

``FEDCODE_HISTORIES`` names a folder of clones called ``OWNER+NAME``, of BugsInPy among them; a
clone may lie in ``OWNER+NAME/repo``. What is not there is left out.
"""

from __future__ import annotations

import csv
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fedcode.corpus import git
from fedcode.corpus.fixes import Fixes, builds
from fedcode.corpus.sources import counts
from tests.benchmarks.figure import Figure, at_most

COMMITS = 5_000
FILES = 400
JUDGED = Path(__file__).parent.parent / "vectors" / "judged_commits.csv"

PLAIN = re.compile(
    r"\b(fix(es|ed|ing)?|bug\w*|defect|regression|crash\w*|incorrect\w*|wrong\w*|broken?)\b",
    re.IGNORECASE,
)
"""What is usually looked for in a commit's subject."""

KNOWN = {
    "black": "psf+black",
    "cookiecutter": "cookiecutter+cookiecutter",
    "httpie": "httpie+cli",
    "keras": "keras-team+keras",
    "luigi": "spotify+luigi",
    "sanic": "sanic-org+sanic",
    "scrapy": "scrapy+scrapy",
    "thefuck": "nvbn+thefuck",
    "tornado": "tornadoweb+tornado",
    "tqdm": "tqdm+tqdm",
    "youtube-dl": "ytdl-org+youtube-dl",
}
"""Subjects of BugsInPy, and what their clones are called."""

ALONE = """
import re, sys, time
from pathlib import Path
from fedcode.corpus import read
from fedcode.corpus.past import Rules, look, with_past
from fedcode.corpus.revisions import revision
place, cache = sys.argv[1], Path(sys.argv[2])
start, rules = time.perf_counter(), Rules()
corpus = read(f"git:{place}", "x", cache=cache)
past = look(revision(place), rules, cache)
found = with_past(corpus, past, rules).records("function")
took = time.perf_counter() - start
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(took, peak, len(past.times), len(found), sum(one.label == 1 for one in found))
"""


def figures() -> list[Figure]:
    """Of a made history, and of real ones where there are any."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.git"
        _make(made)
        found = _speeds("a made history", f"{made}@2022-01-01")
    if histories := os.environ.get("FEDCODE_HISTORIES"):
        real = _clone(Path(histories), "scrapy+scrapy")
        if real:
            found += _speeds("scrapy", f"{real}@2019-01-01")
        found += _recall(Path(histories))
        found += _precision(Path(histories))
    return found


def _speeds(title: str, place: str) -> list[Figure]:
    found = []
    with tempfile.TemporaryDirectory() as cache:
        for time in ("first", "second"):
            done = subprocess.run(
                [sys.executable, "-c", ALONE, place, cache],
                capture_output=True,
                text=True,
                check=True,
            )
            took, peak, commits, functions, defective = map(float, done.stdout.split())
            note = f"{commits:,.0f} commits, {defective:,.0f} of {functions:,.0f} functions"
            name = f"{title}, read and labelled a {time} time"
            found.append(at_most("labels", name, took, "s", 60, note))
            found.append(at_most("labels", f"{name}: memory", peak, "MiB", 1024))
    return found


def _make(root: Path) -> None:
    """A bare repository: each commit changes lines of some files, every fifth mends."""
    draw = random.Random(1)
    files = {n: [f"    x{i} = {i} + a" for i in range(100)] for n in range(FILES)}
    feed: list[str] = []
    for number in range(COMMITS):
        chosen = range(FILES) if number == 0 else draw.sample(range(FILES), draw.randint(1, 5))
        message = f"Fix the sum of {number}" if number % 5 == 4 else f"Compute {number}"
        when = 1_546_300_800 + number * 30_000
        feed.append(f"commit refs/heads/main\ncommitter A{number % 7} <a{number % 7}@example.org> ")
        feed.append(f"{when} +0000\ndata {len(message)}\n{message}\n")
        for file in chosen:
            lines = files[file]
            for _ in range(0 if number == 0 else draw.randint(1, 8)):
                lines[draw.randrange(100)] = f"    x{number} = {draw.random()} * a"
            parts = [lines[i : i + 20] for i in range(0, 100, 20)]
            text = "".join(f"def f{i}(a):\n" + "\n".join(p) + "\n\n" for i, p in enumerate(parts))
            feed.append(f"M 100644 inline d{file % 20}/f{file}.py\ndata {len(text)}\n{text}\n")
    subprocess.run(["git", "init", "-q", "--bare", str(root)], check=True)
    environment = {**os.environ, "GIT_DIR": str(root)}
    command = ["git", "fast-import", "--quiet"]
    subprocess.run(command, input="".join(feed).encode(), env=environment, check=True)
    (root / "HEAD").write_text("ref: refs/heads/main\n", encoding="ascii")


def _recall(histories: Path) -> list[Figure]:
    bugs = _clone(histories, "soarsmu+BugsInPy")
    if bugs is None:
        return []
    known = plain = found = 0
    for project, name in KNOWN.items():
        clone = _clone(histories, name)
        if clone is None:
            continue
        for commit in _fixes_of(bugs, project):
            parents, message = _message(clone, commit)
            known += 1
            plain += bool(PLAIN.search(message.partition("\n")[0]))
            found += Fixes().said(message) or any(map(Fixes().said, _merged(clone, parents)))
    return [
        Figure("labels", "known fixes found", found / known, "", note=f"of {known} of BugsInPy"),
        Figure("labels", "by words in subjects alone", plain / known, ""),
    ]


def _precision(histories: Path) -> list[Figure]:
    rows: list[tuple[bool, bool, bool]] = []
    with JUDGED.open(encoding="ascii", newline="") as file:
        for row in csv.DictReader(file):
            clone = _clone(histories, row["repository"].replace("/", "+"))
            if clone is None or not any(
                path.endswith(".py") and counts(path) and not builds(path)
                for path in _paths(clone, row["commit"])
            ):
                continue
            _, message = _message(clone, row["commit"])
            subject = message.partition("\n")[0]
            rows.append((row["fix"] == "1", Fixes().said(message), bool(PLAIN.search(subject))))
    if not rows:
        return []
    figures = []
    for title, place in (("", 1), (", by words in subjects alone", 2)):
        both = sum(row[0] and row[place] for row in rows)
        said, right = sum(row[place] for row in rows), sum(row[0] for row in rows)
        note = f"{both} of {said}; {len(rows)} commits read by hand"
        figures += [
            Figure("labels", f"precision of fixes{title}", both / said, "", note=note),
            Figure("labels", f"recall of fixes{title}", both / right, "", note=f"of {right}"),
        ]
    return figures


def _clone(histories: Path, name: str) -> Path | None:
    return next((p for p in (histories / name / "repo", histories / name) if p.is_dir()), None)


def _said(clone: Path, *words: str) -> str:
    history = git.checked_out(clone)
    if history is None:
        return ""
    asked = (word.replace("HEAD", history.commit) for word in words)
    return git.said(history, *asked).decode("utf-8", "replace")


def _message(clone: Path, commit: str) -> tuple[list[str], str]:
    parents, _, message = _said(clone, "log", "-1", "--format=%P%x00%B", commit).partition("\0")
    return parents.split(), message.strip()


def _merged(clone: Path, parents: list[str]) -> Iterator[str]:
    """Messages of what a merge brought in."""
    if len(parents) > 1:
        said = _said(clone, "log", "--format=%B%x00", f"{parents[0]}..{parents[1]}")
        yield from (message.strip() for message in said.split("\0"))


def _paths(clone: Path, commit: str) -> list[str]:
    return _said(clone, "show", "--name-only", "--format=", "-z", commit).strip().split("\0")


def _fixes_of(bugs: Path, project: str) -> list[str]:
    listed = _said(bugs, "ls-tree", "-r", "--name-only", "HEAD", f"projects/{project}/bugs")
    found = {}
    for path in listed.splitlines():
        if path.endswith("bug.info"):
            text = _said(bugs, "show", f"HEAD:{path}")
            if match := re.search(r'fixed_commit_id="?([0-9a-f]+)', text):
                found[match[1]] = None
    return list(found)
