# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Logs of the programs that go on for long: a line of JSON for each event, in files that rotate.

An exception's text can hold source code, and so can what a library says of one. So a line holds the
fixed words of ours that it was logged with, the fields that go with them, and of an exception its
class; of a library's words nothing but that there were some.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

OURS = ("fedcode", "fedcode_server", "fedcode_client")

_BYTES, _FILES = 5 << 20, 5


def configure(path: Path) -> None:
    """Writes what this process logs to ``path``; five files of 5 MiB are kept."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = RotatingFileHandler(path, maxBytes=_BYTES, backupCount=_FILES, encoding="utf-8")
    handler.setFormatter(Lines())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)


def event(logger: logging.Logger, words: str, level: int = logging.INFO, **fields: Any) -> None:
    """Logs an event.

    Args:
        logger: the module's.
        words: fixed: the same for every event of its kind.
        level: of :mod:`logging`.
        fields: what JSON has; names, codes, digests and numbers, never an exception's text.
    """
    logger.log(level, words, extra={"fields": fields})


def place(error: BaseException) -> str:
    """Where an error was raised, file and line: of its words nothing is said."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


class Lines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """See the class."""
        ours = record.name.partition(".")[0] in OURS
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "event": str(record.msg) if ours else "a library has something to say",
        }
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
        fields = getattr(record, "fields", None)
        if ours and isinstance(fields, dict):
            line |= {key: value for key, value in fields.items() if key not in line}
        # In ASCII: no terminal on which it is read obeys what stands in it.
        return json.dumps(line, default=lambda value: type(value).__name__)
