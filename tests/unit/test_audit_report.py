# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What the page and the terminal say of an audit."""

from __future__ import annotations

import io
from typing import Any

import pytest
import report_example as example
from rich.console import Console

from fedcode.errors import RunError
from fedcode.report import audits, html

STEP = {
    "trials": 10_000, "delta": 1e-5, "claimed": 4.371, "found": 3.209, "detectable": 35.06,
    "broken": False,
}  # fmt: skip
ONE = {
    "canaries": 8_000, "guesses": 813, "right": 420, "delta": 1e-5, "mistake": 0.05,
    "claimed": 5.051, "found": 0.019, "detectable": 5.379, "broken": False,
}  # fmt: skip


def by_heart(bits: float, rate: float | None) -> dict[str, Any]:
    part = {"functions": 0 if rate is None else 200, "verbatim": 9, "rate": rate}
    exposure = {"secrets": 4, "mean": bits, "largest": bits + 1, "detectable": 10.0}
    return {
        "exposure": [{"copies": 1, **exposure}, {"copies": 16, **exposure}],
        "trained_on": part,
        "held_out": part,
    }


def audit(**one_run: Any) -> dict[str, Any]:
    memory = {
        "given": 16, "asked": 8, "passes": 4.0,
        "private": by_heart(1.2, None), "plain": by_heart(8.7, 0.045),
    }  # fmt: skip
    tasks = [
        {"name": "completion", "one_run": ONE | one_run, "memory": memory, "seconds": 30.0},
        {"name": "defects", "one_run": ONE, "memory": None, "seconds": 9.0},
    ]
    return {
        "schema": "fedcode/audit/1", "created": "2026-01-01T00:00:00+00:00", "seconds": 40.0,
        "organization": "numpy", "step": STEP, "tasks": tasks,
    }  # fmt: skip


def printed(values: dict[str, Any]) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(audits.summary(values))
    return out.getvalue()


def page(values: dict[str, Any] | None) -> str:
    return html.render(example.result(), example.manifest(), values)


def test_the_page_has_a_section_where_there_was_an_audit() -> None:
    assert 'id="audits"' not in page(None)
    shown = page(audit())
    assert 'id="audits"' in shown
    for text in ("420 of 813", "8.7 bits", "16 times", "4.5 %", "never that it is right"):
        assert text in shown


def test_nothing_of_an_audit_is_taken_for_markup() -> None:
    shown = page(audit() | {"organization": example.HOSTILE})
    assert "<script" not in shown


def test_claims_are_rounded_up_and_findings_down() -> None:
    (step, one, _) = audits.epsilon_rows(audits.read_audit(audit()))
    assert step[1:4] == ["4.38", "3.20", "35.06"]
    assert one[1:4] == ["5.06", "0.01", "5.37"]


def test_the_terminal_shows_aligned_lines() -> None:
    said = printed(audit())
    assert max(map(len, said.splitlines())) <= 80
    assert "completion, one run, 8,000 canaries" in said
    assert "what could not be found may be there" in said
    assert "16 pieces given, next 8 by heart" in said
    assert "BROKEN" not in said


def test_a_broken_training_is_named() -> None:
    found = audit(found=9.0, broken=True)
    assert audits.read_audit(found).broken
    assert not audits.read_audit(audit()).broken
    assert "BROKEN: completion, one run" in printed(found)
    assert "BROKEN: it reveals more than claimed" in page(found)


def test_an_audit_that_could_find_nothing_says_so() -> None:
    assert "nothing could have been" in page(audit(detectable=2.0))


def test_a_model_that_writes_no_code_has_no_rows() -> None:
    values = audit()
    values["tasks"] = values["tasks"][1:]
    assert "Planted secrets" not in page(values)
    assert "exposure" not in printed(values)


@pytest.mark.parametrize("change", [{"schema": "fedcode/audit/9"}, {"tasks": [{}]}])
def test_another_file_is_refused_in_one_line(change) -> None:
    with pytest.raises(RunError, match=r"audit\.json: ") as refused:
        page(audit() | change)
    assert "\n" not in str(refused.value)
