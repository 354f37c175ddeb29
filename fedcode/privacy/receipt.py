# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The proof that a release has been paid for."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field

from fedcode.errors import PrivacyError
from fedcode.record import PrivacyUnit

LEDGER = object()
"""What the ledger shows to make a receipt; nothing else has a use for it."""


@dataclass(frozen=True, slots=True)
class Paid:
    """One charge that is durable in the ledger. By itself it opens nothing: a receipt does.

    Attributes:
        seq: the ledger's row.
        hash: of that row.
        asset: the data whose budget paid.
        agreement: digest of what the release is for.
        task: name of the task.
        round: from 1.
        unit: what adjacency adds or removes.
        epsilon: the cap of the asset's account.
        delta: of the asset's account.
        noise_multiplier: σ.
        sampling_rate: q.
        steps: K, the noised sums that were paid for.
        cost_nano: the price.
        seeded: whether the account is a simulation's, whose noise need not be secret.
    """

    seq: int
    hash: str
    asset: str
    agreement: str
    task: str
    round: int
    unit: PrivacyUnit
    epsilon: float
    delta: float
    noise_multiplier: float
    sampling_rate: float
    steps: int
    cost_nano: int
    seeded: bool


@dataclass(frozen=True, slots=True)
class Receipt(Paid):
    """The right to compute one release: :class:`Paid`, made by the ledger, taken once."""

    maker: InitVar[object]
    _used: list[None] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self, maker: object) -> None:
        if maker is not LEDGER:
            raise PrivacyError("a receipt is made by the ledger, from a charge")

    def __copy__(self) -> Receipt:
        raise PrivacyError("a receipt has no copy: one charge, one release")

    def __deepcopy__(self, memo: object) -> Receipt:
        return self.__copy__()

    def __reduce__(self) -> tuple[object, ...]:
        raise PrivacyError("a receipt stays in the process that paid")

    @property
    def used(self) -> bool:
        """Whether it was taken."""
        return bool(self._used)

    def use(self) -> None:
        """Takes the receipt; it pays for one release only.

        Raises:
            PrivacyError: it was taken before.
        """
        self._used.append(None)
        if len(self._used) > 1:
            raise PrivacyError(f"receipt {self.seq} has been used already: one charge, one release")
