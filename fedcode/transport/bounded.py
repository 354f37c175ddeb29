# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Calls over HTTP of which nothing may come back that is longer than any answer."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Iterator
from typing import Any

import httpx

from fedcode.errors import FedcodeError, TransportError, TransportRefusal

_WHOLE = 600.0
"""Seconds for a whole answer, while each of its pieces comes in time."""

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class translated:  # noqa: N801  a context manager, used like a function
    """What httpx and Flower raise, as two errors: try again, or do not.

    Args:
        whom: who was called.

    Raises:
        TransportError: it cannot be reached now, or answers what is no answer.
        TransportRefusal: it refuses.
    """

    def __init__(self, whom: str) -> None:
        self._whom = whom

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, httpx.HTTPStatusError):
            status = error.response.status_code
            if status in (408, 429) or status >= 500:
                raise TransportError(f"{self._whom} answers {status}") from error
            raise TransportRefusal(f"{self._whom} answers {status}") from error
        if isinstance(error, (httpx.HTTPError, httpx.StreamError, ssl.SSLError, OSError)):
            raise TransportError(f"{self._whom} cannot be reached") from error
        if isinstance(error, Exception) and not isinstance(error, FedcodeError):
            raise TransportError(f"{self._whom} answers what is no answer") from error


class Bounded(httpx.HTTPTransport):
    """Takes no more bytes of an answer than it may have, and none that are packed.

    Args:
        most: bytes of an answer.
        tls: of the connection; None for one without, which is on loopback then.
    """

    def __init__(self, most: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(verify=tls or False, trust_env=False, retries=0)
        self._most = most

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See the class."""
        response = super().handle_request(request)
        length = response.headers.get("content-length", "0")
        packed = response.headers.get("content-encoding", "identity") != "identity"
        if packed or not length.isdecimal() or int(length) > self._most:
            response.close()
            raise httpx.ReadError("an answer of another form or size than any", request=request)
        response.headers.pop("set-cookie", None)  # or it could have us say something again
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Counted(response.stream, self._most)
        return response


class _Counted(httpx.SyncByteStream):
    """A stream that ends with an error when it grows too long, or takes too long."""

    def __init__(self, stream: httpx.SyncByteStream, most: int) -> None:
        self._stream, self._left = stream, most
        self._end = time.monotonic() + _WHOLE

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._left -= len(piece)
            if self._left < 0:
                raise httpx.ReadError("an answer of more bytes than any")
            if time.monotonic() > self._end:
                raise httpx.ReadTimeout("an answer that does not end")
            yield piece

    def close(self) -> None:
        """Closes the stream."""
        self._stream.close()
