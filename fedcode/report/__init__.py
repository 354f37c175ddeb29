# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What a person looks at: the page (``html``) and the end of a run in a terminal (``terminal``).

Both show what ``result`` reads; neither computes anything that ``result.json`` does not hold.
"""
