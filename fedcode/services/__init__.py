# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""gRPC services of ours, under mutual TLS: what is said beside the rounds.

The ``_pb2`` files are made from the ``.proto`` files by ``make proto``.
"""
