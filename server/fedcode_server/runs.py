# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A run, all of it in a folder: what is asked for, who has signed it, how far it has come."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from fedcode.agreement import SignedAgreement
from fedcode.errors import FedcodeError, PrivacyError, RunError
from fedcode.federation import Federation, check
from fedcode.identity import Roster
from fedcode.rounds.checkpoints import load_state, save_state
from fedcode.rounds.coordinator import Outcome, State
from fedcode.rounds.record import RoundRecord
from fedcode.start import PUBLIC, Start, expected_agreement, file_of
from fedcode.storage import append_line, write_atomically, write_json
from fedcode.weights import save_tensors

UNREADABLE = (OSError, ValueError, KeyError, TypeError, FedcodeError)
"""What reading a folder raises that somebody has damaged."""

ROUNDS, TRANSCRIPT, WEIGHTS = "rounds.jsonl", "transcript.jsonl", "weights.safetensors"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run.

    Attributes:
        path: its folder; its name is the run's.
    """

    path: Path

    @property
    def name(self) -> str:
        """The run's."""
        return self.path.name

    @classmethod
    def create(cls, path: Path, federation: Federation, start: Path, roster: Roster) -> Self:
        """Makes the folder: what is asked for, and nobody's signature yet.

        Args:
            path: a folder that is not there.
            federation: as it is published.
            start: with the start files that ``fedcode prepare`` made.
            roster: of those who are to take part.

        Raises:
            ConfigError: the start files are not of this federation.
            RunError: one cannot be read, or the folder cannot be made.
        """
        agreements = []
        for task in federation.tasks:
            made = Start.load(start / file_of(task.name))
            agreements.append(expected_agreement(federation, task.name, made, roster))
        staged = path.with_name(f".{path.name}.new")
        try:
            shutil.rmtree(staged, ignore_errors=True)
            for name in (PUBLIC, *(file_of(task.name) for task in federation.tasks)):
                (staged / "start").mkdir(parents=True, exist_ok=True)
                shutil.copyfile(start / name, staged / "start" / name)
            write_json(staged / "federation.json", federation.model_dump(mode="json"))
            folder = cls(staged)
            for agreement in agreements:
                folder.keep(SignedAgreement.unsigned(agreement))
            staged.rename(path)
        except OSError as error:
            shutil.rmtree(staged, ignore_errors=True)
            raise RunError(f"{path} cannot be made", f"is {start} whole, and the disk?") from error
        return cls(path)

    @property
    def start(self) -> Path:
        """The folder of the start files."""
        return self.path / "start"

    def federation(self) -> Federation:
        """What is asked for."""
        values = json.loads((self.path / "federation.json").read_text(encoding="utf-8"))
        return check(values, str(self.path / "federation.json"))

    def start_of(self, task: str) -> Start:
        """Where a task starts from."""
        return Start.load(self.start / file_of(task))

    def agreement(self, task: str) -> SignedAgreement:
        """What is agreed on for a task, with the signatures so far."""
        path = self.path / f"agreement-{task}.json"
        return SignedAgreement.read(json.loads(path.read_text(encoding="utf-8")))

    def agreements(self) -> list[SignedAgreement]:
        """Of all tasks, in the federation's order."""
        return [self.agreement(task.name) for task in self.federation().tasks]

    def keep(self, agreement: SignedAgreement) -> None:
        """Writes an agreement with its signatures."""
        write_json(self.path / f"agreement-{agreement.agreement.task}.json", agreement.plain())

    def sign(self, name: str, signatures: Mapping[str, str]) -> None:
        """Takes a member's signatures, of all agreements at once.

        Args:
            name: the member's.
            signatures: by the agreement's digest.

        Raises:
            PrivacyError: one is missing or does not fit.
        """
        given = []
        for one in self.agreements():
            agreement = one.agreement
            signature = signatures.get(agreement.digest(), "")
            with_it = one.with_signature(name, signature)
            if name not in agreement.roster.names or name in with_it.missing():
                raise PrivacyError(f"{name} has not signed the agreement on {agreement.task}")
            given.append(with_it)
        for one in given:
            self.keep(one)

    def missing(self) -> tuple[str, ...]:
        """The members that have not signed everything."""
        return tuple(sorted({name for one in self.agreements() for name in one.missing()}))

    # What was done.

    def begin(self, task: str) -> State:
        """Where a task goes on, or starts; lines of rounds that were not kept are forgotten."""
        state, _ = load_state(self.path / "checkpoint", task)
        state = state or State(0, self.start_of(task).weights)
        self._cut(task, state.round)
        return state

    def record(self, task: str, number: int) -> RoundRecord:
        """What a round hears."""
        return RoundRecord(self.path / "exchange" / f"{task}-{number}")

    def keep_round(self, task: str, state: State, outcome: Outcome) -> None:
        """A round is over: its lines first, then what the next one depends on."""
        sums = [story.plain() for story in outcome.sums]
        cohort = sorted(name for one in sums for name in one["members"])
        for one in sums:
            proof = {
                "task": task,
                "round": outcome.round,
                "cohort": cohort,
                "confirmations": one.pop("confirmations"),
                "evidence": one.pop("evidence"),
            }
            append_line(self.path / TRANSCRIPT, proof)
        append_line(self.path / ROUNDS, {"task": task, **_line(outcome, sums)})
        save_state(self.path / "checkpoint", task, state, [])
        self.record(task, outcome.round).forget()

    def finish(self, states: Mapping[str, State]) -> None:
        """Writes the weights of all tasks, and drops what only going on would need."""
        save_tensors(
            self.path / WEIGHTS,
            {f"{task}/weights": state.released for task, state in states.items()},
        )
        shutil.rmtree(self.path / "exchange", ignore_errors=True)

    def done(self) -> list[dict[str, Any]]:
        """The lines of all rounds so far."""
        return _lines(self.path / ROUNDS)

    def verdict(self) -> tuple[bool, str]:
        """Whether a run that has come to its end has trained anything of each task, and a note.

        The note names rounds without a total, and of a task without any why members were not in it.
        """
        notes, good, done = [], True, self.done()
        for task in self.federation().tasks:
            lines = [line for line in done if line["task"] == task.name]
            whole = sum(line["changed"] for line in lines)
            if whole == 0:
                good = False
                notes.append(f"{task.name}: no round had a total{_why(lines)}")
            elif whole < len(lines):
                notes.append(f"{task.name}: {whole} of {len(lines)} rounds had a total")
        return good, "; ".join(notes)

    def _cut(self, task: str, number: int) -> None:
        """Forgets the lines of rounds after ``number``: they will be written again."""
        for name in (ROUNDS, TRANSCRIPT):
            before = _lines(self.path / name)
            kept = [one for one in before if one["task"] != task or one["round"] <= number]
            if len(kept) < len(before):
                text = "".join(f"{json.dumps(one, sort_keys=True)}\n" for one in kept)
                write_atomically(self.path / name, text.encode())


def _why(lines: Sequence[Mapping[str, Any]]) -> str:
    """The last words of each member that was left out."""
    said = {name: why for line in lines for name, why in line["refusals"].items()}
    return f" ({', '.join(f'{name}: {said[name]}' for name in sorted(said))})" if said else ""


def _line(outcome: Outcome, sums: list[dict[str, Any]]) -> dict[str, Any]:
    """A round's line (docs/result.md), as far as the coordinator knows it."""
    return {
        "round": outcome.round,
        "metrics": {},
        "survivors": outcome.survivors,
        "charged": [],
        "refusals": outcome.refusals,
        "epsilon": {},
        "seconds": outcome.seconds,
        "local": {},
        "weights": outcome.weights,
        "shared": {key: asdict(one) for key, one in outcome.metrics.items()},
        "sums": sums,
        "changed": outcome.changed,
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal; one that was cut off by a crash does not count."""
    found = []
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for line in text.split("\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
