# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Health and Prometheus metrics of a program, on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from fedcode.transport.front import App, Receive, Scope, Send


def local_app(health: Callable[[], Mapping[str, object]], metrics: CollectorRegistry) -> App:
    """``/health`` (200, or 503 if ``health()["ok"]`` is false) and ``/metrics``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        if scope["type"] != "http":
            return
        status, kind, body = 404, "text/plain", b""
        if scope["method"] == "GET" and scope["path"] == "/health":
            found = health()
            status, kind = (200 if found["ok"] else 503), "application/json"
            body = json.dumps(found).encode()
        elif scope["method"] == "GET" and scope["path"] == "/metrics":
            status, kind, body = 200, CONTENT_TYPE_LATEST, generate_latest(metrics)
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app
