# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Which records belong together."""

from dataclasses import replace

import pytest

from fedcode.errors import ConfigError
from fedcode.record import (
    Corpus,
    PrivacyUnit,
    Record,
    SourceFile,
    UnitId,
    fingerprint,
    population,
    units,
)
from fedcode.training import batches


def record(path, name, author="", repository=""):
    unit = UnitId(f"{path}::{name}")
    return Record(unit, path, name, "function", ("x",), 1, author=author, repository=repository)


RECORDS = [
    record("b/x.py", "f", "2", "b"),
    record("b/x.py", "g", "2", "b"),
    record("a/y.py", "f", "1", ""),
    record("c.py", "h", "2", ""),
]


@pytest.mark.parametrize(
    ("unit", "groups"),
    [
        (PrivacyUnit.FUNCTION, [[0], [1], [2], [3]]),
        (PrivacyUnit.FILE, [[0, 1], [2], [3]]),
        (PrivacyUnit.AUTHOR, [[0, 1, 3], [2]]),
        (PrivacyUnit.REPOSITORY, [[0, 1], [2, 3]]),
    ],
)
def test_units_stand_in_the_order_of_their_first_records(unit, groups) -> None:
    assert units(RECORDS, unit) == [tuple(RECORDS[i] for i in group) for group in groups]


@pytest.mark.parametrize("unit", PrivacyUnit)
@pytest.mark.parametrize("together", [1, 3, 1024])
def test_examples_are_made_of_a_few_records_at_a_time(unit, together, monkeypatch) -> None:
    class Names:
        """Makes an example of every record but one."""

        def __init__(self) -> None:
            self.most = 0

        def examples(self, records):
            self.most = max(self.most, len(records))
            return [r.unit for r in records if r.name != "g"]

    monkeypatch.setattr(batches, "_ENCODED", together)
    records = [*RECORDS, record("d.py", "g", "3", "d")]
    files = tuple(SourceFile(r.path, r.tokens, (r,)) for r in records)
    for given in (records, Corpus("o", files).each):
        task = Names()
        found = batches.examples_by_unit(task, given, unit)
        whole = [[r.unit for r in own if r.name != "g"] for own in units(records, unit)]
        assert list(map(list, found)) == [one for one in whole if one]
        bounded = unit is PrivacyUnit.FUNCTION and given is not records
        assert not bounded or task.most <= together
    assert population(Corpus("o", files).each, unit) == len(units(records, unit))


def test_an_unknown_author_is_nobodys_unit() -> None:
    with pytest.raises(ConfigError, match=r"c\.py has no known author") as caught:
        units([*RECORDS[:3], replace(RECORDS[3], author="")], PrivacyUnit.AUTHOR)
    assert "choose another privacy.unit" in caught.value.hint


def test_units_have_names_in_words() -> None:
    words = ["functions", "files", "authors", "repositories"]
    assert [unit.plural for unit in PrivacyUnit] == words


def test_other_owners_are_other_data() -> None:
    """A run that goes on with other units would spend what was spent on others."""

    def of(**changes):
        return fingerprint([SourceFile("c.py", ("x",), (replace(RECORDS[3], **changes),))])

    prints = {
        of(),
        of(author=""),
        of(author="1"),
        of(repository="b"),
        of(author="", repository="2"),
    }
    assert len(prints) == 5
