# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Where the budget service is: elsewhere, if that was configured, or beside us."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from fedcode_client.budget.asking import connection
from fedcode_client.budget.keys import Role, folder_of
from fedcode_client.budget.officers import OfficersDesk
from fedcode_client.budget.process import start_local
from fedcode_client.budget.service import KEYS

ADDRESS, KEY_FOLDER = "FEDCODE_BUDGET", "FEDCODE_BUDGET_KEYS"
"""Environment: ``HOST:PORT`` of a service elsewhere, and the folder of our key for it."""


@contextmanager
def connects(
    home: Path, role: Role, address: str | None = None
) -> Iterator[Callable[[], grpc.Channel]]:
    """What makes channels to the service; one beside us runs at least as long as the block.

    Args:
        home: the organization's folder.
        role: as whom.
        address: of a service elsewhere, if the settings name one; the environment comes first.

    Raises:
        RunError: it does not start.
        ConfigError: we have no key for this role.
    """
    elsewhere = os.environ.get(ADDRESS) or address
    if elsewhere:
        keys = Path(os.environ.get(KEY_FOLDER) or folder_of(home) / KEYS)
        yield connection(keys, role, lambda: elsewhere)
        return
    with start_local(home) as service:
        yield service.connects(role)


@contextmanager
def connected(home: Path, role: Role, address: str | None = None) -> Iterator[OfficersDesk]:
    """The service, as officers and those who only look see it; see :func:`connects`."""
    with connects(home, role, address) as connect, OfficersDesk(connect) as office:
        yield office
