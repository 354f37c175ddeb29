# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Our secure sum beside Flower's SecAgg+: the same vectors, in turn, in one process, no network.

Both have the complete graph, the same threshold, and members that drop out after they have shared
their secrets, where it costs most. Seconds are the processor's, over all threads.

Flower's halves are its own code as it is installed (``secaggplus_mod``, ``SecAggPlusWorkflow``).
Its clock stands still while a member's training would run, and its strategy takes the sum as it is.
It hands messages over in memory. Ours are made into bytes and read back, which is the stage
``bytes``: ratios are of the rest, and once more of all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, median, quantiles
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import (
    Code,
    FitIns,
    FitRes,
    NDArray,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common import recorddict_compat as compat
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey

from fedcode.errors import PrivacyError
from fedcode.privacy.lattice import Lattice
from fedcode.privacy.release import Term
from fedcode.secure_sum import Session, Summation, SummingMember
from fedcode.signing import SigningKey
from fedcode.transport.in_memory import InMemoryGrid
from fedcode.wire import Message as Signed
from fedcode.wire import decode, encode
from tests.benchmarks.clock import NOBODY, Clock
from tests.benchmarks.figure import Figure, at_least

_LENGTH, _MEMBERS, _REPETITIONS = 1_000_000, 20, 5
_DROPPED = (0, 2)
_RANGE, _POINTS = 8.0, 1 << 22  # Flower's defaults: values within ±8 become so many integers
_SPACING = 2 * _RANGE / _POINTS
_COORDINATOR, _BYTES = "coordinator", "bytes"


@dataclass(frozen=True)
class Sum:
    """One secure sum that was taken.

    Attributes:
        clock: who worked how long.
        mean: of the survivors' vectors, shape (d,).
        survivors: their names.
    """

    clock: Clock
    mean: NDArray
    survivors: tuple[str, ...]


def vectors(members: int, length: int) -> dict[str, NDArray]:
    """Values within ±1, by member."""
    generator = np.random.default_rng(0)
    return {
        f"m{number:02}": generator.uniform(-1, 1, length).astype(np.float32)
        for number in range(members)
    }


class _TakeIt(FedAvg):
    """Asks every node, and takes what the workflow has summed up."""

    def __init__(self, proxies: list[GridClientProxy]) -> None:
        super().__init__()
        self._proxies = proxies

    def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> Any:
        return [(proxy, FitIns(parameters, {})) for proxy in self._proxies]

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        return results[0][1].parameters, {}


def of_flower(values: dict[str, NDArray], dropped: Sequence[str]) -> Sum:
    """SecAgg+ as Flower has it; ``dropped`` share their secrets and send no vector."""
    clock = Clock()

    def app(name: str) -> Callable[[Message, Context], Message]:
        own = Context(1, 1, {}, RecordDict(), {})

        def train(message: Message, _: Context) -> Message:
            with clock.of(NOBODY):
                parameters = ndarrays_to_parameters([values[name]])
                result = FitRes(Status(Code.OK, ""), parameters, 1000, {})
                return Message(compat.fitres_to_recorddict(result, False), reply_to=message)

        def answer(message: Message, _: Context) -> Message:
            with clock.of(NOBODY):  # a network would have copied what the mod takes apart
                asked = ConfigRecord(dict(message.content.config_records[RECORD_KEY_CONFIGS]))
                message.content = RecordDict({**message.content, RECORD_KEY_CONFIGS: asked})
            clock.stage = str(asked[Key.STAGE])
            if name in dropped and clock.stage == Stage.COLLECT_MASKED_VECTORS:
                return Message(Error(0, "dropped out"), reply_to=message)
            with clock.of(name):
                return secaggplus_mod(message, own, train)

        return answer

    grid = InMemoryGrid({name: app(name) for name in values})  # type: ignore[arg-type]
    proxies = [GridClientProxy(node, grid, 1) for node in grid.nodes.values()]
    context = LegacyContext(Context(1, 1, {}, RecordDict(), {}), strategy=_TakeIt(proxies))
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
    # Members that start from one number: to send them a model is not the sum's work.
    start = ndarrays_to_parameters([np.zeros(1, np.float32)])
    context.state.array_records[MAIN_PARAMS_RECORD] = compat.parameters_to_arrayrecord(start, True)
    workflow = SecAggPlusWorkflow(
        len(values), 2 * len(values) // 3 + 1, clipping_range=_RANGE, quantization_range=_POINTS
    )
    clock.stage = Stage.SETUP
    with clock.of(_COORDINATOR):
        workflow(grid, context)
    summed = context.state.array_records[MAIN_PARAMS_RECORD]
    found = parameters_to_ndarrays(compat.arrayrecord_to_parameters(summed, True))[0]
    return Sum(clock, found, tuple(name for name in values if name not in dropped))


class _Latch:
    """In memory."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}

    def latch(self, step: str, digest: str) -> None:
        if self._held.setdefault(step, digest) != digest:
            raise PrivacyError(f"another answer to {step}")


class _Rounded(Term):
    """A vector's points on a lattice, as if it were a release."""

    def __init__(self, vector: NDArray, lattice: Lattice) -> None:
        object.__setattr__(self, "values", lattice.points(vector))


class _Ours:
    """One sum of ours.

    Args:
        values: by member.
        dropped: share their secrets and send no vector.
    """

    def __init__(self, values: dict[str, NDArray], dropped: Sequence[str]) -> None:
        self.clock = Clock()
        self._values, self._length = values, next(iter(values.values())).size
        self._left = [name for name in values if name not in dropped]
        own, keys = SigningKey.generate(), {name: SigningKey.generate() for name in values}
        roster = tuple((name, key.public) for name, key in sorted(keys.items()))
        digests = ["ab" * 32, "cd" * 32, "ef" * 32]
        session = Session(digests[0], 1, *digests[1:], own.public, roster, self._length)
        self.clock.stage = "keys"
        with self.clock.of(_COORDINATOR):
            self._coordinator = Summation(session, own)
        self._members = {}
        for name in values:
            with self.clock.of(name):
                self._members[name] = SummingMember(session, name, keys[name], _Latch())

    def run(self) -> Sum:
        """All steps."""
        ours, lattice = self._coordinator, Lattice(((self._length, _SPACING),), len(self._values))
        everybody, left = list(self._values), self._left
        self._collect("keys", everybody, lambda m, _: m.keys(), ours.add_keys)
        book = self._told("keys", ours.book)
        self._collect("shares", everybody, lambda m, n: m.shares(book[n]), ours.add_shares)
        self._deliver(everybody)
        self._collect(
            "mask", left, lambda m, n: m.mask(_Rounded(self._values[n], lattice)), ours.add_masked
        )
        survivors = self._told("mask", ours.survivors)
        self._collect("confirm", left, lambda m, n: m.confirm(survivors[n]), ours.add_confirmation)
        confirmed = self._told("confirm", ours.confirmations)
        self._collect("reveal", left, lambda m, n: m.reveal(confirmed[n]), ours.add_reveal)
        self.clock.stage = "total"
        with self.clock.of(_COORDINATOR):
            found = lattice.values(ours.total()) / len(left)
        return Sum(self.clock, found, tuple(left))

    def _collect(
        self,
        stage: str,
        names: Sequence[str],
        step: Callable[[SummingMember, str], Signed],
        add: Callable[[Any], None],
    ) -> None:
        for name in names:
            self.clock.stage = stage
            with self.clock.of(name):
                message = step(self._members[name], name)
            received = self._read(_COORDINATOR, self._written(name, message))
            self.clock.stage = stage
            with self.clock.of(_COORDINATOR):
                add(received)

    def _told(self, stage: str, step: Callable[[], Signed]) -> dict[str, Any]:
        """What the coordinator tells everybody, as each has read it."""
        self.clock.stage = stage
        with self.clock.of(_COORDINATOR):
            message = step()
        data = self._written(_COORDINATOR, message)
        return {name: self._read(name, data) for name in self._values}

    def _deliver(self, names: Sequence[str]) -> None:
        self.clock.stage = "shares"
        with self.clock.of(_COORDINATOR):
            deliveries = self._coordinator.deliveries()
        for name in names:
            delivery = self._read(name, self._written(_COORDINATOR, deliveries[name]))
            self.clock.stage = "shares"
            with self.clock.of(name):
                self._members[name].accept(delivery)

    def _written(self, party: str, message: Signed) -> bytes:
        self.clock.stage = _BYTES
        with self.clock.of(party):
            return encode(message)

    def _read(self, party: str, data: bytes) -> Any:
        self.clock.stage = _BYTES
        with self.clock.of(party):
            return decode(data, weights=1, length=self._length)


def figures() -> list[Figure]:
    """One million coordinates and 20 members, without and with two dropouts."""
    logging.getLogger("flwr").setLevel(logging.WARNING)
    values = vectors(_MEMBERS, _LENGTH)
    return [figure for dropped in _DROPPED for figure in _compared(values, dropped)]


def _compared(values: dict[str, NDArray], dropped: int) -> list[Figure]:
    gone = list(values)[3 : 3 + dropped]
    theirs: list[Clock] = []
    ours: list[Clock] = []
    both = [(theirs, of_flower), (ours, lambda *asked: _Ours(*asked).run())]
    for number in range(_REPETITIONS + 1):
        for kept, take in both[:: (-1) ** number]:
            taken = take(values, gone)
            _check(values, taken)
            if number:
                kept.append(taken.clock)
    left = [name for name in values if name not in gone]
    found = []
    for who, parties in (("a member", left), ("the coordinator", [_COORDINATOR])):
        name = f"{who}, {dropped or 'no'} dropouts"
        found += [
            _ratio(name, theirs, ours, parties),
            _seconds(f"{name}: Flower", theirs, parties),
            _seconds(f"{name}: ours", ours, parties),
        ]
    everybody = [*values, _COORDINATOR]
    found.append(_ratio(f"all together, {dropped or 'no'} dropouts", theirs, ours, everybody))
    return found


def _ratio(name: str, theirs: list[Clock], ours: list[Clock], parties: Sequence[str]) -> Figure:
    """Flower's seconds over ours: in memory, and in the note with our messages' bytes."""
    pairs = list(zip(theirs, ours, strict=True))
    with_bytes = median(a.seconds(parties) / b.seconds(parties) for a, b in pairs)
    low, middle, high = quantiles(
        (a.seconds(parties) / (b.seconds(parties) - b.stages(parties)[_BYTES]) for a, b in pairs),
        n=4,
    )
    note = f"{low:.2f} to {high:.2f}; {with_bytes:.2f} with the bytes of our messages"
    return at_least("secagg-plus", f"{name}: SecAgg+ over ours", middle, "x", 5, note)


def _seconds(name: str, clocks: list[Clock], parties: Sequence[str]) -> Figure:
    """Median of the processor's, the wall's and the stages' in the note."""
    parts = [
        f"{stage} {1000 * mean(c.stages(parties)[stage] for c in clocks):.1f}"
        for stage in clocks[0].stages(parties)
    ]
    wall = median(sum(c.wall[p] for p in parties) / len(parties) for c in clocks)
    note = f"ms: {', '.join(parts)}; by the wall {1000 * wall:.1f}"
    value = median(c.seconds(parties) for c in clocks)
    return Figure("secagg-plus", name, value, "s", note=note)


def _check(values: dict[str, NDArray], taken: Sum) -> None:
    """Every value is rounded to a point of the lattice, up or down."""
    wanted = np.mean([values[name] for name in taken.survivors], axis=0, dtype=np.float64)
    assert np.abs(taken.mean - wanted).max() <= _SPACING, "a wrong sum"
