# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Full disks, I/O errors, torn writes, restored snapshots: the ledger must fail closed every time.

python -m tests.campaigns.faults TIMES [SEED]
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fedcode.errors import LedgerDamaged, PrivacyError
from fedcode.privacy.ledger import BudgetLedger
from tests.campaigns.kills import traced
from tests.campaigns.member import Killed, Site, Step, apart

ROUNDS = 4
STATEMENTS = 150  # of a life, about: the fault comes before one of them


def at_statement(number: int, act: Callable[[], None]) -> Step:
    """Calls ``act`` before the statement of that number."""
    count = 0

    def come(_name: str) -> None:
        nonlocal count
        count += 1
        if count == number:
            act()

    return come


def live_with(site: Site, draw: random.Random, act: Callable[[], None]) -> Counter[str]:
    """A life in which a fault happens, and whether the member was refused something."""
    number = draw.randrange(1, STATEMENTS)

    def life() -> list[int]:
        traced(at_statement(number, act))
        return site.live(ROUNDS)

    # what cannot be written is refused by a code, or before a member is there, by an error
    with contextlib.suppress(PrivacyError):
        apart(life)
    before = site.lines()
    apart(site.check)
    apart(lambda: site.live(1))
    assert len(site.lines()) == len(before) + 2, "it does not go on when the fault is over"
    return Counter({"faults": 1})


def full_disk(site: Site, draw: random.Random) -> Counter[str]:
    """From some round on no page more: SQLite's own answer to a disk that is full."""
    left, writers = draw.randrange(1, 7), []

    def act(name: str) -> None:
        nonlocal left
        left -= name == "charged"
        if left == 0:
            for connection in writers:
                pages = connection.execute("PRAGMA page_count").fetchone()[0]
                connection.execute(f"PRAGMA max_page_count = {pages}")

    def life() -> list[int]:
        traced(lambda _statement: None, writers.append)
        return site.live(60, act)

    assert apart(life), "the disk was full, and nothing was refused"
    apart(site.check)
    return Counter({"faults": 1})


def io_error(site: Site, draw: random.Random) -> Counter[str]:
    """From some statement on, the files of the ledger cannot be read or written any more."""
    which = draw.choice([("-wal",), (".sqlite",), ("-wal", ".sqlite")])

    def act() -> None:
        _, pipe = os.pipe()  # not seekable: every access at a place fails
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(entry.readlink()).endswith(which):
                    os.dup2(pipe, int(entry.name))

    return live_with(site, draw, act)


def short_file(site: Site, draw: random.Random) -> Counter[str]:
    """From some statement on, files cannot grow beyond some size: the last write is cut."""
    more = draw.randrange(20_000)

    def act() -> None:
        wal = site.ledger.with_name(site.ledger.name + "-wal")
        size = (wal.stat().st_size if wal.exists() else 0) + more
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return live_with(site, draw, act)


def torn_write(site: Site, draw: random.Random) -> Counter[str]:
    """The power fails in a commit: of what it wrote, some part is there and some is garbage.

    What was committed before is on disk (``synchronous = FULL``), so it stays.
    """
    number = draw.randrange(1, 3 * ROUNDS)
    wal = site.ledger.with_name(site.ledger.name + "-wal")
    sizes = site.folder / "sizes"

    def life() -> None:
        count, before = 0, 0

        def come(statement: str) -> None:
            nonlocal count, before
            if statement == "COMMIT":
                before = wal.stat().st_size
                count += 1
            elif count == number:  # the first statement after that commit: power off
                sizes.write_text(f"{before} {wal.stat().st_size}", encoding="utf-8")
                os.kill(os.getpid(), signal.SIGKILL)

        traced(come)
        site.live(ROUNDS, come)

    with contextlib.suppress(Killed):
        apart(life)
        return Counter()
    before, after = map(int, sizes.read_text(encoding="utf-8").split())
    if after <= before:
        return Counter()
    content = bytearray(wal.read_bytes())
    start = draw.randrange(before, after)
    if draw.random() < 0.5:
        del content[start:]
    else:
        content[start:after] = draw.randbytes(after - start)
    wal.write_bytes(content)
    apart(site.check)
    apart(lambda: site.live(1))
    apart(site.check)
    return Counter({"faults": 1})


def garbage(site: Site, draw: random.Random) -> Counter[str]:
    """A piece of a file is overwritten: found, or nothing that counts has changed."""
    apart(lambda: site.live(ROUNDS))
    witness, rows = site.head(), _rows(site.ledger)
    content = bytearray(site.ledger.read_bytes())
    length = draw.choice([1, 16, 512, 4096])
    start = draw.randrange(len(content))
    content[start : start + length] = draw.randbytes(min(length, len(content) - start))
    site.ledger.write_bytes(content)
    try:
        apart(lambda: site.check(witness))
    except PrivacyError:
        found = "found"
    else:
        assert _rows(site.ledger) == rows, "rows have changed, and nothing was said"
        found = "harmless"
    for file in site.folder.iterdir():
        file.unlink()  # nobody goes on with a damaged ledger
    return Counter({"faults": 1, found: 1})


def snapshot(site: Site, draw: random.Random) -> Counter[str]:
    """A copy of the folder comes back after the ledger has gone on."""
    rounds, more = 1 + draw.randrange(ROUNDS), 1 + draw.randrange(ROUNDS)
    apart(lambda: site.live(rounds))
    copy = Path(f"{site.folder}-snapshot")
    shutil.copytree(site.folder, copy)
    lines = site.lines()
    apart(lambda: site.live(more))
    witness = site.head()
    shutil.rmtree(site.folder)
    copy.rename(site.folder)
    assert site.lines() == lines
    try:
        apart(lambda: site.check(witness))
    except LedgerDamaged:
        return Counter({"faults": 1})
    raise AssertionError("a ledger that was set back has opened")


def _rows(path: Path) -> list[str]:
    with BudgetLedger.open(path, read_only=True) as ledger:
        return list(ledger.export())


FAULTS = {
    "disk full": full_disk,
    "I/O error": io_error,
    "file size limit": short_file,
    "torn write": torn_write,
    "garbage": garbage,
    "restored snapshot": snapshot,
}
LIVES = 10


def campaign(name: str, times: int, seed: int = 1) -> Counter[str]:
    """So many faults of one kind, on sites that are replaced now and then."""
    draw, done, site, lives = random.Random(seed), Counter[str](), Site(), 0
    try:
        while done["faults"] < times:
            done += FAULTS[name](site, draw)
            lives += 1
            if lives % LIVES == 0:
                site.remove()
                site = Site()
    finally:
        site.remove()
    return done


if __name__ == "__main__":
    for kind in FAULTS:
        start = time.perf_counter()
        found = campaign(kind, *map(int, sys.argv[1:]))
        taken = time.perf_counter() - start
        sys.stdout.write(f"{kind}: {dict(found)} in {taken:.0f} s\n")
