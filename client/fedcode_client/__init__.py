# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""An organization's program."""

import os

# A handshake that fails is told in codes; gRPC's core, which reads this when it is first imported,
# would write to stderr as well.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
