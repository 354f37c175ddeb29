# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Train code models and defect models together, privately, on code that never leaves its owner.

This is the public API; everything else may change. Nothing here needs torch to be imported.
"""

from fedcode.agreement import Agreement
from fedcode.errors import BudgetExhausted, ConfigError, FedcodeError, PrivacyError, UsageError
from fedcode.federation import Federation
from fedcode.privacy.ledger import BudgetLedger
from fedcode.privacy.policy import PrivacyPolicy
from fedcode.privacy.release import Release
from fedcode.record import Corpus, PrivacyUnit, Record
from fedcode.task import CountTask, GradientTask, Metric

__all__ = [
    "Agreement",
    "BudgetExhausted",
    "BudgetLedger",
    "ConfigError",
    "Corpus",
    "CountTask",
    "FedcodeError",
    "Federation",
    "GradientTask",
    "Metric",
    "PrivacyError",
    "PrivacyPolicy",
    "PrivacyUnit",
    "Record",
    "Release",
    "UsageError",
]
