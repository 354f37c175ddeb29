# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Local training: DP-SGD on Opacus, noised counts, and plain training on public code."""
