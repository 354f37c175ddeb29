# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Where the budget service is: elsewhere, if the settings say so, or beside us."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from fedcode_client.budget.asking import connection
from fedcode_client.budget.keys import Role
from fedcode_client.budget.officers import OfficersDesk
from fedcode_client.budget.process import start_local
from fedcode_client.budget.service import KEYS
from fedcode_client.home import Home


@contextmanager
def connects(home: Home, role: Role) -> Iterator[Callable[[], grpc.Channel]]:
    """What makes channels to the service; one beside us runs at least as long as the block.

    Raises:
        RunError: it does not start.
    """
    address = home.settings().budget
    if address is not None:
        yield connection(home.ledger / KEYS, role, lambda: address)
        return
    with start_local(home) as service:
        yield service.connects(role)


@contextmanager
def connected(home: Home, role: Role) -> Iterator[OfficersDesk]:
    """The service, as officers and those who only look see it.

    Raises:
        RunError: as :func:`connects`.
    """
    with connects(home, role) as connect, OfficersDesk(connect) as office:
        yield office
