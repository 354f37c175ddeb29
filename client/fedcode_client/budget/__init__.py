# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The organization's ledger as a process of its own: who trains spends, who signs decides."""

from fedcode_client.budget.keys import Role, make_keys
from fedcode_client.budget.officers import OfficersDesk
from fedcode_client.budget.process import start_local
from fedcode_client.budget.remote import RemoteLedger

__all__ = ["OfficersDesk", "RemoteLedger", "Role", "make_keys", "start_local"]
