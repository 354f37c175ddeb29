# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Whether data may be trained on: tests of its whole profile, each a fixed word and a number.

Drift is told by the population stability index, Σ (p − q) ln(p / q) over the bins of two
histograms, and by the two-sample Kolmogorov-Smirnov distance. Below 0.10 an index says that nothing
has changed, above 0.25 that much has (Siddiqi, Credit Risk Scorecards, 2006). Of two samples of one
distribution it is about (1/n + 1/m) times a χ² with one degree of freedom less than there are bins
(Yurdakul and Naranjo, Statistical properties of the population stability index, Journal of Risk
Model Validation 14(4), 2020): no index that chance alone would give once in a thousand times is a
failure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import accumulate, pairwise
from statistics import fmean, stdev
from typing import Any, Literal

from fedcode.corpus.profile import LONG, TINY, Profile
from fedcode.data_tests import DATA_TESTS, AgentDataTests, DataTest, DataTestSettings
from fedcode.task import Labels

State = Literal["passed", "failed", "not-applicable", "off"]

ALPHA = 0.001
"""How often chance alone may pass a threshold of drift."""

_HALF = 0.5
"""Added to every bin: an empty one would make an index infinite."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one test found.

    Attributes:
        test: its name.
        state: ``passed``, ``failed``, ``not-applicable`` or ``off``.
        said: in a sentence: what was measured, or why nothing was.
        value: what was measured; None where nothing was.
        threshold: the last value that is no failure.
    """

    test: DataTest
    state: State
    said: str
    value: float | None = None
    threshold: float | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


def run(
    profile: Profile,
    settings: DataTestSettings,
    *,
    labels: Labels = "none",
    leaked: int = 0,
    history: Sequence[Profile] = (),
    usual: Sequence[tuple[Profile, Profile]] | None = None,
) -> tuple[Outcome, ...]:
    """All tests, in the order of their names in ``fedcode.data_tests``.

    Args:
        profile: of all that would be trained on.
        settings: thresholds, and which tests are off; an agent's alone can tell drift.
        labels: what the task wants on the records.
        leaked: records of it that are measured on as well.
        history: the snapshots that were accepted, the latest last.
        usual: neighbours in it of which the later one passed by itself, to learn thresholds from;
            all neighbours if absent.
    """
    pairs = list(pairwise(history)) if usual is None else usual
    made: dict[DataTest, Callable[[], Outcome]] = {
        "schema": partial(_schema, profile),
        "labels": partial(_labels, profile, settings, labels),
        "lengths": partial(_lengths, profile, settings),
        "tokens": partial(_tokens, profile, settings),
        "duplicates": partial(_duplicates, profile, settings),
        "leakage": partial(_leakage, profile, leaked),
    }
    for name in DRIFTS:
        made[name] = partial(_none, name, "a simulation has no snapshots to compare with")
        if isinstance(settings, AgentDataTests):
            made[name] = partial(_drift, name, profile, settings, history, pairs)
    off = "switched off in [data_tests]"
    return tuple(
        Outcome(name, "off", off) if name in settings.off else made[name]() for name in DATA_TESTS
    )


def failing(outcomes: Sequence[Outcome]) -> tuple[DataTest, ...]:
    """Names of the tests that failed."""
    return tuple(one.test for one in outcomes if one.state == "failed")


def leaks(trained: set[bytes], measured: set[bytes]) -> int:
    """How many texts stand on both sides; see :func:`fedcode.corpus.profile.texts`."""
    return len(trained & measured)


# Each test.


def _schema(profile: Profile) -> Outcome:
    number = sum(profile.wrong.values())
    words = ", ".join(f"{word} {count:,}" for word, count in profile.wrong.items())
    said = f"{number:,} of {profile.records:,} records are not as they should be"
    return _judged("schema", number, 0, f"{said}: {words}" if words else said)


def _labels(profile: Profile, settings: DataTestSettings, labels: Labels) -> Outcome:
    if labels == "none":
        return _none("labels", "no task trains on labels")
    if profile.labelled < settings.few:
        return _few("labels", profile.labelled, "labelled records")
    share = profile.defective / profile.labelled
    said = f"{share:.2%} of {profile.labelled:,} labelled records are defective"
    if share < settings.least_defective:
        return Outcome("labels", "failed", said, share, settings.least_defective)
    return _judged("labels", share, settings.most_defective, said)


def _lengths(profile: Profile, settings: DataTestSettings) -> Outcome:
    if profile.code < settings.few:
        return _few("lengths", profile.code, "functions and modules with tokens")
    tiny, long = profile.tiny / profile.code, profile.long / profile.code
    said = (
        f"{tiny:.2%} of functions and modules have fewer than {TINY} tokens, {long:.2%} more than "
        f"{LONG:,}"
    )
    if long > settings.most_long:
        return Outcome("lengths", "failed", said, long, settings.most_long)
    return _judged("lengths", tiny, settings.most_tiny, said)


def _tokens(profile: Profile, settings: DataTestSettings) -> Outcome:
    if not profile.tokens:
        return _none("tokens", "the records have no tokens")
    if profile.records < settings.few:
        return _few("tokens", profile.records)
    share, bits = max(profile.buckets) / profile.tokens, entropy(profile.buckets)
    said = (
        f"the most common of 256 buckets holds {share:.1%} of the tokens; entropy {bits:.2f} bits"
    )
    if bits < settings.least_entropy:
        return Outcome("tokens", "failed", said, bits, settings.least_entropy)
    return _judged("tokens", share, settings.most_common, said)


def _duplicates(profile: Profile, settings: DataTestSettings) -> Outcome:
    if profile.texts < settings.few:
        return _few("duplicates", profile.texts, "records with tokens")
    share = profile.duplicates / profile.texts
    said = f"{share:.2%} of the records have the tokens of another one"
    return _judged("duplicates", share, settings.most_duplicates, said)


def _leakage(profile: Profile, leaked: int) -> Outcome:
    if not profile.texts:
        return _none("leakage", "the records have no tokens, and are told apart by their names")
    said = f"{leaked:,} of the records are also among those that are measured on"
    return _judged("leakage", leaked, 0, said)


def _judged(test: DataTest, value: float, threshold: float, said: str) -> Outcome:
    return Outcome(test, "failed" if value > threshold else "passed", said, value, threshold)


def _none(test: DataTest, why: str) -> Outcome:
    return Outcome(test, "not-applicable", why)


def _few(test: DataTest, number: int, what: str = "records") -> Outcome:
    return _none(test, f"{number:,} {what} are too few to tell")


# Drift.


@dataclass(frozen=True, slots=True)
class Sample:
    """A histogram, and how much of its corpus it rests on.

    Attributes:
        counts: by bin.
        files: that what is counted stands in.
        ordered: whether one bin lies beside another: only there is a distribution function.
    """

    counts: tuple[int, ...]
    files: int
    ordered: bool = True

    @property
    def independent(self) -> float:
        """About as many draws it is worth.

        What stands in one file is alike. The truth lies between all of it and one for each file;
        taken is the geometric mean, which holds for random halves of real code (docs/data.md).
        """
        return max(1.0, math.sqrt(self.files * sum(self.counts)))


def _of_lengths(profile: Profile) -> dict[str, Sample]:
    return {
        "tokens a record": Sample(profile.lengths, profile.files),
        "lines a record": Sample(profile.lines, profile.files),
    }


def _of_tokens(profile: Profile) -> dict[str, Sample]:
    return {"tokens": Sample(profile.buckets, profile.files, ordered=False)}


def _of_labels(profile: Profile) -> dict[str, Sample]:
    return {"labels": Sample((profile.sound, profile.defective), profile.files)}


DRIFTS: Mapping[DataTest, Callable[[Profile], dict[str, Sample]]] = {
    "drift-lengths": _of_lengths,
    "drift-tokens": _of_tokens,
    "drift-labels": _of_labels,
}
"""What each test of drift looks at."""


def _drift(
    test: DataTest,
    profile: Profile,
    settings: AgentDataTests,
    history: Sequence[Profile],
    pairs: Sequence[tuple[Profile, Profile]],
) -> Outcome:
    """The measure that comes closest to its threshold, or goes furthest beyond."""
    if not history:
        return _none(test, "no snapshot was accepted yet")
    samples, before = DRIFTS[test](profile), DRIFTS[test](history[-1])
    fewest = min(sum(one.counts) for one in (*samples.values(), *before.values()))
    if test == "drift-tokens" and fewest:
        fewest = min(profile.records, history[-1].records)
    if fewest < settings.few:
        return _few(test, fewest, "labelled records" if test == "drift-labels" else "records")
    learned = [(DRIFTS[test](a), DRIFTS[test](b)) for a, b in pairs]
    enough = len(history) >= settings.snapshots and len(learned) >= settings.snapshots - 1
    found = []
    for name, now in samples.items():
        last = before[name]
        for measure, value, chance, known in _measures(last, now):
            most = settings.psi if measure == "PSI" else settings.ks
            if enough:
                values = [known(a[name], b[name]) for a, b in learned]
                most = max(settings.floor * most, fmean(values) + 3 * stdev(values))
            how = "learned from accepted snapshots" if enough else "the usual one"
            if chance > most:
                how += ", raised to what chance gives in so little data"
            found.append((value, max(most, chance), f"{measure} of {name}", how))
    value, threshold, what, how = max(found, key=lambda one: one[0] / one[1])
    said = f"{what} is {value:.3f} against the last accepted snapshot; the threshold is {how}"
    return _judged(test, value, threshold, said)


def _measures(last: Sample, now: Sample) -> list[tuple[str, float, float, Any]]:
    """By name: the value, what chance alone might give, and how it is measured."""

    def of_psi(a: Sample, b: Sample) -> float:
        return psi(a.counts, b.counts)

    def of_ks(a: Sample, b: Sample) -> float:
        return ks(a.counts, b.counts)

    found = [("PSI", of_psi(last, now), _chance_psi(last, now), of_psi)]
    if now.ordered:
        found.append(("KS", of_ks(last, now), _chance_ks(last, now), of_ks))
    return found


def psi(one: Sequence[int], other: Sequence[int]) -> float:
    """Population stability index of two histograms with the same bins: symmetric, 0 if equal."""
    p, q = _smoothed(one), _smoothed(other)
    return math.fsum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))


def ks(one: Sequence[int], other: Sequence[int]) -> float:
    """The largest difference of two distribution functions, where bins end."""
    first, second = sum(one) or 1, sum(other) or 1
    sides = zip(accumulate(one), accumulate(other), strict=True)
    return max(abs(a / first - b / second) for a, b in sides)


def entropy(counts: Sequence[int]) -> float:
    """In bits."""
    total = sum(counts)
    return -math.fsum(n / total * math.log2(n / total) for n in counts if n)


def _smoothed(counts: Sequence[int]) -> list[float]:
    total = sum(counts) + _HALF * len(counts)
    return [(n + _HALF) / total for n in counts]


def _chance_psi(one: Sample, other: Sample) -> float:
    """What chance alone passes once in a thousand times; bins empty in both do not count."""
    from scipy.special import chdtri

    used = sum(a + b > 0 for a, b in zip(one.counts, other.counts, strict=True))
    if used < 2:  # one bin is always equal to itself
        return 0.0
    return float(chdtri(used - 1, ALPHA)) * (1 / one.independent + 1 / other.independent)


def _chance_ks(one: Sample, other: Sample) -> float:
    """The large-sample critical value of the two-sample test."""
    spread = math.sqrt(1 / one.independent + 1 / other.independent)
    return math.sqrt(-math.log(ALPHA / 2) / 2) * spread
