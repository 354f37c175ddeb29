# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""One organization's record of what it has spent: it can be read, added to, and never overspent."""

from fedcode.privacy.ledger.account import Account, Caps
from fedcode.privacy.ledger.acknowledgement import Acknowledgement
from fedcode.privacy.ledger.charge import Answer, Charge, ChargeId
from fedcode.privacy.ledger.ledger import BudgetLedger
from fedcode.privacy.ledger.protocol import Ledger, WitnessedLedger
from fedcode.privacy.ledger.totals import Left
from fedcode.privacy.ledger.witness import CountersignedHead

__all__ = [
    "Account",
    "Acknowledgement",
    "Answer",
    "BudgetLedger",
    "Caps",
    "Charge",
    "ChargeId",
    "CountersignedHead",
    "Ledger",
    "Left",
    "WitnessedLedger",
]
