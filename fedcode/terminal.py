# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The rules of the terminal, the same for all three programs.

Results on stdout; everything else on stderr: one line with the program's name, no capital, no full
stop, and a hint on a line of its own. Exit code 2 for what a person can mend.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from fedcode.errors import ConfigError, FedcodeError, RunError


def run(app: typer.Typer, program: str) -> NoReturn:
    """Runs ``app`` and leaves the process."""
    try:
        app(prog_name=program, standalone_mode=False)
    except FedcodeError as error:
        _fail(error, program)
    except (KeyboardInterrupt, typer.Abort):
        _fail(RunError("stopped by Ctrl-C"), program)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message().rstrip(".")
        _fail(ConfigError(message[:1].lower() + message[1:], f"{program} --help"), program)
    sys.exit(0)


def _fail(error: FedcodeError, program: str) -> NoReturn:
    sys.stderr.write(f"{program}: {error}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
    sys.exit(2)
