# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The budget service as a process: found, kept alive, ended, and never two on one ledger."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from budget_service import ASKED, COST, opened

from fedcode.errors import RunError
from fedcode.privacy.ledger import BudgetLedger
from fedcode_client.budget import OfficersDesk, RemoteLedger, Role, start_local
from fedcode_client.budget.service import ADDRESS, LEDGER
from fedcode_client.home import Home
from fedcode_client.home import make as make_home

SERVE = [sys.executable, "-m", "fedcode_client", "budget", "serve", "--home"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("organization") / "home"
    make_home(root)
    return Home(root)


def until(holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.02)


def gone(pid):
    """Whether nobody runs under this number, or only its remains."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        return state.rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_service_is_started_where_none_is_and_again_when_it_dies(home) -> None:
    with start_local(home) as service, OfficersDesk(service.connects(Role.OFFICER)) as desk:
        opened(desk)
        with RemoteLedger(service.connects(Role.TRAINER)) as ledger:
            ledger.charge(COST, round=1, **ASKED)
            first = service.pid
            os.kill(first, signal.SIGKILL)
            ledger.charge(COST, round=2, **ASKED)  # as soon as there is another one
            assert service.pid != first
            with start_local(home) as found:  # it is used, not doubled, and outlives who found it
                assert found.pid is None
            ledger.charge(COST, round=3, **ASKED)
        last = service.pid
    assert gone(last)
    with BudgetLedger.open(home.ledger / LEDGER) as ledger:
        assert [charge.round for charge in ledger.history("code")] == [1, 2, 3]


def test_a_second_service_says_so_in_one_line_and_the_first_ends_cleanly(home) -> None:
    (home.ledger / ADDRESS).unlink(missing_ok=True)
    with subprocess.Popen(
        [*SERVE, str(home.root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as first:
        until((home.ledger / ADDRESS).exists)
        second = subprocess.run(
            [*SERVE, str(home.root)], capture_output=True, text=True, timeout=60
        )
        assert second.returncode == 2
        assert second.stdout == ""
        assert second.stderr == (
            f"fedcode-client: another budget service has the ledger in {home.ledger}\n"
            "hint: one is enough: use it\n"
        )
        first.send_signal(signal.SIGTERM)
        out, err = first.communicate(timeout=30)
    assert (first.returncode, err) == (0, "")
    assert out.startswith("serving the ledger at 127.0.0.1:")


def test_a_service_ends_with_the_program_that_has_started_it(home) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from fedcode_client.budget import start_local; from fedcode_client.home import Home\n"
        f"service = start_local(Home(Path({str(home.root)!r}))); print(service.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        pid = int(owner.stdout.readline())
        assert not gone(pid)
        owner.kill()
    until(lambda: gone(pid))
    with start_local(home) as service:  # the ledger is free again
        assert service.pid not in (None, pid)


def test_a_service_that_cannot_start_is_said(tmp_path, capfd) -> None:
    make_home(tmp_path / "home")
    damaged = Home(tmp_path / "home")
    (damaged.ledger / LEDGER).write_bytes(b"not a ledger at all" * 100)
    with pytest.raises(RunError, match="the budget service did not start"):
        start_local(damaged)
    assert "is not a ledger" in capfd.readouterr().err


def test_a_service_that_was_found_is_replaced_when_it_goes(home) -> None:
    """It was that of a program before us, and has not noticed yet that this one has ended."""
    with start_local(home) as before:
        with start_local(home) as service:
            assert service.pid is None
            os.kill(before.pid, signal.SIGSTOP)  # nobody starts it again
            before._ending.set()
            os.kill(before.pid, signal.SIGKILL)
            until(lambda: service.pid is not None)
            until(service._answers)
        assert service.pid != before.pid


ELSEWHERE = """
import signal, sys, threading, time
from pathlib import Path
from fedcode_client.budget.process import serve
from fedcode_client.home import Home

def shoot():
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    time.sleep(60)

serve(Home(Path(sys.argv[1])), tell=lambda _: threading.Thread(target=shoot, daemon=True).start())
"""


def test_a_signal_ends_it_whichever_thread_it_comes_to(tmp_path) -> None:
    """The handler is the main thread's, which a signal to another one does not wake."""
    make_home(tmp_path / "home")
    words = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "home")]
    assert subprocess.run(words, timeout=30, check=False).returncode == 0
