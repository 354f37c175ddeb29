# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members as agents make them: of start files, settings and their own code, with secret noise."""

import dataclasses
from functools import partial
from pathlib import Path

import pytest
from agents import NAMES, ledgers, made_run
from small import write_code

from fedcode.agreement import SignedAgreement
from fedcode.budgets import calibrated, permitted_rounds
from fedcode.corpus import Screen, digest_of, save_public
from fedcode.corpus.labels import InjectedBugs
from fedcode.errors import BudgetExhausted, ConfigError, CorpusError, PrivacyError, RunError
from fedcode.federation import check
from fedcode.filters import FilterSettings
from fedcode.privacy.accountant import epsilon as spent
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.noise import SecureGenerator
from fedcode.record import Corpus, PrivacyUnit
from fedcode.rounds.coordinator import Coordinator, State
from fedcode.simulation import jobs
from fedcode.simulation.arms import Arm, Bench, Noise
from fedcode.simulation.dataset import load as load_data
from fedcode.simulation.jobs import Job, learner_of
from fedcode.start import PUBLIC, Start, expected_agreement
from fedcode.training import learner
from fedcode.transport.flower import member_app
from fedcode.transport.in_memory import InMemoryGrid
from fedcode_client.ours import Ours, StartFiles
from fedcode_client.training import member, round_seconds

ROUNDS = 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Start files, everybody's code, and what all have signed."""
    with pytest.MonkeyPatch.context() as patched:
        base = tmp_path_factory.mktemp("run")
        patched.setenv("FEDCODE_CACHE", str(base / "cache"))
        yield made_run(base, ROUNDS)


def made(run, who, ledger, **changes):
    """A member, with something that is not as it should be."""
    given = {
        "federation": run.federation,
        "signed": run.signed,
        "files": run.files,
        "ours": run.ours[who],
        "ledger": ledger,
        "key": run.keys[who],
        "name": who,
    }
    return member(**given | changes)


def as_simulated(run):
    """The same federation's lines and its ledger, as a simulation has them."""
    plain = run.whole.model_dump(mode="json")
    calibration = calibrated(run.whole)
    noise = Noise(calibration, calibration.noise_multipliers[0])
    job = Job(plain, "completion", run.whole.seed, Arm("federated", NAMES), noise)
    warm = dataclasses.replace(job, arm=None)
    job = dataclasses.replace(job, warm=Path(jobs.run(warm)["warm"]))
    all_ = jobs.prepared(job)
    bench = Bench(
        federation=run.whole,
        settings=all_.settings,
        data=all_.data,
        learner=learner_of(job, all_),
        fingerprint=all_.task.fingerprint(),
        start=run.files.starts["completion"].digest,
        glimpse=[],
        noise=noise,
        seed=1,
    )
    lines = []
    with BudgetLedger.open(":memory:") as ledger:
        bench.run(job.arm, ledger, after=lambda state, line: not lines.append(line))
        spent = {name: ledger.spent(f"path:{run.base / name}") for name in NAMES}
    return lines, spent, bench, job.arm


def test_they_train_together_as_a_simulation_does_but_for_the_noise(run) -> None:
    order = calibrated(run.federation).filter.order
    own = ledgers(run, order)
    members = {name: made(run, name, own[name]) for name in NAMES}
    grid = InMemoryGrid({name: member_app(one.answer) for name, one in members.items()})
    agreed = run.signed.agreement
    coordinator = Coordinator(agreed, grid, grid.nodes, run.keys["coordinator"])
    state = State(0, run.files.starts["completion"].weights)
    simulated, spent, bench, arm = as_simulated(run)
    for line in simulated:
        state, outcome = coordinator.run(state)
        for one in members.values():
            assert one.error is None
            assert one.report.examples > 0
        assert outcome.survivors == line.survivors == NAMES
        assert outcome.refusals == line.refusals == {}
        assert outcome.changed
        (story,) = outcome.sums
        assert len(story.confirmations) == len(NAMES)
        assert story.aborted == ""
    assert state.round == len(simulated) == ROUNDS
    for name in NAMES:
        asset = run.ours[name].assets[0]
        assert own[name].spent(asset) == spent[name]
        assert own[name].charges(asset) == ROUNDS
        assert own[name].account(asset).seeded is False
    theirs, ours = bench.agreement(arm).plain(), agreed.plain()
    assert {k for k in ours if ours[k] != theirs[k]} == {"roster"}
    for ledger in own.values():
        ledger.close()


def test_a_round_after_the_last_is_refused_and_costs_nothing(run) -> None:
    own = ledgers(run, calibrated(run.federation).filter.order)
    members = {name: made(run, name, own[name]) for name in NAMES}
    grid = InMemoryGrid({name: member_app(one.answer) for name, one in members.items()})
    coordinator = Coordinator(run.signed.agreement, grid, grid.nodes, run.keys["coordinator"])
    state = State(ROUNDS, run.files.starts["completion"].weights)
    _, outcome = coordinator.run(state)
    assert outcome.refusals == dict.fromkeys(NAMES, "plan")
    assert sum(own[name].charges(run.ours[name].assets[0]) for name in NAMES) == 0


def test_the_noise_is_secret(run, monkeypatch) -> None:
    """No generator but the system's own is made."""
    made_of = []
    start = SecureGenerator.__init__
    monkeypatch.setattr(
        SecureGenerator,
        "__init__",
        lambda self, *a, **k: (made_of.append((type(self), a, k)), start(self, *a, **k))[1],
    )
    own = ledgers(run, 4.0)
    members = {name: made(run, name, own[name]) for name in NAMES}
    grid = InMemoryGrid({name: member_app(one.answer) for name, one in members.items()})
    coordinator = Coordinator(run.signed.agreement, grid, grid.nodes, run.keys["coordinator"])
    coordinator.run(State(0, run.files.starts["completion"].weights))
    assert len(made_of) == len(NAMES)
    assert set(map(repr, made_of)) == {repr((SecureGenerator, (), {}))}


MODEL = "model = { vocabulary = 300, embedding = 8, hidden = 8, record_pieces = 32 }"
OTHER_TASKS = {
    "counts": {
        "completion": "ngram",
        MODEL: "model = {}",
        "[tasks.training]": "[tasks.training]\nkind = 'gradient-sum'",
        "learning_rate = 0.01": "learning_rate = 1.0",
        "fedadam": "fedavg",
    },
    "injected bugs": {
        "completion": "defects",
        MODEL: "model = { vocabulary = 300, embedding = 8, hidden = 8 }",
    },
    "files": {
        "[privacy]": "[privacy]\nunit = 'file'",
        "sampling_rate = 0.3": "sampling_rate = 0.5",
    },
}


@pytest.mark.parametrize("edits", OTHER_TASKS)
def test_so_do_members_of_other_tasks_and_units(tmp_path, monkeypatch, edits) -> None:
    monkeypatch.setenv("FEDCODE_CACHE", str(tmp_path / "cache"))
    run = made_run(tmp_path, 1, OTHER_TASKS[edits])
    task, unit = run.federation.tasks[0].name, run.federation.privacy.unit
    own = ledgers(run, calibrated(run.federation).filter.order, unit=unit)
    members = {name: made(run, name, own[name]) for name in NAMES}
    grid = InMemoryGrid({name: member_app(one.answer) for name, one in members.items()})
    coordinator = Coordinator(run.signed.agreement, grid, grid.nodes, run.keys["coordinator"])
    state, outcome = coordinator.run(State(0, run.files.starts[task].weights))
    assert [one.error for one in members.values()] == [None] * len(NAMES)
    assert outcome.survivors == NAMES
    assert (state.weights != run.files.starts[task].weights).any()
    assert {own[name].charges(run.ours[name].assets[0]) for name in NAMES} == {1}
    assert round_seconds(run.federation, task, run.files, run.ours["beta"], 1.0) > 0


# What is refused before anything is paid for.


def signed_by_all(run, agreement, but=()):
    found = SignedAgreement.unsigned(agreement)
    for name in NAMES:
        if name not in but:
            found = found.sign(name, run.keys[name])
    return found


def test_what_others_have_not_signed_is_refused(run) -> None:
    own = ledgers(run, 4.0)
    with pytest.raises(PrivacyError, match="beta did not sign"):
        made(
            run,
            "alpha",
            own["alpha"],
            signed=signed_by_all(run, run.signed.agreement, but=("beta",)),
        )


OTHER = {
    "start": "00" * 32,
    "task_fingerprint": "00" * 32,
    "weights": 803,
    "rounds": ROUNDS + 1,
    "purpose": "other",
    "epsilon": 9.0,
    "delta": 1e-4,
    "noise_multiplier": 0.5,
    "unit": "file",
}


@pytest.mark.parametrize("field", OTHER)
def test_numbers_that_are_not_what_we_find_are_refused(run, field) -> None:
    """Though everybody has signed them."""
    own = ledgers(run, 4.0)
    other = dataclasses.replace(run.signed.agreement, **{field: OTHER[field]})
    with pytest.raises(PrivacyError, match="is not what its settings and start files give"):
        made(run, "alpha", own["alpha"], signed=signed_by_all(run, other))


def changed(run, **tables):
    return check(run.federation.model_dump(mode="json") | tables)


def test_settings_that_are_not_what_was_signed_are_refused(run) -> None:
    own = ledgers(run, 4.0)
    for federation in (
        changed(run, privacy={"delta": 1e-3, "epsilon": 9.0}),
        changed(run, purpose="other"),
        changed(run, aggregation={"mode": "open"}),
    ):
        with pytest.raises(PrivacyError, match="is not what its settings"):
            made(run, "alpha", own["alpha"], federation=federation)


def test_a_start_of_other_weights_is_refused(run, tmp_path) -> None:
    start = run.files.starts["completion"]
    other = Start.make(
        start.task,
        start.settings,
        fingerprint=start.fingerprint,
        public=start.public,
        weights=start.weights + 1,
        frozen=start.frozen,
    )
    files = dataclasses.replace(run.files, starts={"completion": other})
    with pytest.raises(PrivacyError, match="is not what its settings and start files give"):
        made(run, "alpha", ledgers(run, 4.0)["alpha"], files=files)


def test_a_vocabulary_of_another_public_corpus_is_refused(run) -> None:
    """Also where all have signed it: what the start says it was made of is made once more."""
    other = Corpus("public", run.files.public.files[1:])
    start = run.files.starts["completion"]
    lying = Start.make(
        start.task,
        start.settings,
        fingerprint=start.fingerprint,
        public=digest_of(other),
        weights=start.weights,
        frozen=start.frozen,
    )
    files = StartFiles(other, lying.public, {"completion": lying})
    agreement = dataclasses.replace(run.signed.agreement, start=lying.digest)
    with pytest.raises(RunError, match="is not what its own public corpus and settings give"):
        made(
            run,
            "alpha",
            ledgers(run, 4.0)["alpha"],
            files=files,
            signed=signed_by_all(run, agreement),
        )


def test_another_name_or_key_is_refused(run) -> None:
    own = ledgers(run, 4.0)
    with pytest.raises(PrivacyError, match="key is"):
        made(run, "alpha", own["alpha"], key=run.keys["beta"])
    with pytest.raises(ConfigError, match="gamma is no member"):
        made(run, "alpha", own["alpha"], name="gamma")


def test_code_without_an_account_is_refused(run) -> None:
    with (
        BudgetLedger.open(":memory:") as ledger,
        pytest.raises(ConfigError, match="has no account"),
    ):
        made(run, "alpha", ledger)
    own = ledgers(run, 4.0, unit=PrivacyUnit.FILE)
    with pytest.raises(PrivacyError, match="unit is"):
        made(run, "alpha", own["alpha"])


@pytest.fixture
def wider(run, tmp_path):
    """Alpha's code and another folder of it, registered."""
    write_code(tmp_path / "more", seed=77)
    (tmp_path / "more" / ".fedcode-asset").write_text(f"{77:032x}\n")
    return [f"path:{tmp_path / 'more'}", f"path:{run.base / 'alpha'}"]


def test_a_member_with_two_sources_trains_on_both_and_both_accounts_pay(run, wider) -> None:
    own = ledgers(run, calibrated(run.federation).filter.order)
    ledger, ours = own["alpha"], Ours.read("alpha", wider)
    with pytest.raises(ConfigError, match=rf"folder:{77:032x}, of .* has no account"):
        made(run, "alpha", ledger, ours=ours)
    first = ledger.account(ours.assets[0])
    ledger.open_account(
        ours.assets[1], policy=first.policy, unit=first.unit, order=first.budget.order
    )
    members = {name: made(run, name, own[name]) for name in NAMES[1:]}
    members["alpha"] = both = made(run, "alpha", ledger, ours=ours)
    grid = InMemoryGrid({name: member_app(one.answer) for name, one in members.items()})
    agreed = run.signed.agreement
    coordinator = Coordinator(agreed, grid, grid.nodes, run.keys["coordinator"])
    _, outcome = coordinator.run(State(0, run.files.starts["completion"].weights))
    assert outcome.survivors == NAMES
    assert [ledger.charges(asset) for asset in ours.assets] == [1, 1]
    assert both.assets == ours.assets == tuple(sorted(ours.assets))
    assert both.report.examples > 0
    ledger.verify()


def test_two_sources_are_trained_on_as_a_simulation_does(run, wider) -> None:
    filters = FilterSettings(near_duplicates=False)
    others = [o for o in run.whole.organizations if o.name != "alpha"]
    alpha = run.whole.member("alpha").model_copy(update={"source": tuple(wider)})
    whole = run.whole.model_copy(update={"filters": filters, "organizations": (alpha, *others)})
    data, _ = load_data(whole, 1)
    ours = Ours.read("alpha", wider, screen=Screen(filters))
    found = ours.trained_on(run.federation, run.files.public)
    assert found.files == data.train["alpha"].files
    assert {file.path.split("/")[0] for file in found.files} == {"alpha", "more"}


def test_too_little_code_is_refused(run, tmp_path) -> None:
    (tmp_path / "few").mkdir()
    for number in range(3):
        (tmp_path / "few" / f"{number}.py").write_text(f"def f{number}():\n    return 'mine'\n")
    ours = Ours.read("alpha", [f"path:{tmp_path / 'few'}"])
    with pytest.raises(ConfigError, match=r"alpha: .* too few for sampling_rate 0\.3"):
        made(run, "alpha", ledgers(run, 4.0)["alpha"], ours=ours)


# What is trained on.


def test_a_member_trains_on_what_a_simulation_gives_it(run) -> None:
    # only a simulation sees what is much alike in several organizations
    filters = FilterSettings(near_duplicates=False)
    data, _ = load_data(run.whole.model_copy(update={"filters": filters}), 1)
    for name in NAMES:
        ours = dataclasses.replace(run.ours[name], screen=Screen(filters))
        found = ours.trained_on(run.federation, run.files.public)
        assert found.files == data.train[name].files
        bugs = ours.trained_on(run.federation, run.files.public, "defects")
        assert bugs.files == InjectedBugs(run.whole.seed).label(data.train[name]).files


def test_what_is_public_is_not_trained_on(run, tmp_path) -> None:
    text = (run.base / "public" / "module_0.py").read_text().removeprefix("import os\n")
    folder = tmp_path / "ours"
    folder.mkdir()
    (folder / "copied.py").write_text(text)
    (folder / "mixed.py").write_text(text + "\n\ndef mine(x):\n    return x * 'mine'\n")
    ours = Ours.read("alpha", [f"path:{folder}"])
    every = run.federation.model_copy(update={"heldout_every": 10**9})
    found = ours.trained_on(every, run.files.public)
    assert [r.name for r in found.records("function")] == ["mine"]
    (folder / "mixed.py").unlink()
    ours = Ours.read("alpha", [f"path:{folder}"])
    with pytest.raises(CorpusError, match="nothing to train on that is not public"):
        ours.trained_on(every, run.files.public)


def test_start_files_that_name_several_corpora_are_refused(run, tmp_path) -> None:
    start = run.files.starts["completion"]
    make = partial(
        Start.make,
        settings=start.settings,
        fingerprint=start.fingerprint,
        weights=start.weights,
        frozen={},
    )
    make("completion", public=start.public).save(tmp_path)
    make("defects", public="00" * 32).save(tmp_path)
    save_public(tmp_path / PUBLIC, run.files.public)
    assert StartFiles.load(tmp_path, ["completion"]).public.files == run.files.public.files
    with pytest.raises(RunError, match="name 2 public corpora"):
        StartFiles.load(tmp_path, ["completion", "defects"])


# What it may cost.


@pytest.mark.parametrize("epsilon", [8.0, 20.0, 3.0])
def test_an_account_pays_at_its_own_order_for_the_rounds_that_are_permitted(run, epsilon) -> None:
    """However much it was opened for: the federation's cap is kept by the number of rounds."""
    organization = run.federation.member("alpha")
    permitted = permitted_rounds(run.federation, organization, calibrated(run.federation))
    ledger = ledgers(run, 6.0, epsilon=epsilon)["alpha"]
    one = made(run, "alpha", ledger)
    assert one._cost.order == 6.0
    assert one._allowance == permitted["completion"] * one._cost.nano
    assert permitted["completion"] == ROUNDS


def of_a_small_epsilon(run):
    """What a federation of ε = 1 asks, its member, and the ledger, whose account is for ε = 8."""
    small = changed(run, privacy={"delta": 1e-4, "epsilon": 1.0})
    start = run.files.starts["completion"]
    agreed = expected_agreement(small, "completion", start, run.signed.agreement.roster)
    ledger = ledgers(run, 3.0, epsilon=8.0)["alpha"]
    one = made(run, "alpha", ledger, federation=small, signed=signed_by_all(run, agreed))
    return agreed, one, ledger


def test_an_account_pays_for_federations_of_any_delta_and_a_small_epsilon(run) -> None:
    """One account lasts for years: order 3 is good for ε = 8, and ε = 1 of a federation as well."""
    _, one, ledger = of_a_small_epsilon(run)
    assert one._allowance == ROUNDS * one._cost.nano < ledger.remaining(one.asset)


def test_an_account_with_plenty_pays_for_no_more_rounds_than_were_promised(run) -> None:
    agreed, one, ledger = of_a_small_epsilon(run)
    for number in range(1, ROUNDS + 1):
        one._charge(number, 3)
    before = ledger.spent(one.asset)
    with pytest.raises(BudgetExhausted, match="the agreement may spend"):
        one._charge(ROUNDS + 1, 3)
    assert ledger.spent(one.asset) == before < ledger.remaining(one.asset)
    step = (agreed.noise_multiplier, agreed.training.sampling_rate)
    assert spent({step: ROUNDS * agreed.training.steps_per_round}, 1e-4) <= 1.0


def test_a_lower_cap_of_our_own_permits_fewer_rounds(run) -> None:
    tables = run.federation.model_dump(mode="json")
    tables["organizations"][0]["epsilon"] = 6.5
    lower = check(tables)
    calibration = calibrated(lower)
    most = permitted_rounds(lower, lower.member("alpha"), calibration)["completion"]
    assert 0 < most < permitted_rounds(lower, lower.member("beta"), calibration)["completion"]
    noise, training = calibration.noise_multipliers[0], lower.tasks[0].training
    step, each = (noise, training.sampling_rate), training.steps_per_round
    assert spent({step: most * each}, lower.privacy.delta) <= 6.5


# How long it takes.


def test_timing_a_round_computes_nothing_on_our_code(run, monkeypatch) -> None:
    trained = []
    original = learner.PrivateGradients.trainer

    def watched(self, records, policy, noise, level=None):
        trained.extend(records)
        return original(self, records, policy, noise, level)

    monkeypatch.setattr(learner.PrivateGradients, "trainer", watched)
    seconds = round_seconds(run.federation, "completion", run.files, run.ours["alpha"], 1.0)
    assert seconds > 0
    public = {r.tokens for r in run.files.public.records()}
    assert {r.tokens for r in trained} <= public
    mine = run.ours["alpha"].trained_on(run.federation, run.files.public).records()
    assert len(trained) == round(0.3 * len(mine))
    assert not {r.tokens for r in mine} & public
