# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Per-record clipping in one backward pass ("book-keeping"), on unmodified ``nn.Module``s.

Autograd computes no weight gradients. Every trainable layer notes what entered it and the gradient
of what left it; from the two follow the norm of each record's gradient, and, once the factors are
known, one product per weight gives the clipped sum. After Bu et al. 2022, arXiv:2210.00038; the
closed forms of the norms after Li et al. 2021, arXiv:2110.05679.
"""
