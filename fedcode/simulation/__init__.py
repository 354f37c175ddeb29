# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A whole federation on one machine: both halves of every round, and the arms to compare with."""
