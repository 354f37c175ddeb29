# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The rules of the terminal, the same for all three programs.

Results on stdout; everything else on stderr: one line with the program's name, no capital, no full
stop, and a hint on a line of its own. Exit code 2 for what a person can mend.
"""

from __future__ import annotations

import errno
import sys
from typing import NoReturn

import typer

from fedcode.errors import ConfigError, FedcodeError, RunError

_USAGE = 2
_INTERRUPTED = 130  # what typer makes of Ctrl-C

_ELSEWHERE = "look at its owner and its permissions, or name another place"
_PLACES = {
    errno.EACCES: ("cannot be read or written: permission denied", _ELSEWHERE),
    errno.EPERM: ("cannot be read or written: permission denied", _ELSEWHERE),
    errno.EROFS: ("lies where nothing can be written", "name another place"),
    errno.ENOENT: ("is not there", "name another one"),
    errno.EEXIST: ("is there already", "name another place"),
    errno.ENOTDIR: ("would lie in a file, not in a folder", "name another place"),
    errno.EISDIR: ("is a folder", "name a file"),
    errno.ENAMETOOLONG: ("has a name that is too long", "name another place"),
    errno.ENOSPC: ("cannot be written: the disk is full", "make room"),
    errno.EDQUOT: ("cannot be written: our share of the disk is full", "make room"),
}
"""What a file system refuses that a person can mend; everything else is a mistake of ours."""


def run(app: typer.Typer, program: str) -> NoReturn:
    """Runs ``app`` and leaves the process."""
    try:
        code = app(prog_name=program, standalone_mode=False)
    except FedcodeError as error:
        _fail(error, program)
    except (KeyboardInterrupt, typer.Abort):
        _fail(RunError("stopped by Ctrl-C"), program)
    except OSError as error:
        if error.errno not in _PLACES or error.filename is None:
            raise
        words, hint = _PLACES[error.errno]
        _fail(RunError(f"{error.filename} {words}", hint), program)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message().rstrip(".")
        if not message:  # no arguments: the help has been shown
            sys.exit(_USAGE)
        _fail(ConfigError(message[:1].lower() + message[1:], f"{program} --help"), program)
    if code == _INTERRUPTED:
        _fail(RunError("stopped by Ctrl-C"), program)
    sys.exit(code)


def confirm(question: str, otherwise: FedcodeError) -> None:
    """Asks on stderr; only yes goes on.

    Raises:
        FedcodeError: ``otherwise``, at any other answer and at the end of the input.
        Abort: Ctrl-C.
    """
    try:
        if typer.confirm(question, err=True):
            return
    except typer.Abort as stopped:
        if not isinstance(stopped.__context__, EOFError):  # typer makes one of both
            raise
        sys.stderr.write("\n")
    raise otherwise


def _fail(error: FedcodeError, program: str) -> NoReturn:
    sys.stderr.write(f"{program}: {printable(str(error))}\n")
    if error.hint:
        sys.stderr.write(f"hint: {printable(error.hint)}\n")
    sys.exit(_USAGE)


def printable(text: str) -> str:
    """One line without what a terminal would obey: a name in it may be somebody else's."""
    line = " ".join(text.split())
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line
    )
