# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The one-run audit: what an observer of one whole training can tell of many canaries at once.

Each canary is put in or left out by a coin of its own. Whoever saw the training guesses some of the
coins. A mechanism of small ε lets nobody guess much better than coins do, so that many right
guesses are a lower bound on ε.

Source: Steinke, Nasr & Jagielski 2023, arXiv:2305.08846, theorem 5.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcode.errors import ConfigError
from fedcode.privacy import _validate

MISTAKE = 0.05
"""The chance that a bound is wrong: a right mechanism is accused in one audit of twenty at most."""

_SIZES = (500, 1_000, 2_000, 4_000, 8_000)
_HALVINGS = 4
_SURELY = 0.95
_LARGEST = 50.0
_BISECTIONS = 40


@dataclass(frozen=True, slots=True)
class Guesses:
    """How many coins are guessed: the observer abstains on all others.

    Attributes:
        inside: so many canaries of the highest scores are guessed to be in.
        outside: so many of the lowest scores are guessed to be out.
    """

    inside: int
    outside: int = 0

    @property
    def total(self) -> int:
        """All guesses."""
        return self.inside + self.outside


@dataclass(frozen=True, slots=True)
class OneRunFinding:
    """What one run showed; all ε are at ``delta``.

    Attributes:
        canaries: m, each in or out by a fair coin.
        guesses: of the choice that showed most.
        right: how many of them were right.
        delta: at which ε is told.
        mistake: the chance that ``found`` is too high, over all choices together.
        claimed: ε of what was claimed.
        found: ε that the mechanism has at least, up to the chance of a mistake.
        detectable: the largest ε that could have been found: every guess right.
    """

    canaries: int
    guesses: int
    right: int
    delta: float
    mistake: float
    claimed: float
    found: float
    detectable: float

    @property
    def broken(self) -> bool:
        """Whether more was found than is claimed."""
        return self.found > self.claimed


def plan_canaries(reached: float, claimed: float, delta: float, most: int) -> int:
    """The smallest number of canaries that could show more than is claimed.

    Where no number can: the one that could show most.

    Args:
        reached: the chance that a canary that is in is sampled at least once.
        claimed: ε.
        delta: of the claim.
        most: there is room for so many.

    Raises:
        ConfigError: there is no room, or hardly any canary is in and sampled.
    """
    sizes = [size for size in _SIZES if size <= most] or [most]
    could = {}
    for size in sizes:
        choices = plan_guesses(size, reached, claimed, delta)
        could[size] = detectable(size, choices, delta)
        if could[size] > claimed:
            return size
    return max(could, key=could.__getitem__)


def plan_guesses(canaries: int, reached: float, claimed: float, delta: float) -> Sequence[Guesses]:
    """How many coins to guess: chosen before any score is seen, from public numbers alone.

    A canary that no step has sampled looks like one that was left out. So no more are guessed to be
    in than are likely to have been in and sampled, and any to be out only where nearly all that are
    in were sampled. Smaller choices (halves) are tried as well, as far as each could still show
    more than is claimed: every choice more makes all of them weaker.

    Args:
        canaries: m.
        reached: the chance that a canary that is in was sampled at least once.
        claimed: ε.
        delta: of the claim.

    Raises:
        ConfigError: hardly any canary is in and sampled.
    """
    share = reached / 2
    most = int(canaries * share - 2 * (canaries * share * (1 - share)) ** 0.5)
    if most < 1:
        raise ConfigError(f"{canaries} canaries are too few to guess about", "plant more of them")
    sizes = [most >> halving for halving in range(_HALVINGS) if most >> halving]
    choices = [Guesses(size, size if reached > _SURELY else 0) for size in sizes]
    for number in range(len(choices), 1, -1):
        least = choices[number - 1].total
        if least_epsilon(canaries, least, least, delta, MISTAKE / number) > claimed:
            return choices[:number]
    return choices[:1]


def one_run_finding(
    scores: NDArray[np.float64],
    inside: NDArray[np.bool_],
    choices: Sequence[Guesses],
    claimed: float,
    delta: float,
    mistake: float = MISTAKE,
) -> OneRunFinding:
    """Holds a claim of (ε, δ) against one run.

    Args:
        scores: what the observer makes of each canary, shape (m,): larger where it seems to be in.
        inside: which canaries were in, by fair and independent coins, shape (m,).
        choices: how many coins to guess, fixed before the run; each has its part of ``mistake``.
        claimed: ε.
        delta: of the claim.
        mistake: the chance that what is found is too high.

    Raises:
        ConfigError: no choice, or one of more guesses than canaries.
    """
    _validate.probability(delta=delta, mistake=mistake)
    m = len(scores)
    if not choices or not all(0 < choice.total <= m for choice in choices):
        raise ConfigError(f"guesses do not fit to {m} canaries", "guess at most every canary once")
    order = np.argsort(scores, kind="stable")
    each = mistake / len(choices)
    shown = []
    for choice in choices:
        right = int(inside[order[m - choice.inside :]].sum())
        right += int((~inside[order[: choice.outside]]).sum())
        found = least_epsilon(m, choice.total, right, delta, each)
        shown.append((found, right, choice.total))
    found, right, guesses = max(shown)
    could = detectable(m, choices, delta, mistake)
    return OneRunFinding(m, guesses, right, delta, mistake, claimed, found, could)


def detectable(
    canaries: int, choices: Sequence[Guesses], delta: float, mistake: float = MISTAKE
) -> float:
    """The largest ε that these choices could show: every guess right."""
    each = mistake / len(choices)
    return max(least_epsilon(canaries, c.total, c.total, delta, each) for c in choices)


def least_epsilon(canaries: int, guesses: int, right: int, delta: float, mistake: float) -> float:
    """The smallest ε under which so many right guesses are likely; 0 where they always are."""
    if chance(canaries, guesses, right, 0.0, delta) >= mistake:
        return 0.0
    low, high = 0.0, _LARGEST
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if chance(canaries, guesses, right, middle, delta) < mistake:
            low = middle
        else:
            high = middle
    return low


def chance(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """At most so likely are ``right`` or more right guesses under (ε, δ).

    Under ε alone every guess is right with the odds e^ε at most; δ adds to it what it could do if
    it fell on the canaries whose guesses are missing to ``right``.
    """
    from scipy.stats import binom

    odds = 1 / (1 + np.exp(-epsilon))
    if not right:
        return 1.0
    below = binom.pmf(np.arange(right - 1, -1, -1), guesses, odds)
    helped = float((np.cumsum(below) / np.arange(1, right + 1)).max())
    at_least = float(binom.sf(right - 1, guesses, odds))
    return min(1.0, at_least + 2 * canaries * delta * helped)
