# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a person types, by subject: each file reads options and prints, and nothing else."""
