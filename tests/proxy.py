# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy on loopback that does what networks do: delay, reset, stall, fall silent, trickle."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_PIECE = 1 << 16
_LOOK = 0.01


@dataclass
class Weather:
    """What happens to bytes, from now on; all of it may change at any time.

    Attributes:
        delay: seconds that every byte takes, each way.
        trickle: bytes a second of each connection, each way; 0 for as many as there are.
        resets: how likely a piece ends its connection (RST) instead of arriving.
        stalled: nothing goes on until it is over; connections stay.
        silent: a new connection is taken, and nobody is there (half open).
    """

    delay: float = 0.0
    trickle: float = 0.0
    resets: float = 0.0
    stalled: bool = False
    silent: bool = False


class Proxy:
    """Passes connections on to a port of this machine.

    Args:
        to: the port.
        seed: of what happens at random.

    Attributes:
        port: its own.
        weather: in which it does.
        counts: connections, and those that were reset.
    """

    def __init__(self, to: int, seed: int = 1) -> None:
        self.weather, self._to, self._draw = Weather(), to, random.Random(seed)
        self.counts = {"connections": 0, "resets": 0}
        self._vanished = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="proxy")
        self._thread.start()
        assert self._ready.wait(10)

    def vanish(self) -> None:
        """Whoever is connected now hears nothing any more: not even that it is over."""
        self._vanished += 1

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=_PIECE)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.counts["connections"] += 1
        writers = [back]
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                if self.weather.silent:
                    await self._ended.wait()
                far, out = await asyncio.open_connection("127.0.0.1", self._to, limit=_PIECE)
                writers.append(out)
                await asyncio.gather(self._pump(near, out, writers), self._pump(far, back, writers))
        finally:
            self._tasks.discard(task)
            for one in writers:
                one.transport.abort() if one.transport else None

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        both: list[asyncio.StreamWriter],
    ) -> None:
        """One way of a connection."""
        mine, queue = self._vanished, asyncio.Queue[tuple[float, bytes]](64)
        reading = asyncio.create_task(self._read(source, queue))
        try:
            while True:
                due, piece = await queue.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                while self.weather.stalled or mine != self._vanished:
                    await asyncio.sleep(_LOOK)
                if not piece:
                    sink.write_eof() if sink.can_write_eof() else None
                    return
                if self._draw.random() < self.weather.resets:
                    self._reset(both)
                    raise ConnectionResetError
                await self._write(sink, piece)
        finally:
            reading.cancel()

    async def _read(
        self, source: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        piece = b"more"
        while piece:
            try:
                piece = await source.read(_PIECE)
            except OSError:
                piece = b""
            await queue.put((time.monotonic() + self.weather.delay, piece))

    async def _write(self, sink: asyncio.StreamWriter, piece: bytes) -> None:
        while piece:
            rate = self.weather.trickle
            size = max(1, int(rate * 0.05)) if rate else len(piece)
            sink.write(piece[:size])
            await sink.drain()
            piece = piece[size:]
            if rate:
                await asyncio.sleep(size / rate)

    def _reset(self, both: list[asyncio.StreamWriter]) -> None:
        self.counts["resets"] += 1
        for one in both:
            end = one.get_extra_info("socket")
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.transport.abort()


@contextmanager
def proxy(to: int, seed: int = 1) -> Iterator[Proxy]:
    """A proxy that ends with the block."""
    made = Proxy(to, seed)
    try:
        yield made
    finally:
        made.close()
