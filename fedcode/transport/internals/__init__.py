# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""All that fedcode uses of Flower beyond its public API; nothing else imports it.

Flower may change any of it without notice. ``tests/unit/test_flower_contract.py`` names what did.
"""

import logging

logging.getLogger("flwr").setLevel(logging.CRITICAL)  # what it says of requests is no news of ours
