# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Members that are killed, starved, cut off and set back, thousands of times."""
