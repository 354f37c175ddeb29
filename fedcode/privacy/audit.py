# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What an observer can tell: a lower bound on a mechanism's privacy loss, from what it did.

An audit never shows that a mechanism is private. It shows that it is not, when the bound found
passes what is claimed; and it always says how much it could have found at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcode.errors import ConfigError
from fedcode.privacy import _validate
from fedcode.privacy.accountant import epsilon

MISTAKE = 1e-5
"""The chance that a single bound is wrong: a right mechanism is hardly ever accused."""

_THRESHOLDS = 97
_FEWEST = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """What an audit found; all ε are at ``delta``.

    Attributes:
        trials: in both worlds together.
        delta: at which μ is told as ε.
        claimed: ε of what was claimed.
        found: ε that the mechanism has at least, up to the chance of a mistake.
        detectable: the largest ε that so many trials could have found.
    """

    trials: int
    delta: float
    claimed: float
    found: float
    detectable: float

    @property
    def broken(self) -> bool:
        """Whether more was found than is claimed."""
        return self.found > self.claimed


def gaussian_finding(
    without: NDArray[np.float64], with_: NDArray[np.float64], mu: float, delta: float
) -> Finding:
    """Holds a claim of μ-Gaussian differential privacy against two samples of a statistic.

    The threshold that separates the samples best is chosen on their first halves; how well it does
    is bounded on their second halves (Clopper & Pearson 1934). A test with false positive rate f
    and true positive rate t shows that μ >= Φ⁻¹(t) - Φ⁻¹(f).

    Args:
        without: the statistic in runs without the canary, shape (n,).
        with_: in as many runs with it; it shall be larger there.
        mu: what is claimed: one over the noise multiplier.
        delta: at which the finding is told.

    Raises:
        ConfigError: too few trials to find anything.

    Source: Nasr et al. 2023, arXiv:2302.07956, section 4; Dong, Roth & Su 2022, arXiv:1905.02383.
    """
    _validate.positive(mu=mu)
    _validate.probability(delta=delta)
    half = min(len(without), len(with_)) // 2
    if half < _FEWEST:
        raise ConfigError(f"{4 * half} trials are too few", f"take {4 * _FEWEST} or more")
    threshold = _best_threshold(without[:half], with_[:half])
    false = int((without[half : 2 * half] > threshold).sum())
    true = int((with_[half : 2 * half] > threshold).sum())
    return Finding(
        trials=4 * half,
        delta=delta,
        claimed=_epsilon(mu, delta),
        found=_epsilon(_least_mu(false, true, half), delta),
        detectable=_epsilon(_least_mu(0, half, half), delta),
    )


def _best_threshold(without: NDArray[np.float64], with_: NDArray[np.float64]) -> float:
    """The threshold that would show most on these samples."""
    together = np.concatenate([without, with_])
    places = np.quantile(together, np.linspace(0.01, 0.99, _THRESHOLDS))
    shown = [
        _least_mu(int((without > p).sum()), int((with_ > p).sum()), len(without)) for p in places
    ]
    return float(places[int(np.argmax(shown))])


def _least_mu(false: int, true: int, trials: int) -> float:
    """The smallest μ that ``false`` and ``true`` positives of so many are likely under."""
    from scipy.stats import beta, norm

    most_false = beta.ppf(1 - MISTAKE, false + 1, trials - false) if false < trials else 1.0
    least_true = beta.ppf(MISTAKE, true, trials - true + 1) if true else 0.0
    return max(0.0, float(norm.ppf(least_true) - norm.ppf(most_false)))


def _epsilon(mu: float, delta: float) -> float:
    """ε of the Gaussian mechanism with noise of 1/μ times its sensitivity."""
    return epsilon({(1 / mu, 1.0): 1}, delta) if mu else 0.0
