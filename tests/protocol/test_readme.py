# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The README's transcript of enrolment is what the commands print."""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
PROGRAMS = {"fedcode-server": "fedcode_server.cli", "fedcode-client": "fedcode_client.cli"}
SAME = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "KEY"),
    (re.compile(r"\b[\w-]{103}(?=@)"), "TOKEN"),
    (re.compile(r"\b[\w-]{4}…[\w-]{6}@"), "TO…KEN@"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"), "DAY"),
    (re.compile(r"\b\d{4,5}\b"), "PORT"),
)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each command of the transcript, and the lines that follow it."""
    text = README.read_text(encoding="utf-8")
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.rstrip("\n").split("\n")
            yield command, lines


def alike(lines: list[str]) -> list[str]:
    """Lines without what is different every time."""
    found = []
    for line in lines:
        for pattern, word in SAME:
            line = pattern.sub(word, line)
        found.append(line)
    return found


def free() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def typed(command: str, token: str) -> list[str]:
    program, *words = shlex.split(command.removesuffix(" &"))
    words = [re.sub(r"^[\w-]{103}@.*", token, word) for word in words]
    code = f"import sys; from {PROGRAMS[program]} import main; sys.argv[0] = {program!r}; main()"
    return [sys.executable, "-c", code, *words]


def test_the_transcript_is_what_the_commands_print(tmp_path: Path) -> None:
    began = time.monotonic()
    token = ""
    with contextlib.ExitStack() as running:
        for command, lines in commands():
            words = typed(command, token)
            if command.endswith(" &"):
                process = running.enter_context(
                    subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
                )
                running.callback(process.terminate)
                printed = [process.stdout.readline().rstrip("\n") for _ in lines]
            else:
                done = subprocess.run(
                    words, cwd=tmp_path, capture_output=True, text=True, timeout=60
                )
                assert done.returncode == 0, done.stderr
                printed = done.stdout.rstrip("\n").split("\n")
            assert alike(printed) == alike(lines), command
            if "server init" in command:
                settings = tmp_path / "coordinator" / "server.toml"
                text = settings.read_text(encoding="utf-8").replace("0.0.0.0", "127.0.0.1")
                for port in ("9471", "9472", "9473"):
                    text = text.replace(port, str(free()))
                settings.write_text(text, encoding="utf-8")
            if "invite" in command:
                token = printed[0]
    assert time.monotonic() - began < 120


def test_the_transcript_has_three_commands_on_each_side() -> None:
    programs = [command.split()[0] for command, _ in commands()]
    assert programs == ["fedcode-server"] * 3 + ["fedcode-client"] * 3
