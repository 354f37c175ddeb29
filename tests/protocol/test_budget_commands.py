# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The officers' desk, as they type: accounts, caps, certificates, and what is left."""

import contextlib
import io
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from budget_service import connect
from officers import KEYS, NAMES, policy

import fedcode_client.cli
from fedcode.agreement import SignedAgreement
from fedcode.errors import ConfigError, PolicyRefusal
from fedcode.federation import AggregationSettings, TrainingSettings, parse
from fedcode.identity import Roster
from fedcode.privacy.ledger import BudgetLedger
from fedcode.signing import SigningKey
from fedcode_client import caps
from fedcode_client.budget import RemoteLedger, Role
from fedcode_client.budget.service import LEDGER, Service
from fedcode_client.home import Home, Membership
from fedcode_client.home import make as make_home
from fedcode_client.paying import paying
from tests.campaigns.member import AGREEMENT

ASSET, TOGETHER = "folder:" + "ab" * 16, "package:together"
FEDERATION = """
name = "small"
[privacy]
epsilon = 4
delta = 1e-5
[[tasks]]
name = "completion"
rounds = 20
[[organizations]]
name = "acme"
source = "path:acme"
[[organizations]]
name = "globex"
source = "path:globex"
[[organizations]]
name = "hooli"
source = "path:hooli"
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """An organization's folder, three officers' keys and their policy; a service runs."""
    root = tmp_path_factory.mktemp("desk")
    make_home(root / "home")
    for name, key in zip(NAMES, KEYS, strict=True):
        key.save(root / f"{name}.key")
    signed = policy(*KEYS[:2], organization="acme")
    (root / "policy.toml").write_text(caps.as_toml(signed.policy))
    signed.save_signatures(root / "policy.toml")
    (root / "federation.toml").write_text(FEDERATION)
    with Service(root / "home" / "ledger"):
        yield root


@pytest.fixture(scope="module")
def typed(desk):
    """Types a command in the folder; stdout, stderr and exit code."""

    def run(line, code=0):
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(desk),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", ["fedcode-client", *line.split()])
            patch.setenv("FEDCODE_CLIENT_HOME", "home")
            patch.setenv("COLUMNS", "200")
            with pytest.raises(SystemExit) as ended:
                fedcode_client.cli.main()
        assert (ended.value.code or 0) == code, err.getvalue()
        return out.getvalue() if code == 0 else err.getvalue()

    return run


@pytest.fixture(scope="module")
def account(typed):
    """What `budget create` has printed of the first account that it opens."""
    line = f"budget create {ASSET} {TOGETHER} {ASSET} --policy policy.toml --unit function --json"
    first, second = typed(line).splitlines()
    assert json.loads(second)["asset"] == TOGETHER
    return first


def test_an_account_is_opened_under_the_policy(account, typed) -> None:
    made = json.loads(account)
    assert (made["asset"], made["unit"], made["epsilon"], made["delta"]) == (
        ASSET,
        "function",
        8.0,
        1e-5,
    )
    assert made["new"]
    again = typed(f"budget create {ASSET} --policy policy.toml --unit function")
    assert again.startswith(f"{ASSET}: ε ≤ 8, δ = 1e−5 for a function, at Rényi order ")
    assert again.endswith(": open already\n")
    other = typed(f"budget create {ASSET} --policy policy.toml --unit file", 2)
    assert "has an account with another budget" in other
    assert "hint: " in other


def test_a_policy_that_lacks_signatures_opens_nothing(account, typed, desk) -> None:
    (desk / "unsigned.toml").write_text(
        (desk / "policy.toml").read_text().replace("1e-05", "1e-06")
    )
    said = typed("budget create package:other --policy unsigned.toml --unit function", 2)
    assert "version 1 of the policy is in force" in said or "signatures" in said
    assert "is no source and no asset" in typed(
        "budget create whatever --policy policy.toml --unit function", 2
    )


def test_the_order_follows_the_federation_that_is_named(account, typed) -> None:
    from fedcode.budgets import calibrated

    line = "budget create package:planned --policy policy.toml --unit function"
    made = json.loads(typed(f"{line} --federation federation.toml --json"))
    assert made["order"] == calibrated(parse(FEDERATION)).filter.order
    given = json.loads(
        typed("budget create package:given --policy policy.toml --unit function --order 6 --json")
    )
    assert given["order"] == 6.0


def test_a_new_account_takes_the_order_of_those_that_it_may_pay_with(account, typed) -> None:
    line = "budget create package:follows --policy policy.toml --unit function --json"
    assert json.loads(typed(line))["order"] == json.loads(account)["order"]


def test_all_accounts_are_opened_or_none(account, typed) -> None:
    said = typed(f"budget create package:fresh {ASSET} --policy policy.toml --unit file", 2)
    assert f"{ASSET} has an account with another budget" in said
    assert "package:fresh" not in typed("budget show --json")


def test_a_repository_is_a_source_and_not_its_own_asset(account, typed, tmp_path) -> None:
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True)
    line = f"budget create git:{tmp_path} --policy policy.toml --unit function --json"
    assert re.fullmatch(r"git:[0-9a-f]{40}", json.loads(typed(line))["asset"])


def test_a_federation_is_priced_before_anybody_says_yes(account, typed, desk) -> None:
    with BudgetLedger.open(desk / "home" / "ledger" / LEDGER, read_only=True) as ledger:
        head = ledger.head
    found = {
        one["asset"]: one for one in json.loads(typed("budget preview federation.toml --json"))
    }
    one = found[ASSET]
    assert one["rounds"] == {"completion": 20}
    assert 3.0 < one["epsilon"] <= 4.0
    assert one["after"] == pytest.approx(one["left"] - one["share"])
    assert 0 < one["share"] < 1
    assert "of the budget" in typed("budget preview federation.toml")
    with BudgetLedger.open(desk / "home" / "ledger" / LEDGER, read_only=True) as ledger:
        assert ledger.head == head


def test_an_account_pays_for_a_federation_of_another_epsilon_and_delta(typed, desk) -> None:
    """ε = 8 and δ = 1e-5 of an account say nothing against ε = 2 and δ = 1e-6 of a federation."""
    text = FEDERATION.replace("epsilon = 4", "epsilon = 2").replace("1e-5", "1e-6")
    (desk / "other.toml").write_text(text)
    found = {one["asset"]: one for one in json.loads(typed("budget preview other.toml --json"))}
    assert found[ASSET]["rounds"] == {"completion": 20}
    assert 1.5 < found[ASSET]["epsilon"] <= 2.0


@pytest.fixture
def ours(desk):
    """Our folder, whose settings name the code that the account is for."""
    code, toml = desk / "code", desk / "home" / "client.toml"
    code.mkdir(exist_ok=True)
    (code / ".fedcode-asset").write_text(ASSET.removeprefix("folder:") + "\n")
    before = toml.read_text()
    toml.write_text(f'source = "path:{code}"\n')
    yield Home(desk / "home")
    toml.write_text(before)


def test_what_our_account_pays_is_known_before_anybody_says_yes(account, ours) -> None:
    found = paying(ours, parse(FEDERATION), "acme")
    found.check()
    assert found.costs[0].rounds == {"completion": 20}
    (line,) = found.lines()
    assert line.startswith(f"our account {ASSET}: ")
    long = parse(FEDERATION.replace('name = "acme"', 'name = "acme"\nepsilon = 1.0'))
    assert "then we would stop" in paying(ours, long, "acme").lines()[1]


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ('name = "completion"', 'name = "ngram"', PolicyRefusal, "the task ngram is not one of"),
        ("[privacy]", '[privacy]\nunit = "file"', ConfigError, "federation protects a file"),
    ],
)
def test_what_can_never_be_paid_is_refused_before_it_is_signed(
    account, ours, old, new, error, said
) -> None:
    with pytest.raises(error, match=said):
        paying(ours, parse(FEDERATION.replace(old, new)), "acme")


def test_without_an_account_nobody_knows_what_it_pays(account, ours, desk) -> None:
    (desk / "home" / "client.toml").write_text('source = "package:rich"\n')
    found = paying(ours, parse(FEDERATION), "acme")
    found.check()
    assert found.lines() == ["nobody knows what our account pays: package:rich has no account yet"]


def test_another_organizations_policy_opens_nothing(account, typed, desk, monkeypatch) -> None:
    monkeypatch.setattr(Home, "member_of", lambda _home: SimpleNamespace(member="globex"))
    said = typed("budget create package:theirs --policy policy.toml --unit function", 2)
    assert said.startswith("fedcode-client: the policy is acme's, and we are globex\nhint: ")


def test_two_officers_raise_a_cap_and_one_lowers_it(account, typed, desk) -> None:
    first = typed("budget raise 9 --policy policy.toml --key ada.key")
    assert first == (
        "policy-2.toml: signed by ada; one of grace, mary must sign it, too, "
        "with the same command\n"
    )
    assert json.loads(typed("budget show --json"))["accounts"][0]["epsilon_cap"] == 8.0
    again = json.loads(typed("budget raise 9 --policy policy.toml --key ada.key --json"))
    assert (again["missing"], again["signed_by"]) == (1, ["ada"])  # the same officer is one
    assert "is another version 2" in typed(
        "budget raise 10 --policy policy.toml --key grace.key", 2
    )
    done = typed("budget raise 9 --policy policy.toml --key mary.key")
    assert done == "policy-2.toml: signed by ada, mary; version 2 is in force, ε ≤ 9\n"
    lowered = typed("budget lower 8 --policy policy-2.toml --key grace.key")
    assert lowered == "policy-3.toml: signed by grace; version 3 is in force, ε ≤ 8\n"
    assert json.loads(typed("budget show --json"))["accounts"][0]["epsilon_cap"] == 8.0


def test_raise_raises_and_lower_lowers(account, typed, desk) -> None:
    said = typed("budget raise 7 --policy policy.toml --key ada.key", 2)
    assert said == (
        "fedcode-client: the cap is ε = 8, and 7 does not raise it\n"
        "hint: fedcode-client budget lower\n"
    )
    assert "does not lower it" in typed("budget lower 8 --policy policy.toml --key ada.key", 2)
    SigningKey.generate().save(desk / "stranger.key")
    said = typed("budget lower 7 --policy policy.toml --key stranger.key", 2)
    assert "this key is no officer's" in said


def test_a_lower_cap_brings_the_others_down() -> None:
    force = policy(caps={"epsilon": 8.0, "per_30_days": 6.0, "purposes": {"test": 5.0}}).policy
    lower = caps.with_cap(force, 4.0)
    assert (lower.caps.per_30_days, lower.caps.purposes) == (4.0, {"test": 4.0})
    assert lower.permits_no_more_than(force)
    assert lower.version == force.version + 1


def test_a_cap_for_30_days_can_be_raised_with_the_other() -> None:
    force = policy(caps={"epsilon": 8.0, "per_30_days": 3.0}).policy
    assert caps.with_cap(force, 9.0).caps.per_30_days == 3.0
    higher = caps.with_cap(force, 9.0, 9.0)
    assert (higher.caps.epsilon, higher.caps.per_30_days) == (9.0, 9.0)
    assert not caps.with_cap(force, 8.0, 4.0).permits_no_more_than(force), "it needs two officers"
    assert caps.with_cap(policy(caps={"epsilon": 8.0}).policy, 8.0, 4.0).caps.per_30_days == 4.0


def test_a_policy_that_is_written_is_the_one_that_is_read(tmp_path) -> None:
    from fedcode.privacy.organization import SignedPolicy

    made = policy(
        organization="acme",
        delta=3e-7,
        caps={"epsilon": 8.0, "per_30_days": 0.1, "purposes": {"test": 2.5}},
        permitted={"purposes": ["test", 'he said "no" \\ ü']},
    ).policy
    (tmp_path / "policy.toml").write_text(caps.as_toml(made), encoding="utf-8")
    assert SignedPolicy.load(tmp_path / "policy.toml").policy == made


# What was spent, and the certificate of a run.


@pytest.fixture(scope="module")
def run(account, desk):
    """A run of which three rounds were charged: two left the house, one was lost."""
    members = {name: SigningKey.generate() for name in ("acme", "globex", "hooli")}
    roster = Roster(
        "toy", 1, "", SigningKey.generate().public, tuple((n, k.public) for n, k in members.items())
    )
    import dataclasses

    agreed = dataclasses.replace(
        AGREEMENT,
        roster=roster,
        rounds=10,
        noise_multiplier=2.0,
        training=TrainingSettings(sampling_rate=0.05, kind="gradient-sum"),
        aggregation=AggregationSettings(),
        purpose="research",
    )
    home = Home(desk / "home")
    folder = home.state / "agreements" / "first"
    folder.mkdir(parents=True)
    signed = SignedAgreement.unsigned(agreed)
    for name, key in members.items():
        signed = signed.sign(name, key)
    (folder / "agreement-toy.json").write_text(json.dumps(signed.plain()))
    home.keep(
        Membership(
            member="acme",
            federation="toy",
            host="localhost",
            enrolment=1,
            fleet=2,
            coordinator=roster.coordinator,
        ),
        b"",
        b"",
    )
    with RemoteLedger(connect(home.ledger, Role.TRAINER)) as ledger:
        cost = ledger.account(ASSET).budget.cost(2.0, 0.05, agreed.training.steps_per_round)
        asked = {"asset": ASSET, "agreement": agreed.digest(), "purpose": "research", "task": "toy"}
        for number in (1, 2, 3):
            receipt = ledger.charge(cost, round=number, cohort=3, **asked)
            if number < 3:
                ledger.arm(receipt, "p", b"term")
        unused = ledger.charge(cost, round=4, cohort=3, **asked)
        ledger.refund(unused)
    return agreed


def test_what_was_spent_is_shown_by_asset_purpose_month_and_agreement(run, typed) -> None:
    found = json.loads(typed("budget show --json"))
    account = next(one for one in found["accounts"] if one["asset"] == ASSET)
    assert account["charges"] == 3
    assert account["purposes"]["research"]["charges"] == 3
    assert [part["charges"] for part in account["months"].values()] == [3]
    assert account["agreements"][run.digest()]["rounds"] == 3
    (left,) = found["agreements"]
    assert (left["planned"], left["charged"]) == (10, 3)
    assert left["left"] == 7
    shown = typed("budget show")
    for word in ("research", run.digest()[:12], "left", ASSET):
        assert word in shown


def test_a_certificate_says_what_the_ledger_has_charged(run, typed, desk) -> None:
    from fedcode.privacy.accountant import epsilon, epsilon_of_sums

    steps = run.training.steps_per_round
    said = typed("certificate first --key ada.key --out cert.json")
    made = json.loads((desk / "cert.json").read_text())
    values, task = made["certificate"], made["certificate"]["agreements"][0]
    assert (values["organization"], values["run"], values["unit"]) == ("acme", "first", "function")
    assert values["epsilon_local"] == epsilon({(2.0, 0.05): 3 * steps}, 1e-5)
    assert (task["charges"], task["rounds_charged"]) == (3, 3)
    # no signatures show who survived: as few as there must be, of what can have left
    fewest = {(2.0, 0.05, run.fewest_survivors): 2 * steps}
    assert task["epsilon_release"] == [
        {"colluding": c, "epsilon": epsilon_of_sums(fewest, 1e-5, c)} for c in (0, 1)
    ]
    assert (task["sums_proved"], task["sums_not_proved"]) == (0, 2)
    assert made["officer"] == "ada"
    assert "of 2 sums no signatures show who survived" in said
    for words in ("add or remove one unit", "ledger head", "assumed: An external", "PLD"):
        assert words in said
    assert f"{task['rounds_charged']} of {run.rounds} rounds" in said
    assert f"with {', '.join(run.roster.names)}" in said
    assert "of 8 at δ = 1e−5 spent on everything so far" in said  # δ of the account, not the run
    assert said.endswith("written to cert.json\n")


def test_a_certificate_is_checked_and_a_changed_one_is_refused(run, typed, desk) -> None:
    typed("certificate first --key ada.key --out good.json")
    assert "--policy says whether" in typed("certificate good.json --verify")
    checked = typed("certificate good.json --verify --policy policy.toml")
    assert "signed by ada" in checked
    assert checked.endswith("the signature is good: ada is an officer of the policy\n")
    made = json.loads((desk / "good.json").read_text())
    made["certificate"]["epsilon_local"] = 0.1
    (desk / "bad.json").write_text(json.dumps(made))
    assert "is not what its officer has signed" in typed("certificate bad.json --verify", 2)
    (desk / "none.json").write_text("[]")
    assert "cannot be read as a certificate" in typed("certificate none.json --verify", 2)


def test_a_certificate_needs_an_officer_and_a_run(run, typed, desk) -> None:
    SigningKey.generate().save(desk / "nobody.key")
    said = typed("certificate first --key nobody.key --out no.json", 2)
    assert "no officer's of the policy in force" in said
    assert not (desk / "no.json").exists()
    assert "name the key" in typed("certificate first", 2)
    assert "holds no agreement" in typed("certificate other --key ada.key", 2)


def test_a_certificate_counts_once_what_several_accounts_paid_for(run, typed, desk) -> None:
    from fedcode.privacy.accountant import epsilon

    before = json.loads(typed("budget show --json"))["accounts"]
    spent = {one["asset"]: one["epsilon_spent"] for one in before}
    what = {"agreement": run.digest(), "purpose": "research", "task": "toy", "cohort": 3}
    with RemoteLedger(connect(Home(desk / "home").ledger, Role.TRAINER)) as ledger:
        cost = ledger.account(ASSET).budget.cost(2.0, 0.05, run.training.steps_per_round)
        receipt = ledger.charge(cost, asset=ASSET, others=[TOGETHER], round=5, **what)
        ledger.arm(receipt, "p", b"term")
        ledger.sent(receipt)
    said = typed("certificate first --key ada.key --out several.json")
    values = json.loads((desk / "several.json").read_text())["certificate"]
    steps = run.training.steps_per_round
    assert values["epsilon_local"] == epsilon({(2.0, 0.05): 4 * steps}, 1e-5)
    assert values["agreements"][0]["charges"] == 4
    accounts = {one["asset"]: one["epsilon_spent"] for one in values["accounts"]}
    assert accounts.keys() == {ASSET, TOGETHER}
    assert accounts[ASSET] > spent[ASSET]
    assert accounts[TOGETHER] == epsilon({(2.0, 0.05): steps}, 1e-5) > spent[TOGETHER] == 0
    assert f"{TOGETHER}: ε = " in said


def test_the_homes_ledger_is_the_one_that_is_meant(run, typed, desk) -> None:
    named = typed(f"ledger verify home/ledger/{LEDGER}")
    assert typed("ledger verify") == named
    found = json.loads(typed("ledger verify --json"))
    assert f"{found['rows']} rows" in named
    assert found["head"] in named
    assert len(typed("ledger export").splitlines()) == found["rows"]


# Rows that are lost.


def test_two_officers_acknowledge_and_every_cap_is_spent(run, typed, desk, ours) -> None:
    line = "budget acknowledge lost.json"
    assert "say which head is lost" in typed(f"{line} --key ada.key", 2)
    assert "64 hexadecimal digits" in typed(f"{line} --key ada.key --lost a --head b", 2)
    ledger = json.loads(typed("ledger export").splitlines()[0])["hash"]
    swapped = f"--lost {'2' * 64} --head {ledger} --key ada.key"
    assert "are --lost and --head exchanged?" in typed(f"{line} {swapped}", 2)
    lost = f"--lost {'1' * 64} --head {'2' * 64}"
    assert "--highest says 5" in typed(f"{line} --key ada.key --highest 5 {lost}", 2)
    assert "is no officer's" in typed(f"{line} --key stranger.key {lost}", 2)
    assert not (desk / "lost.json").exists()
    assert "must sign it" in typed(f"{line} --key ada.key --highest 9 {lost}")
    assert json.loads(typed("budget show --json"))["accounts"][0]["left"] > 0
    done = json.loads(typed(f"{line} --key grace.key --json"))
    assert done == {"file": "lost.json", "signed_by": ["ada", "grace"], "booked": True}
    assert all(one["left_nano"] <= 0 for one in json.loads(typed("budget show --json"))["accounts"])
    assert "every one in order" in typed("ledger verify")
    with pytest.raises(ConfigError, match="pays for no round of completion"):
        paying(ours, parse(FEDERATION), "acme").check()
