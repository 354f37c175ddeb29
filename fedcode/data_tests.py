# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""When data may not be trained on, as a person writes it down: the table ``[data_tests]``."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from fedcode.strict import Amount, Count, Positive, Purpose, Share, Strict

DataTest = Literal[
    "schema",
    "labels",
    "lengths",
    "tokens",
    "duplicates",
    "leakage",
    "drift-lengths",
    "drift-tokens",
    "drift-labels",
]
"""What is tested; docs/data.md describes each."""

DATA_TESTS: tuple[DataTest, ...] = get_args(DataTest)

Part = Annotated[float, Field(ge=0, le=1, strict=True)]


class DataTestSettings(Strict):
    """The table ``[data_tests]``, as agents and simulations both have it; docs/data.md says more.

    Attributes:
        off: tests that are not made.
        few: with fewer records, nothing is said of shares and distributions.
        least_defective: of the labelled records.
        most_defective: of the labelled records.
        most_tiny: the share of functions and modules of fewer than two tokens.
        most_long: the share of functions and modules of more than 20,000 tokens.
        most_common: the share of all tokens that may fall into one of 256 buckets.
        least_entropy: of the tokens' buckets, in bits; 8 is the most that it can be.
        most_duplicates: the share of records whose tokens are an earlier one's.
    """

    off: tuple[DataTest, ...] = ()
    few: Count = 200
    least_defective: Part = 0.001
    most_defective: Part = 0.99
    most_tiny: Part = 0.2
    most_long: Part = 0.05
    most_common: Share = 0.5
    least_entropy: Amount = 2.0
    most_duplicates: Part = 0.01

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.off)) < len(self.off):
            raise ValueError("a test is named twice in off")
        if self.least_defective > self.most_defective:
            raise ValueError("least_defective is more than most_defective")
        return self


class AgentDataTests(DataTestSettings):
    """The table in ``client.toml``: an agent has a history, which later data is compared with.

    Attributes:
        psi: population stability index that is too large while the history is short.
        ks: a Kolmogorov-Smirnov distance that is too small to matter, however certain it is.
        snapshots: accepted snapshots from which on thresholds are learned from them.
        floor: no learned threshold is below this share of ``psi`` or ``ks``.
    """

    psi: Positive = 0.25
    ks: Share = 0.1
    snapshots: Annotated[int, Field(ge=4, strict=True)] = 4
    floor: Share = 0.4


class SimulatedDataTests(DataTestSettings):
    """The table in a federation's file: a simulation has no history, and nobody whom it could ask.

    Attributes:
        accept: failing tests that it goes on with, each with the reason.
    """

    accept: dict[DataTest, Purpose] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _none_is_off(self) -> Self:
        both = sorted(set(self.off) & set(self.accept))
        if both:
            raise ValueError(f"{both[0]} is off: there is nothing to accept")
        return self
