# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The models: networks as plain modules, and n-grams as tables of counts."""
