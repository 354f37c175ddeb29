# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The page and the end of a run in a terminal say what the result holds, to everybody, safely."""

from __future__ import annotations

import copy
import io
import itertools
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import report_example as example
from rich.console import Console

from fedcode.errors import RunError
from fedcode.record import PrivacyUnit
from fedcode.report import charts, html, table, terminal, words
from fedcode.report.result import Result, read_result

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Reads a page, insists on closed tags, and keeps what the tests ask for."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.svg_text: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes what it did not open"

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if "svg" in self.open:
            self.svg_text.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


@pytest.fixture(scope="module")
def source() -> str:
    return html.render(example.result(), example.manifest())


@pytest.fixture(scope="module")
def hostile() -> str:
    return html.render(example.result(hostile=True), example.manifest())


def changed(**top: Any) -> dict[str, Any]:
    return example.result() | top


def shown(values: dict[str, Any], width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(terminal.summary(values, Path("demo")))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


# The page: structure and safety


def test_page_is_well_formed_and_its_ids_are_unique(source: str) -> None:
    page = Page(source)
    assert source.startswith("<!DOCTYPE html>")
    assert page.tags["svg"] == 5
    assert page.tags["table"] == page.tags["caption"]
    assert len(page.values("id")) == len(set(page.values("id")))
    scoped = sum(1 for tag, name, _ in page.attributes if (tag, name) == ("th", "scope"))
    assert scoped == page.tags["th"]


def test_page_asks_the_network_for_nothing(source: str) -> None:
    page = Page(source)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", source)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert not set(page.values("href")) | set(page.values("src")) | set(page.values("xlink:href"))
    assert "default-src 'none'" in source


def test_what_organizations_name_is_escaped_everywhere(hostile: str) -> None:
    page = Page(hostile)
    assert "script" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert any("numpy<script>" in text for text in page.svg_text)
    assert f"numpy{example.HOSTILE}/tests/bad_0{example.HOSTILE}.py" in page.text


def test_equal_input_gives_equal_bytes(source: str) -> None:
    assert html.render(example.result(), example.manifest()) == source


def test_charts_take_every_colour_from_the_style_sheet(source: str) -> None:
    painted = {value for tag, name, value in Page(source).attributes if name in ("fill", "stroke")}
    assert {c for c in painted if not c.startswith("var(--")} <= {"none", "transparent"}
    style = source[source.index("<style>") : source.index("</style>")]
    used = set(re.findall(r"var\((--[a-z-]+)\)", source))
    assert used <= set(re.findall(r"(--[a-z-]+):", style))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast_aa(source: str, scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", source, flags=re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", blocks[scheme]))
    for ink in ("ink", "soft", "private", "plain", "good", "bad"):
        for ground in ("page", "panel", "band"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert contrast(colours["warn-ink"], colours["warn"]) >= 4.5
    assert contrast(colours["muted"], colours["panel"]) >= 3


def contrast(a: str, b: str) -> float:
    """WCAG 2.1, 1.4.3."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


# The page: what it says


def test_page_states_the_guarantee_in_full(source: str) -> None:
    text = " ".join(Page(source).text).replace("\N{NO-BREAK SPACE}", " ")
    assert "6 organizations trained 2 models together" in text
    assert "ε = 7.96, over all models together, at δ = 1e−5" in text
    assert "privacy unit is one function; adjacency is add or remove one" in text
    assert "PLD" in text
    assert "Rényi filter, at order 4.5" in text
    assert "networkx took no part in completion rounds 5–12 and defects rounds 1–12" in text
    assert words.SEEDED not in text
    assert "Secure sum of 5 to 6: the coordinator learns the total and nothing else" in text
    assert "networkx before its masked update (budget)" in text


@pytest.mark.parametrize("unit", list(PrivacyUnit))
def test_what_is_said_follows_the_unit(unit: PrivacyUnit) -> None:
    values = example.result()
    values["privacy"]["unit"] = str(unit)
    values["organizations"][0]["units"] = 7_777
    values["tasks"][0]["records_per_unit"] = None if unit is PrivacyUnit.FUNCTION else 64
    text = " ".join(Page(html.render(values, example.manifest())).text)
    text = text.replace("\N{NO-BREAK SPACE}", " ")
    assert f"The privacy unit is one {unit};" in text
    assert f"with one {unit} more or less in an organization's code" in text
    assert f"a secret that stands in many {unit.plural}" in text
    assert "7,777" in text
    wide = f"once for each {unit}, of which at most 64 records take part in a step"
    assert (wide in text) == (unit is not PrivacyUnit.FUNCTION)
    assert ("under several addresses" in text) == (unit is PrivacyUnit.AUTHOR)


def test_the_best_private_row_is_marked_once_for_each_task(source: str) -> None:
    marked = re.findall(r'<tr class="best"><th scope="row">(\S+) <span class="badge">', source)
    assert marked == ["federated", "federated"]


def test_page_warns_of_seeded_noise() -> None:
    page = html.render(
        changed(simulation={"seeded_noise": True, "note": "Repeatable."}), example.manifest()
    )
    assert words.SEEDED in page
    assert page.index(words.SEEDED) < page.index("<dl")


def test_page_of_an_unfinished_run_without_privacy() -> None:
    values = changed(privacy=None, ledger=[], finished=False)
    for task in values["tasks"]:
        task |= {"noise_multiplier": None, "curves": []}
        task["arms"] = [arm for arm in task["arms"] if not arm["private"]]
    page = html.render(values, example.manifest())
    assert "This run had no differential privacy" in page
    assert "This run is not finished" in page
    assert 'class="best"' not in page
    assert Page(page).tags["svg"] == 2


def test_long_lists_of_skipped_files_are_cut_and_counted() -> None:
    values = example.result()
    skipped = [{"path": f"a{n}.py", "reason": "too large"} for n in range(130)]
    values["organizations"][0]["local"]["skipped"] = skipped
    page = html.render(values, example.manifest())
    assert "flwr: 130 files skipped" in page
    assert page.count("too large") == 100
    assert "and 30 more" in page


def test_a_missing_field_is_named() -> None:
    values = example.result()
    del values["tasks"][1]["arms"][0]["unseen"]
    with pytest.raises(RunError, match=r"result\.json: tasks\.1\.arms\.0\.unseen: field required"):
        html.render(values, example.manifest())
    with pytest.raises(RunError, match=r"manifest\.json: seed"):
        html.render(example.result(), {k: v for k, v in example.manifest().items() if k != "seed"})


def test_another_schema_is_refused() -> None:
    with pytest.raises(RunError, match="schema"):
        terminal.summary(changed(schema="fedcode/result/9"), Path("demo"))


# Rows and figures


@pytest.fixture
def result() -> Result:
    return read_result(example.result())


def test_rows_keep_order_and_say_what_protects_them(result: Result) -> None:
    rows = table.rows(result.tasks[0])
    assert [row.key for row in rows] == [arm.key for arm in result.tasks[0].arms]
    told = {row.key: (row.kind, table.epsilon(row.epsilon)) for row in rows}
    assert told == {
        "public": ("public", "0"),
        "baseline": ("plain", "∞"),
        "alone": ("private", "7.96"),
        "federated": ("private", "7.96"),
        "federated-plain": ("plain", "∞"),
        "centralized-plain": ("plain", "∞"),
    }


@pytest.mark.parametrize(("task", "best"), [(0, "networkx"), (1, "sympy")])
def test_best_follows_the_direction_of_the_metric(task: int, best: str) -> None:
    values = example.result()
    for arm in values["tasks"][task]["arms"]:
        if arm["member"] == best:
            for interval in arm["unseen"].values():
                interval["mean"] = [0.1, 0.99][task]
    result = read_result(values)
    assert [r.title for r in table.rows(result.tasks[task]) if r.best] == [f"alone, {best}"]
    condensed = table.condensed_rows(result.tasks[task])
    assert [r.title for r in condensed if r.best] == ["alone, best of 6"]


def test_own_models_are_condensed_to_best_and_mean(result: Result) -> None:
    task = result.tasks[0]
    alone = [row for row in table.condensed_rows(task) if row.key == "alone"]
    figures = [table.figure(row, task.leading) for row in table.rows(task) if row.key == "alone"]
    assert [row.title for row in alone] == ["alone, best of 6", "alone, mean of 6"]
    assert table.figure(alone[0], task.leading) == min(figures)
    assert table.figure(alone[1], task.leading) == pytest.approx(sum(figures) / 6)


def test_a_private_row_without_epsilon_promises_nothing() -> None:
    values = example.result()
    values["tasks"][0]["arms"][2]["epsilon"] = None
    assert table.epsilon(table.rows(read_result(values).tasks[0])[2].epsilon) == "∞"


@pytest.mark.parametrize(
    ("value", "text"), [(7.9601, "7.97"), (7.96, "7.96"), (8.0, "8.00"), (0, "0"), (1e-9, "0.01")]
)
def test_epsilon_is_never_understated(value: float, text: str) -> None:
    assert table.epsilon(value) == text


def test_figures_as_text(result: Result) -> None:
    federated = next(r for r in table.rows(result.tasks[0]) if r.key == "federated")
    assert table.interval(federated.unseen["bits"], 3) == "6.020 ± 0.027"
    assert table.interval(None, 3) == table.number(float("nan"), 2) == "–"
    assert table.number(-1234.5, 1) == "−1,234.5"
    one = read_result(example.result(seeds=(1,))).tasks[0]
    assert table.interval(table.rows(one)[0].unseen["bits"], 3) == "6.490"


def test_names_beside_lines_never_overlap() -> None:
    for places in ([0, 1, 2, 200], [248, 249, 250, 250], [100, 100, 100, 101]):
        moved = charts._spread(places)
        gaps = [b - a for a, b in itertools.pairwise(moved)]
        assert min(gaps) >= charts._LINE
        assert moved[-1] <= charts._HEIGHT


# The terminal


def test_summary_is_short_and_fits_80_columns() -> None:
    lines = shown(example.result())
    assert len(lines) <= 22
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)
    assert any(line.startswith("NO   defects: better than every organization") for line in lines)
    assert any(re.match(r"federated +6\.020 ± 0\.027\* +4\.310 0\.684", line) for line in lines)
    assert "largest ε 7.96, cap 8.00, δ 1e−5, function, add or remove one, PLD" in lines
    assert "24 secure sums: 1 member lost on the way, none without a total" in lines
    assert "demo/report.html" in "".join(lines)


def test_summary_never_hides_a_claim_that_fails() -> None:
    values = example.result()
    for task in values["tasks"]:
        task["verdict"] *= 3
    lines = shown(values)
    assert sum(line.startswith("NO ") for line in lines) == 3
    assert "yes  9 of 12 claims hold" in lines


def test_summary_of_one_task_shows_more_of_its_figures() -> None:
    lines = shown(changed(tasks=example.result()["tasks"][:1]))
    assert re.search(r"top1 ↑ +top5 ↑", "".join(lines[:3]))
    assert not any("defects" in line for line in lines)


def test_names_are_not_markup_in_the_terminal() -> None:
    values = copy.deepcopy(example.result())
    values["tasks"][0]["arms"][0]["title"] = "[red]public[/red] [/]"
    assert any("[red]public[/red] [/]" in line for line in shown(values))


def test_terminal_says_what_protects_nobody() -> None:
    plain = shown(changed(privacy=None, finished=False))
    assert any("no differential privacy" in line for line in plain)
    assert any("--resume" in line for line in plain)
    seeded = shown(changed(simulation={"seeded_noise": True, "note": ""}))
    assert any(words.SEEDED in line for line in seeded)


def test_the_best_baseline_is_among_the_findings() -> None:
    """A model that every organization could have had for nothing must not be missed."""
    result = read_result(example.result())
    for task in result.tasks:
        baselines = [row for row in table.rows(task) if row.key == "baseline"]
        assert baselines
        best = (min if task.leading.lower_is_better else max)(
            baselines, key=lambda row: row.unseen[task.leading.key].mean
        )
        assert words.findings(task)[-1][0] == best


@pytest.mark.parametrize(
    ("labelled", "defective", "few"),
    [(0, 0, False), (596, 2, True), (596, 20, False), (596, 590, True), (596, 576, False)],
)
def test_too_few_of_a_kind_are_said_where_something_is_measured(labelled, defective, few) -> None:
    values = example.result()
    for one in values["organizations"]:
        one["local"] |= {"labelled": labelled, "defective": defective}
    said = read_result(values).few
    assert len(said) == (len(example.UNSEEN) if few else 0)
    page = html.render(values, example.manifest())
    assert page.count("too few to tell; what is measured") == len(said)
    if few:
        assert f"click has {defective} defective records of 596" in said[0]
