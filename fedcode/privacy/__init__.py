# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Policy, noise, accounting, the ledger, and the types of what may leave.

Numbers in frozen dataclasses here are public; arguments of methods may be private.
"""
