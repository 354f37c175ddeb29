# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""A start file of a few numbers, and a public corpus of three files, for tests."""

import numpy as np

from fedcode.corpus import parse
from fedcode.record import Corpus
from fedcode.start import Start

FILES = {
    "a.py": "import os\n\ndef one(x):\n    return x\n\nclass A:\n    def b(self):\n        pass\n",
    "b/c.py": "X = 'ß'\n\n\ndef one(x):\n    return x + 1\n\n\nY = 3\n",
    "d.py": "import os\n",
}


def corpus(files=None):
    """Of ``FILES``."""
    found = (files or FILES).items()
    return Corpus("public", tuple(parse(path, text) for path, text in sorted(found)))


def start(**changes):
    """A start of four weights and one frozen tensor."""
    values = {
        "fingerprint": "0f" * 32,
        "public": "1e" * 32,
        "weights": np.arange(4, dtype=np.float32),
        "frozen": {"embedding.weight": np.ones((2, 3), np.float32)},
    }
    task, settings = changes.pop("task", "completion"), changes.pop("settings", {"hidden": 8})
    return Start.make(task, settings, **values | changes)
