# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The secure sum ``fedcode-secagg/1``: the coordinator learns the total and no term of it.

Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving Machine Learning", in
the variant against an active server, among all pairs of members (docs/protocol.md). Two state
machines without any input or output: messages go in, messages come out.
"""

from fedcode.secure_sum.coordinator import Summation
from fedcode.secure_sum.member import Latch, SummingMember
from fedcode.secure_sum.session import Session

__all__ = ["Latch", "Session", "Summation", "SummingMember"]
