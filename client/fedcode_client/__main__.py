# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m fedcode_client``: the program, with the interpreter that runs it."""

from fedcode_client.cli import main

main()
