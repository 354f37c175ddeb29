# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What outlives a round besides the weights: a moving average, and the levels of the members."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from small import write_federation

from fedcode.budgets import calibrated
from fedcode.errors import ConfigError, Interrupted, RunError
from fedcode.federation import load
from fedcode.rounds.checkpoints import load_state, save_state
from fedcode.rounds.coordinator import State
from fedcode.simulation import jobs
from fedcode.simulation.arms import Arm, Noise
from fedcode.simulation.jobs import Channel, Job, Progress, run
from fedcode.simulation.run import check_tasks

ROUNDS = 4


@pytest.fixture(scope="module")
def toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small federation with all that has a memory."""
    path = write_federation(tmp_path_factory.mktemp("going-on"), rounds=ROUNDS)
    text = path.read_text(encoding="utf-8")
    for section, keys in (
        ("training", 'clipping = "adaptive"\nclipping_norm = 0.01\noptimizer = "adam-bc"'),
        ("server", "average = 0.7"),
        ("training", "learning_rate = 0.01\nsteps_per_round = 2"),
    ):
        text = text.replace(f"[tasks.{section}]", f"[tasks.{section}]\n{keys}")
    path.write_text(text, encoding="utf-8")
    return path


class StopAfter:
    """Asks to stop once so many rounds are done."""

    def __init__(self, rounds: int) -> None:
        self.rounds, self.asked = rounds, False

    def put(self, progress: Progress) -> None:
        self.asked = self.asked or progress.done >= self.rounds

    def is_set(self) -> bool:
        return self.asked


def job_of(toml: Path, folder: Path) -> Job:
    folder.mkdir()
    federation = load(toml)
    plain = federation.model_dump(mode="json")
    calibration = calibrated(federation)
    noise = Noise(calibration, calibration.noise_multipliers[0])
    warm = run(Job(plain, "completion", 1))["warm"]
    arm = Arm("federated", ("alpha", "beta", "delta"))
    return Job(plain, "completion", 1, arm, noise, folder, Path(warm))


def levels(rounds: list[dict[str, Any]]) -> list[list[float]]:
    return [[part["level"] for part in line["local"].values()] for line in rounds]


def test_a_run_that_is_continued_is_the_run_that_was_not_stopped(
    toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDCODE_CACHE", str(tmp_path / "cache"))
    whole, broken = job_of(toml, tmp_path / "whole"), job_of(toml, tmp_path / "broken")
    run(whole)
    stop = StopAfter(2)
    with monkeypatch.context() as patched:
        patched.setattr(jobs, "_channel", Channel(stop, stop))
        with pytest.raises(Interrupted):
            run(broken)
    state, rounds = load_state(tmp_path / "broken" / "checkpoint", broken.name)
    assert state is not None
    assert state.round == len(rounds) == 2
    run(broken)
    one, other = (load_state(j.folder / "checkpoint", j.name) for j in (whole, broken))  # type: ignore[operator]
    assert levels(one[1]) == levels(other[1])
    assert len({level for line in levels(one[1]) for level in line}) == 3 * ROUNDS
    assert one[0] is not None
    assert other[0] is not None
    np.testing.assert_array_equal(one[0].weights, other[0].weights)
    np.testing.assert_array_equal(one[0].released, other[0].released)
    assert np.abs(one[0].released - one[0].weights).max() > 1e-4

    handed_out = load_file(tmp_path / "whole" / "checkpoint" / "completion.safetensors")
    numbers = np.concatenate([np.ravel(tensor) for tensor in handed_out.values()])
    assert np.isin(one[0].released, numbers).all(), "the average is what is handed out"
    assert not np.isin(one[0].weights, numbers).all()


def test_an_average_is_kept_beside_the_weights_and_moments(tmp_path: Path) -> None:
    weights, average, moment = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    for before in (State(3, weights, {"m_t": moment}, average), State(3, weights)):
        save_state(tmp_path, "a", before, [])
        after, _ = load_state(tmp_path, "a")
        assert after is not None
        assert after.moments.keys() == before.moments.keys()
        np.testing.assert_array_equal(after.weights, weights)
        assert (after.average is None) == (before.average is None)
        np.testing.assert_array_equal(after.released, before.released)
    (tmp_path / "a.state").write_bytes(b"x")
    with pytest.raises(RunError, match="damaged"):
        load_state(tmp_path, "a")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"training": {"clipping": "normalized"}}, "counts cannot be clipped normalized"),
        ({"training": {"kind": "local-steps"}}, "counts take no local steps"),
        ({"training": {"metrics": ["loss"]}}, "counts have no loss"),
        ({"server": {"average": 0.5}}, "ngram adds up counts: they have no average"),
    ],
)
def test_counts_are_refused_what_they_do_not_have(
    toml: Path, change: dict[str, Any], what: str
) -> None:
    federation = load(toml)
    plain = federation.model_dump(mode="json")
    training = {"sampling_rate": 1.0, "kind": "gradient-sum"}
    task = {"name": "ngram", "rounds": 1, "training": training}
    check_tasks(type(federation).model_validate(plain | {"tasks": [task]}))
    other = task | change | {"training": training | change.get("training", {})}
    with pytest.raises(ConfigError, match=what):
        check_tasks(type(federation).model_validate(plain | {"tasks": [other]}))
