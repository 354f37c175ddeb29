# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The secure sum: masks, a member's whole work, the coordinator's unmasking, and memory."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcode.privacy.release import Term
from fedcode.secure_sum import Session, Summation, SummingMember
from fedcode.secure_sum.masks import add_masks
from fedcode.signing import SigningKey
from fedcode.wire import Message, Received, decode, encode
from tests.benchmarks.figure import Figure, at_least, at_most, seconds

MEMBER = 10_000_000
COORDINATOR = 1_000_000
TIMES = 3


class Points(Term):
    """A term without a release: what is measured is the same."""

    def __init__(self, values: NDArray[np.int32]) -> None:
        object.__setattr__(self, "values", values)


class NoLatch:
    """What a latch takes is the disk's, and not measured here."""

    def latch(self, step: str, digest: str) -> None:
        """Nothing."""


def figures() -> list[Figure]:
    """One thread; medians of three, after one run that is not counted."""
    total = np.zeros(MEMBER, np.uint32)
    keys = [bytes([i]) * 32 for i in range(20)]
    keystream = 4 * MEMBER * len(keys) / seconds(lambda: add_masks(total, keys, [])) / 1e9
    found = [at_least("secure-sum", "masking, keystream added up", keystream, "GB/s", 2)]
    for n, wanted in ((20, 1.0), (100, 4.0)):
        runs = [Measured(n, MEMBER) for _ in range(TIMES)]
        taken = sorted(run.member() for run in runs)
        name = f"a member's whole work, {n} members, 10M coordinates"
        note = f"{taken[0]:.2f} to {taken[-1]:.2f} s; {1e3 * runs[0].checks:.0f} ms without masking"
        found.append(at_most("secure-sum", name, taken[TIMES // 2], "s", wanted, note))
    taken = sorted(Measured(100, COORDINATOR).coordinator(10) for _ in range(TIMES))
    name = "unmasking, 100 members, 10 dropped, 1M coordinates"
    note = f"{taken[0]:.2f} to {taken[-1]:.2f} s"
    found.append(at_most("secure-sum", name, taken[TIMES // 2], "s", 10, note))
    memory = Measured(20, MEMBER).memory()
    found.append(at_most("secure-sum", "a member's memory", memory, "vectors", 3, "term included"))
    held = Measured(20, COORDINATOR).held()
    name = "the coordinator's memory while terms arrive"
    return [*found, at_most("secure-sum", name, held, "vectors", 3, "the one arriving included")]


@dataclass
class Measured:
    """One sum, in which all members but the first have vectors that cost nothing.

    Attributes:
        n: members.
        length: coordinates.
        checks: seconds of the first member's work in all steps but the masking.
    """

    n: int
    length: int
    checks: float = 0.0

    def __post_init__(self) -> None:
        own = SigningKey.generate()
        signing = {f"m{i:03}": SigningKey.generate() for i in range(self.n)}
        members = tuple((name, key.public) for name, key in signing.items())
        digests = ("aa" * 32, 1, "bb" * 32, "cc" * 32)
        self.session = Session(*digests, own.public, members, self.length)
        self.members = {
            name: SummingMember(self.session, name, key, NoLatch()) for name, key in signing.items()
        }
        self.sum = Summation(self.session, own)

    def read(self, message: Message) -> Received:
        """What arrives."""
        return decode(encode(message), weights=self.length, length=self.length)

    def timed(self, name: str, step: str, message: Message | None, total: list[float]) -> bytes:
        """One step of a member, from bytes to bytes; the first one's time is counted."""
        data = None if message is None else encode(message)
        start = time.perf_counter()
        ask = getattr(self.members[name], step)
        asked = () if data is None else (decode(data, weights=1, length=self.length),)
        answer = ask(*asked)
        sent = b"" if answer is None else encode(answer)
        if name == "m000":
            total.append(time.perf_counter() - start)
        return sent

    def take(self, step: str, data: bytes) -> None:
        """One message for the coordinator."""
        getattr(self.sum, step)(decode(data, weights=1, length=self.length))

    def begin(self, total: list[float]) -> None:
        """Keys and shares of all."""
        for name in self.members:
            self.take("add_keys", self.timed(name, "keys", None, total))
        for name in self.members:
            self.take("add_shares", self.timed(name, "shares", self.sum.book(), total))
        for name, delivery in self.sum.deliveries().items():
            self.timed(name, "accept", delivery, total)

    def member(self) -> float:
        """Seconds of the first member's work: keys to reveal, each message read and written."""
        total: list[float] = []
        self.begin(total)
        term = Points(np.ones(self.length, np.int32))
        start = time.perf_counter()
        data = encode(self.members["m000"].mask(term))
        masking = time.perf_counter() - start
        self.take("add_masked", data)
        self.finish(total, leave=0)
        self.checks = sum(total)
        return masking + self.checks

    def finish(self, total: list[float], leave: int) -> None:
        """Everybody's steps from the masks on; the last ``leave`` members send no term.

        Vectors of the others, whose work is not measured, are masked at a length of one and
        counted as they are: only the first member's is of the whole length.
        """
        names = list(self.members)[: self.n - leave]
        for name in names:
            if name not in self.sum.survivor_names:
                self.sum._masked[name] = b""
                self.members[name]._masked = True
                self.members[name]._wipe_masks()
        for name in names:
            self.take("add_confirmation", self.timed(name, "confirm", self.sum.survivors(), total))
        for name in names:
            self.take("add_reveal", self.timed(name, "reveal", self.sum.confirmations(), total))

    def coordinator(self, dropped: int) -> float:
        """Seconds of the unmasking, seeds and keys from shares included."""
        self.begin([])
        self.finish([], dropped)
        start = time.perf_counter()
        self.sum.total()
        return time.perf_counter() - start

    def memory(self) -> float:
        """The most memory of the masking, in vectors: from the term to the message's bytes."""
        self.begin([])
        tracemalloc.start()
        term = Points(np.ones(self.length, np.int32))
        encode(self.members["m000"].mask(term))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return round(most / (4 * self.length), 2)

    def held(self) -> float:
        """The most memory while terms arrive, in vectors: the sum, and the bytes that arrive."""
        self.begin([])
        tracemalloc.start()
        for member in list(self.members.values())[:3]:
            term = Points(np.ones(self.length, np.int32))
            data = encode(member.mask(term))
            del term
            tracemalloc.reset_peak()
            self.take("add_masked", data)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return round(most / (4 * self.length) + 1, 2)  # the sum, which was there before
