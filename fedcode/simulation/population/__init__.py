# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Federations of thousands of small members on one machine, cohort by cohort.

A member here is data, not a program: nothing is sent, and what protects it is stated in the result.
A whole federation of organizations, with all its messages, is ``fedcode.simulation.run``'s.
"""
