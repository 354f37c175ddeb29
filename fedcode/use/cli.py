# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""`fedcode use`: a trained model, asked about code that lies here. Nothing is sent anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedcode.errors import ConfigError

if TYPE_CHECKING:
    from fedcode.card import Card
    from fedcode.use.defects import Risk
    from fedcode.use.model import Model

app = typer.Typer(
    no_args_is_help=True,
    help="Put a trained model to use on your own code, on this machine.",
)

_MODEL = typer.Option("--model", metavar="DIR", help="The model: RESULT/models/TASK.")
_JSON = typer.Option("--json", help="For machines.")
_SARIF = typer.Option("--sarif", help="As SARIF, for code hosts and editors.")


@app.command()
def completion(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A source file.")],
    line: Annotated[int, typer.Option(min=1, help="Go on from the end of this line.")],
    model: Annotated[Path, _MODEL],
    most: Annotated[int, typer.Option(min=1, max=8, help="So many proposals.")] = 3,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Propose how a file goes on after a line; what stands below it is not read."""
    from fedcode.use import completion as use

    loaded = _loaded(model, use.TASKS, quiet=as_json)
    found = use.proposals(loaded, file, line, most)
    if as_json:
        _print(loaded.card, {"proposals": [{"text": p.text, "chance": p.chance} for p in found]})
        return
    table = _table("chance", "what may follow")
    for one in found:
        table.add_row(f"{one.chance:.3f}", escape(one.text.replace("\n", "⏎ ")))
    Console().print(table)


@app.command()
def defects(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders.")],
    model: Annotated[Path, _MODEL],
    since: Annotated[
        str | None, typer.Option(metavar="REV", help="Only what has changed since this commit.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="So many functions.")] = 20,
    fail_over: Annotated[
        float | None,
        typer.Option(metavar="RISK", help="End with 1 if a function's risk is larger."),
    ] = None,
    as_json: Annotated[bool, _JSON] = False,
    as_sarif: Annotated[bool, _SARIF] = False,
) -> None:
    """Rank functions by how likely they are defective, and say which tokens speak for it."""
    from fedcode.use import defects as use
    from fedcode.use.sarif import sarif

    if as_json and as_sarif:
        raise ConfigError("--json and --sarif exclude one another", "give one of them")
    if fail_over is not None and not 0 <= fail_over < 1:
        raise ConfigError("--fail-over is a risk from 0 to below 1", "as --fail-over 0.9")
    loaded = _loaded(model, use.TASKS, quiet=as_json or as_sarif)
    risks = use.risks(loaded, paths, since)
    shown = risks[:most]
    if as_sarif:
        print(json.dumps(sarif(loaded.card, use.RULE, use.TITLE, [one.finding for one in shown])))
    elif as_json:
        _print(loaded.card, {"functions": len(risks), "risks": [_plain(one) for one in shown]})
    else:
        _show_risks(shown, len(risks))
    if fail_over is not None and any(one.judgement.chance > fail_over for one in risks):
        raise typer.Exit(1)


@app.command()
def localization(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A bug report, as text.")],
    repository: Annotated[
        str, typer.Option(metavar="DIR", help="A git repository; DIR@REVISION, DIR@DATE.")
    ],
    model: Annotated[Path, _MODEL],
    most: Annotated[int, typer.Option(min=1, help="So many files.")] = 10,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Rank a repository's files by how likely a bug report is about them."""
    from fedcode.use import localization as use

    loaded = _loaded(model, use.TASKS, quiet=as_json)
    found = use.suspects(loaded, report, repository)
    if as_json:
        shown = [{"path": one.path, "share": one.share} for one in found[:most]]
        _print(loaded.card, {"files": len(found), "suspects": shown})
        return
    table = _table("share", "file")
    for one in found[:most]:
        table.add_row(f"{one.share:.3f}", escape(one.path))
    console = Console()
    console.print(table)
    console.print(f"{len(found):,} files, {min(most, len(found)):,} shown")


@app.command()
def names(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders.")],
    model: Annotated[Path, _MODEL],
    confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Show a name if its chance is larger.")
    ] = 0.5,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Propose other names for functions, where the model is sure."""
    from fedcode.use import names as use

    loaded = _loaded(model, use.TASKS, quiet=as_json)
    found, of = use.namings(loaded, paths, confidence)
    if as_json:
        shown = [
            {
                "file": str(one.place.file),
                "name": one.place.record.name,
                "first": one.place.record.first,
                "proposal": one.name,
                "chance": one.chance,
            }
            for one in found
        ]
        _print(loaded.card, {"functions": of, "names": shown})
        return
    table = _table("chance", "function", "might be called")
    for one in found:
        place = f"{one.place.file}:{one.place.line}"
        name = f"{escape(one.place.record.name)}\n[dim]{escape(place)}[/]"
        table.add_row(f"{one.chance:.3f}", name, escape(one.name))
    console = Console()
    if found:
        console.print(table)
    console.print(
        f"{of:,} functions, of {len(found):,} another name is likelier than {confidence:g}"
    )


def _show_risks(risks: Sequence[Risk], of: int) -> None:
    table = _table("risk", "function", "what speaks for it")
    for one in risks:
        place = f"{one.place.file}:{one.place.line}"
        why = "\n".join(escape(words) for words, _ in one.judgement.because)
        name = f"{escape(one.place.record.name)}\n[dim]{escape(place)}[/]"
        table.add_row(f"{one.judgement.chance:.3f}", name, why)
    console = Console()
    if risks:
        console.print(table)
    console.print(f"{of:,} functions, {len(risks):,} shown" if of else "no function to look at")


def _plain(risk: Risk) -> dict[str, Any]:
    record = risk.place.record
    return {
        "file": str(risk.place.file),
        "name": record.name,
        "first": record.first,
        "last": record.last,
        "risk": risk.judgement.chance,
        "because": [{"words": w, "weight": weight} for w, weight in risk.judgement.because],
    }


def _loaded(folder: Path, tasks: Sequence[str], *, quiet: bool) -> Model:
    """The model; what its card says of it goes to stderr."""
    from fedcode.use.model import load

    found = load(folder, *tasks)
    Console(stderr=True, quiet=quiet, highlight=False).print(_said(found.card), style="dim")
    return found


def _said(card: Card) -> str:
    """Whose model it is, and how good, in two lines."""
    from fedcode.report.table import epsilon, number

    protection = card.protection
    spent = f"ε ≤ {epsilon(protection.epsilon)}" if protection else "no privacy"
    lines = [f"{card.task} of {card.federation}: {card.members} organizations, {spent}"]
    own, metric = card.own, card.metrics[0]
    if own is not None:
        others = [
            f"{row.title}: {number(row.figures.get(metric.key), metric.digits)}"
            for row in card.rows
            if not row.own and row.figures.get(metric.key) is not None
        ]
        best = number(own.figures.get(metric.key), metric.digits)
        beside = f" ({'; '.join(others)})" if others else ""
        lines.append(f"{metric.title} on code it was not trained on: {best}{beside}")
    return escape("\n".join(lines))


def _print(card: Card, values: Mapping[str, Any]) -> None:
    head = {"task": card.task, "federation": card.federation, "weights": card.weights}
    print(json.dumps({"model": head, **values}, ensure_ascii=False, allow_nan=False))


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(titles):
        table.add_column(title, justify="left" if number else "right", overflow="fold")
    return table
