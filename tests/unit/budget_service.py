# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A budget service on loopback, and what its callers need."""

from contextlib import contextmanager

from officers import KEYS, policy

from fedcode.privacy.accountant import Cost
from fedcode.record import PrivacyUnit
from fedcode_client.budget import OfficersDesk, RemoteLedger, Role
from fedcode_client.budget.asking import address_in, connection
from fedcode_client.budget.service import KEYS as KEY_FOLDER
from fedcode_client.budget.service import Service

ORDER = 4.0
COST = Cost(1000, ORDER, 1e4, 1e-3, 1)
ASKED = {"asset": "code", "agreement": "a" * 64, "purpose": "research", "task": "t"}


def connect(folder, role):
    return connection(folder / KEY_FOLDER, role, address_in(folder))


def opened(desk, asset="code", **changes):
    """An account under a policy that two officers have signed."""
    signed = policy(*KEYS[:2], **changes)
    (account,) = desk.open_accounts([asset], signed, PrivacyUnit.FUNCTION, ORDER)
    return account


@contextmanager
def served(folder, *, patience=5.0):
    """A service with one account: a trainer's view of it, and an officer's."""
    with (
        Service(folder),
        RemoteLedger(connect(folder, Role.TRAINER), patience) as ledger,
        OfficersDesk(connect(folder, Role.OFFICER), patience) as desk,
    ):
        opened(desk)
        yield ledger, desk
