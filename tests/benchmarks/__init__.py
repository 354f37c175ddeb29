# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: `make bench [ONLY=area]` prints a table and writes bench.json."""
