# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Snapshots of our data: what its tests found, and which of them were accepted. Nothing is sent.

``data/found`` has what was tested last, and ``data/accepted.jsonl`` a line for every acceptance:
the history that later snapshots are compared with.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from fedcode.corpus.data_tests import Outcome, failing, run
from fedcode.corpus.profile import Profile
from fedcode.data_tests import DATA_TESTS, AgentDataTests, DataTest
from fedcode.errors import ConfigError, DataRefused, RunError
from fedcode.logs import event
from fedcode.storage import append_line, write_json
from fedcode.task import Labels

logger = logging.getLogger(__name__)

ACCEPT = "fedcode-client accept-data"
_PASSED = "all tests passed"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a snapshot is one of: snapshots of one subject are compared with one another.

    Attributes:
        sources: where the code lies.
        assets: the accounts that pay for it; a source itself where it has none.
        labels: where they come from, as the federation's settings have it; empty for none.
        heldout: one file in so many is held out; None for none.
    """

    sources: tuple[str, ...]
    assets: tuple[str, ...]
    labels: str
    heldout: int | None

    @property
    def key(self) -> str:
        """Names it, also where the code was moved to another folder."""
        schemes = sorted(source.partition(":")[0] for source in self.sources)
        said = [sorted(self.assets), schemes, self.labels, self.heldout]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Our data as it was at one time, and what its tests found.

    Attributes:
        subject: of which it is one.
        time: when it was tested, seconds since 1970.
        outcomes: of all tests.
        profile: in numbers.
    """

    subject: Subject
    time: int
    outcomes: tuple[Outcome, ...]
    profile: Profile

    @property
    def digest(self) -> str:
        """Of the data."""
        return self.profile.digest

    @property
    def failing(self) -> tuple[DataTest, ...]:
        """Names of the tests that failed."""
        return failing(self.outcomes)

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return {
            "subject": asdict(self.subject),
            "time": self.time,
            "outcomes": [one.plain() for one in self.outcomes],
            "profile": self.profile.plain(),
        }

    @classmethod
    def read(cls, path: Path) -> Self:
        """What was written last.

        Raises:
            ConfigError: it is something else.
        """
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            subject = said["subject"]
            named = {name: tuple(map(str, subject[name])) for name in ("sources", "assets")}
            return cls(
                Subject(**subject | named),
                int(said["time"]),
                tuple(Outcome(**one) for one in said["outcomes"]),
                Profile.read(said["profile"]),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{path} is damaged", "delete it: it is made again") from error


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One line of the history.

    Attributes:
        time: seconds since 1970.
        subject: its key.
        digest: of the data.
        failing: the tests that it failed then.
        accepted: those of them that were accepted; none where none failed.
        by: the operating system's name of who did it.
        because: why.
        profile: the data in numbers.
    """

    time: int
    subject: str
    digest: str
    failing: tuple[str, ...]
    accepted: tuple[str, ...]
    by: str
    because: str
    profile: Profile

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        said = {name: getattr(self, name) for name in _FIELDS}
        return said | {"profile": self.profile.plain()}

    @classmethod
    def read(cls, line: str) -> Self:
        """A line of the file.

        Raises:
            ValueError: it is none, as what a crash has left of one.
        """
        try:
            said = json.loads(line)
            given = {name: said[name] for name in _FIELDS}
            for name in ("failing", "accepted"):
                given[name] = tuple(map(str, given[name]))
            return cls(**given, profile=Profile.read(said["profile"]))
        except (TypeError, KeyError) as error:
            raise ValueError("no line of this version") from error


_FIELDS = ("time", "subject", "digest", "failing", "accepted", "by", "because")


class Snapshots:
    """All snapshots of ours.

    Args:
        folder: where they are kept, for us alone.
        settings: of the tests.
        noting: whether what passes is a snapshot that later ones are compared with; whoever only
            looks changes nothing.
    """

    def __init__(self, folder: Path, settings: AgentDataTests, *, noting: bool = True) -> None:
        self._folder, self.settings, self.noting = folder, settings, noting

    @property
    def history(self) -> Path:
        """Every acceptance, a line each."""
        return self._folder / "accepted.jsonl"

    def test(self, subject: Subject, profile: Profile, leaked: int, labels: Labels) -> Snapshot:
        """Tests all that would be trained on; what passes is accepted by that, where it is noted.

        Args:
            subject: what it is a snapshot of.
            profile: of it.
            leaked: records that are measured on as well.
            labels: what the task wants on the records.
        """
        past, usual = self._past(subject.key)
        found = run(profile, self.settings, labels=labels, leaked=leaked, history=past, usual=usual)
        snapshot = Snapshot(subject, int(time.time()), found, profile)
        self._make()
        write_json(self._folder / "found" / f"{subject.key}.json", snapshot.plain())
        if not snapshot.failing:
            if self.noting and (not past or past[-1].digest != profile.digest):
                first = "" if past else "the first snapshot: "
                self._append(snapshot, (), f"{first}{_PASSED}")
                event(logger, "data accepted", digest=profile.digest[:12], why=_PASSED)
        elif self.missing(snapshot):
            missing = list(self.missing(snapshot))
            event(
                logger,
                "data fails its tests",
                logging.WARNING,
                digest=profile.digest[:12],
                tests=missing,
                hint=f"{ACCEPT} --because WHY, or mend the data",
            )
        return snapshot

    def latest(self) -> list[Snapshot]:
        """What was tested last, of every subject."""
        return [Snapshot.read(path) for path in sorted((self._folder / "found").glob("*.json"))]

    def missing(self, snapshot: Snapshot) -> tuple[DataTest, ...]:
        """The tests that it fails and that nobody has accepted of exactly this data."""
        if not snapshot.failing:
            return ()
        given = {
            test
            for one in self.acceptances(snapshot.subject.key)
            if one.digest == snapshot.digest
            for test in one.accepted
        }
        return tuple(test for test in snapshot.failing if test not in given)

    def check(self, snapshot: Snapshot) -> None:
        """Whether it may be trained on, as of now.

        Raises:
            DataRefused: it fails a test, and nobody has accepted that.
        """
        missing = self.missing(snapshot)
        if missing:
            raise DataRefused(
                f"our data fails {', '.join(missing)} ({ACCEPT})",
                "`fedcode-client data` says what was found",
            )

    def accept(self, because: str, tests: Sequence[str] = ()) -> list[tuple[Snapshot, list[str]]]:
        """Accepts what was tested last, and nothing that comes after it.

        Args:
            because: why.
            tests: only these; all that fail if there are none.

        Returns:
            Each snapshot with what of it was accepted.

        Raises:
            ConfigError: no reason is given, or there is no such test.
            RunError: nothing of that fails, or it is accepted already.
        """
        if not because.strip():
            raise ConfigError("there is no reason", f'{ACCEPT} --because "…"')
        if not because.isprintable():
            raise ConfigError("the reason has more than one line", f'{ACCEPT} --because "…"')
        unknown = sorted(set(tests) - set(DATA_TESTS))
        if unknown:
            raise ConfigError(
                f"there is no data test {unknown[0]}", f"one of {', '.join(DATA_TESTS)}"
            )
        done = []
        for snapshot in self.latest():
            named = [one for one in self.missing(snapshot) if not tests or one in tests]
            if named:
                self._append(snapshot, tuple(named), because)
                done.append((snapshot, [str(one) for one in named]))
        waiting = sorted({test for one in self.latest() for test in self.missing(one)})
        if not done and waiting:
            raise RunError(f"{', '.join(tests)} did not fail", f"what waits: {', '.join(waiting)}")
        if not done:
            raise RunError(
                "nothing waits to be accepted", "`fedcode-client data` says what is tested"
            )
        return done

    def acceptances(self, subject: str | None = None) -> Iterator[Acceptance]:
        """Every line of the history; what a crash has left of one is passed over.

        Args:
            subject: of this one alone.
        """
        if not self.history.exists():
            return
        for line in self.history.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                one = Acceptance.read(line)
            except ValueError:
                continue
            if subject is None or one.subject == subject:
                yield one

    def _past(self, subject: str) -> tuple[list[Profile], list[tuple[Profile, Profile]]]:
        """Accepted snapshots, and neighbours of which the later one passed by itself."""
        found: list[Acceptance] = []
        given: dict[str, set[str]] = {}
        for one in self.acceptances(subject):
            accepted = given.setdefault(one.digest, set())
            accepted.update(one.accepted)
            last = found[-1].digest if found else ""
            if accepted >= set(one.failing) and last != one.digest:
                found.append(one)
        usual = [(a.profile, b.profile) for a, b in pairwise(found) if not b.failing]
        return [one.profile for one in found], usual

    def _append(self, snapshot: Snapshot, accepted: tuple[str, ...], because: str) -> None:
        line = Acceptance(
            int(time.time()),
            snapshot.subject.key,
            snapshot.digest,
            snapshot.failing,
            accepted,
            _who(),
            because,
            snapshot.profile,
        )
        self._make()
        append_line(self.history, line.plain())

    def _make(self) -> None:
        (self._folder / "found").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self.history.touch(mode=0o600)


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # the system knows no name for it
        return f"uid {os.getuid()}"
