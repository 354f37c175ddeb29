# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode`: federated, private training of code models, simulated on one machine.

Results go to stdout, everything else to stderr. Exit codes: 0 done; 1 `--again` found other
weights, `audit` found the training broken, or `agreement verify` a signature that is missing;
2 something to mend, with a hint.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from fedcode.errors import ConfigError, RunError
from fedcode.federation import Clip, Federation, Kind, check, load, parse
from fedcode.folders import check_empty
from fedcode.record import PrivacyUnit
from fedcode.simulation.cluster import EngineName
from fedcode.tasks import TASKS, known
from fedcode.terminal import run
from fedcode.use.cli import app as use

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train code models together on source code that never leaves its owner.",
)

app.add_typer(use, name="use")

_MOST_LOST = 0.9

_QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}


@app.command()
def simulate(
    federation: Annotated[
        Path | None,
        typer.Argument(metavar="[FEDERATION.toml]", help="The federation; built in if left out."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of each task.")] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="Cap for each organization, over all tasks.")
    ] = None,
    no_privacy: Annotated[
        bool, typer.Option("--no-privacy", help="Train without differential privacy.")
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Also: each organization alone, without privacy, centralized, baselines.",
        ),
    ] = False,
    secure_sum: Annotated[
        bool | None,
        typer.Option(
            "--secure-sum/--no-secure-sum",
            help="Mask what members send, or not; on, unless the file says otherwise.",
        ),
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option(help="What members send: local-steps or gradient-sum.")
    ] = None,
    dropout: Annotated[
        float, typer.Option(help="Chance, up to 0.9, that a member is lost in a round.")
    ] = 0.0,
    engine: Annotated[
        EngineName,
        typer.Option(help="Where members live: in memory, or flower: on Flower's runtime, in Ray."),
    ] = "memory",
    seed: Annotated[int | None, typer.Option(help="Of training and of the noise.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Repeat with so many seeds.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder for the result.")] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Go on with an interrupted run.")
    ] = None,
    again: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Repeat a run and compare the weights.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print result.json, no progress.")
    ] = False,
) -> None:
    """Simulate a federation: organizations train together, with differential privacy."""
    _refuse_both(federation, resume, again)
    os.environ.update(_QUIET)
    before: dict[str, Any] | None = None
    if resume or again:
        asked = (task, rounds, epsilon, seed, no_privacy or None, compare or None)
        more = (secure_sum, kind, dropout or None, seeds if seeds > 1 else None)
        _refuse_changes([*asked, *more, engine == "flower" or None, out if resume else None])
        from fedcode.simulation.run import MANIFEST, repeatable

        chosen, options, before = repeatable((resume or again or Path()) / MANIFEST)
    else:
        if not 0 <= dropout <= _MOST_LOST:
            raise ConfigError("--dropout is a chance from 0 to 0.9", "leave it out for none")
        if no_privacy and (secure_sum or kind or dropout):
            raise ConfigError(
                "without privacy nothing is masked, and nobody drops out",
                "leave --secure-sum, --kind and --dropout out",
            )
        if no_privacy and engine == "flower":
            raise ConfigError(
                "without privacy members live in memory", "leave --engine or --no-privacy out"
            )
        chosen = _changed(
            _federation(federation), task, rounds, epsilon, seed, secure_sum=secure_sum, kind=kind
        )
        from fedcode.simulation.run import Options  # it takes seconds: what is wrong is said before

        options = Options(not no_privacy, compare, seeds, dropout, engine)
    folder = resume or out or Path("runs") / f"{chosen.name}-{datetime.now():%Y%m%d-%H%M%S}"  # noqa: DTZ005
    result = _simulate(chosen, options, folder, quiet=as_json, resume=resume is not None)
    _show(result, folder, as_json=as_json)
    if again is not None and before is not None:
        _compare_weights(before, folder)


@app.command()
def prepare(
    federation: Annotated[Path, typer.Argument(metavar="FEDERATION.toml", help="The federation.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the start files.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Make what a federation starts from: vocabularies and warm starts, of public code alone."""
    os.environ.update(_QUIET)
    check_empty(out)  # before anything that takes seconds
    asked = load(federation)
    from fedcode.report.starts import shown, summary
    from fedcode.simulation.preparation import prepare as make
    from fedcode.simulation.view import warming

    with warming(Console(stderr=True, quiet=as_json)) as tell:
        found = make(asked, out, tell)
    if as_json:
        print(json.dumps(shown(found.public, found.starts), ensure_ascii=False))
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(summary(found.folder, found.files, found.tokens, found.starts))
    words = shlex.join(["fedcode-server", "run", str(federation), "--start", str(out)])
    console.print(f"next: {words}", markup=False)


@app.command()
def measure(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A coordinator's finished run.")],
    federation: Annotated[
        Path | None,
        typer.Option(metavar="FEDERATION.toml", help="Its file, with sources to measure on."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the result; RUN/result.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print result.json.")] = False,
) -> None:
    """Measure what a real federation has trained, on organizations that it has not seen."""
    os.environ.update(_QUIET)
    from fedcode.simulation.measuring import measure as start

    folder = out or run / "result"
    result = start(run, load(federation) if federation else None, folder)
    _show(result, folder, as_json=as_json)


@app.command()
def population(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[POPULATION.toml]", help="Members, problem and privacy."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the result.")] = None,
    again: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Repeat a run and compare the weights.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print result.json, no progress.")
    ] = False,
) -> None:
    """Simulate thousands of small members, of which each round trains a cohort."""
    from fedcode.simulation.population.report import summary
    from fedcode.simulation.population.run import MANIFEST, repeatable, simulate
    from fedcode.simulation.population.settings import load as read_population

    if (file is None) == (again is None):
        raise ConfigError("a population's file, or --again, is needed", "give one of the two")
    before: dict[str, Any] = {}
    if again is not None:
        settings, before = repeatable(again)
    else:
        settings = read_population(file or Path())
    folder = out or Path("runs") / f"{settings.name}-{datetime.now():%Y%m%d-%H%M%S}"  # noqa: DTZ005
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    result = simulate(settings, folder, (lambda _line: None) if as_json else _tell)
    if as_json:
        print(json.dumps(result, ensure_ascii=False, allow_nan=False))
    else:
        Console().print(summary(result, folder))
    if again is not None:
        from fedcode.simulation.results import read_json

        same = before["weights"] == read_json(folder / MANIFEST)["weights"]
        _say_whether("", same=same)


@app.command()
def tasks(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """List the tasks that can be trained."""
    if as_json:
        print(json.dumps([{"name": name, "title": e.title} for name, e in TASKS.items()]))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("task", style="bold")
    table.add_column("what it is")
    for name, entry in TASKS.items():
        table.add_row(name, entry.title)
    Console().print(table)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder of a run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print result.json.")] = False,
) -> None:
    """Show a finished run again, and write its page anew."""
    from fedcode.report.html import render
    from fedcode.simulation.results import read_json
    from fedcode.simulation.run import AUDIT, MANIFEST, REPORT, RESULT
    from fedcode.storage import write_atomically

    if (folder / "checkpoint").exists() and not (folder / RESULT).exists():
        raise RunError(
            f"the run in {folder} is not finished",
            f"fedcode simulate --resume {shlex.quote(str(folder))}",
        )
    result = read_json(folder / RESULT)
    audited = read_json(folder / AUDIT) if (folder / AUDIT).exists() else None
    page = render(result, read_json(folder / MANIFEST), audited)
    write_atomically(folder / REPORT, page.encode())
    _show(result, folder, as_json=as_json)


@app.command()
def audit(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="The --out folder of a run; if left out, the step alone."
        ),
    ] = None,
    organization: Annotated[
        str | None, typer.Option(help="Whose training is repeated; the smallest member's.")
    ] = None,
    canaries: Annotated[
        int | None,
        typer.Option(min=20, help="Planted in it; as few as could show more than is claimed."),
    ] = None,
    trials: Annotated[int, typer.Option(min=400, help="Steps of the step audit.")] = 10_000,
    unit: Annotated[
        PrivacyUnit | None,
        typer.Option(help="Of the step audit alone: is its canary one record, or several?"),
    ] = None,
    clipping: Annotated[
        Clip | None, typer.Option(help="Of the step audit alone; flat if left out.")
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option(help="Of the step audit alone; local-steps if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Audit the private training: can one privacy unit be seen better than ε allows?"""
    os.environ.update(_QUIET)
    if folder is None:
        if organization is not None or canaries is not None:
            raise ConfigError(
                "the step audit has no organization and one canary", "name a run's folder"
            )
        broken = _audit_step(
            trials,
            unit or PrivacyUnit.FUNCTION,
            clipping or "flat",
            kind or "local-steps",
            as_json=as_json,
        )
    else:
        if unit is not None:
            raise ConfigError("a run has its own privacy unit", "leave --unit out")
        if clipping is not None:
            raise ConfigError("a run has its own clipping", "leave --clipping out")
        if kind is not None:
            raise ConfigError("a run has its own kind of release", "leave --kind out")
        broken = _audit_folder(folder, organization, canaries, trials, as_json=as_json)
    if broken:
        raise typer.Exit(1)


@app.command()
def calibrate(
    rate: Annotated[float, typer.Option(help="Sampling rate of a step.")],
    epsilon: Annotated[float | None, typer.Option(help="Cap.")] = None,
    noise: Annotated[float | None, typer.Option(help="Noise multiplier.")] = None,
    rounds: Annotated[int | None, typer.Option(max=100_000, help="Rounds.")] = None,
    delta: Annotated[float, typer.Option(help="δ.")] = 1e-5,
    steps: Annotated[int, typer.Option(min=1, max=1_000, help="Steps of a round.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Find the noise, the rounds or the ε of a plan from the two others."""
    from fedcode.privacy.calibration import quote

    found = quote(rate, steps, delta, epsilon=epsilon, noise_multiplier=noise, rounds=rounds)
    plan, stops = found.plan, found.filter
    if as_json:
        values = {"noise_multiplier": plan.noise_multiplier, "rounds": plan.rounds}
        shown = {"epsilon": stops.epsilon, "order": stops.order, "epsilon_shown": found.shown}
        print(json.dumps(values | shown))
        return
    print(f"noise multiplier  {plan.noise_multiplier:.4f}")
    print(f"rounds            {plan.rounds:,}")
    print(f"stops at          ε = {stops.epsilon:.4g} by a Rényi filter of order {stops.order:g}")
    print(f"shown at the end  ε = {found.shown:.4g} by PLD: the filter costs the difference")


agreement = typer.Typer(no_args_is_help=True, help="Look at what the members have signed.")
app.add_typer(agreement, name="agreement")

_FILE = typer.Argument(metavar="FILE", help="A signed agreement, as agreement-TASK.json.")


@agreement.command("show")
def agreement_show(
    file: Annotated[Path, _FILE],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say what was agreed on, by whom, and who has signed."""
    from fedcode.report import agreements
    from fedcode.rounds.verification import read

    signed = read(file)
    if as_json:
        print(json.dumps(agreements.shown(signed), ensure_ascii=False))
    else:
        Console(soft_wrap=True).print(agreements.summary(signed))


@agreement.command("verify")
def agreement_verify(
    file: Annotated[Path, _FILE],
    before: Annotated[
        Path | None, typer.Option(help="The agreement of the epoch before, to follow on.")
    ] = None,
    transcript: Annotated[
        Path | None,
        typer.Option(help="A run's transcript.jsonl: who survived each secure sum, by signature."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Check every signature; exit code 1 if one is missing or false."""
    from fedcode.report.agreements import verdict
    from fedcode.rounds.verification import verify

    found = verify(file, before, transcript)
    if as_json:
        print(json.dumps(found.plain(), ensure_ascii=False))
    else:
        for line in verdict(**found.plain()):
            print(line)
    if found.wrong:
        raise typer.Exit(1)


def main() -> NoReturn:
    """The program."""
    run(app, "fedcode")


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _refuse_both(federation: Path | None, resume: Path | None, again: Path | None) -> None:
    if sum(one is not None for one in (federation, resume, again)) > 1:
        raise ConfigError(
            "a federation's file, --resume and --again exclude one another", "give one of them"
        )


def _refuse_changes(asked: list[Any]) -> None:
    if any(value is not None for value in asked):
        raise ConfigError(
            "--resume and --again do what the run was asked to do, and nothing else",
            "leave the other options out, or start a new run with them",
        )


def _federation(path: Path | None) -> Federation:
    if path is not None:
        return load(path)
    text = files("fedcode.simulation").joinpath("default.toml").read_text(encoding="utf-8")
    return parse(text, "the built-in federation")


def _changed(
    federation: Federation,
    task: str | None,
    rounds: int | None,
    epsilon: float | None,
    seed: int | None,
    *,
    secure_sum: bool | None,
    kind: Kind | None,
) -> Federation:
    values = federation.model_dump(mode="json")
    if task is not None:
        suggested = {"name": task, **known(task).suggested}
        values["tasks"] = [t for t in values["tasks"] if t["name"] == task] or [suggested]
        values["tasks"][0]["budget_share"] = 1.0
    if rounds is not None:
        for one in values["tasks"]:
            one["rounds"] = rounds
    if epsilon is not None:
        values["privacy"]["epsilon"] = epsilon
    if seed is not None:
        values["seed"] = seed
    if secure_sum is not None and secure_sum != federation.aggregation.masked:
        colluding = federation.aggregation.colluding
        mode = "secagg" if secure_sum else "open"
        values["aggregation"] = {"mode": mode, "colluding": colluding}
    if kind is not None:
        for one in values["tasks"]:
            one.setdefault("training", {})["kind"] = kind
    return check(values, "the command line")


def _audit_step(
    trials: int, unit: PrivacyUnit, clipping: Clip, kind: Kind, *, as_json: bool
) -> bool:
    from dataclasses import asdict

    from rich.progress import Progress

    from fedcode.training.audit import step_audit

    with Progress(console=Console(stderr=True, quiet=as_json), transient=True) as bars:
        bar = bars.add_task("training steps", total=trials)
        found = step_audit(
            trials,
            unit=unit,
            clipping=clipping,
            kind=kind,
            tell=lambda done: bars.update(bar, completed=done),
        )
    if as_json:
        print(json.dumps(asdict(found) | {"broken": found.broken}))
        return found.broken
    console = Console(soft_wrap=True)
    console.print(
        f"one step, with and without a canary ({unit}), {found.trials:,} trials, "
        f"δ = {found.delta:g}"
    )
    console.print(
        f"claimed ε = {found.claimed:.2f}; found at least {found.found:.2f}; "
        f"so many trials could have found {found.detectable:.2f} at most"
    )
    verdict = "BROKEN: it reveals more than claimed" if found.broken else "nothing against it"
    console.print(verdict, style="bold")
    return found.broken


def _audit_folder(
    folder: Path, organization: str | None, canaries: int | None, trials: int, *, as_json: bool
) -> bool:
    from rich.progress import Progress

    from fedcode.report.audits import read_audit, summary
    from fedcode.simulation.audit_folder import audit_folder

    with Progress(console=Console(stderr=True, quiet=as_json), transient=True) as bars:
        bar = bars.add_task("audits", total=None)
        found = audit_folder(
            folder,
            organization,
            canaries,
            trials,
            lambda done, of: bars.update(bar, completed=done, total=of),
        )
    if as_json:
        print(json.dumps(found, ensure_ascii=False, allow_nan=False))
    else:
        Console().print(summary(found))
    return read_audit(found).broken


def _simulate(
    federation: Federation, options: Any, folder: Path, *, quiet: bool, resume: bool
) -> dict[str, Any]:
    from fedcode.simulation.run import simulate as start
    from fedcode.simulation.view import View

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    view = View(Console(stderr=True, quiet=quiet))
    view.reading(federation)
    return start(federation, options, folder, view, resume=resume)


def _show(result: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, ensure_ascii=False, allow_nan=False))
        return
    from fedcode.report.terminal import summary

    Console().print(summary(result, folder))


def _compare_weights(before: dict[str, Any], folder: Path) -> None:
    from fedcode.simulation.results import read_json
    from fedcode.simulation.run import MANIFEST

    now = read_json(folder / MANIFEST)["weights"]
    for task, digests in before["weights"].items():
        same = bool(digests) and digests == now.get(task)
        _say_whether(f"{task}: ", same=same)


def _say_whether(whose: str, *, same: bool) -> None:
    """Says how a repetition ended; other weights end the program, too."""
    print(f"{whose}{'the same' if same else 'OTHER'} weights after every round")
    if not same:
        raise typer.Exit(1)
