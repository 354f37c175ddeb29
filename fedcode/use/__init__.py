# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A trained model put to use on an organization's own code, on its own machine: nothing is sent."""
