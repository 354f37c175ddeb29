# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The app bundle that every run of ours names, since a stock SuperNode asks for one: it has no app.

It is one file of settings, the fewest that a SuperNode takes. Whoever gets any other bundle refuses
it: an app that a coordinator sends could read all that an organization has.
"""

from __future__ import annotations

import hashlib
import io
import zipfile

NAME, VERSION = "fedcode/nothing", "1"
"""The publisher and name, and the version, that the bundle itself says."""

_SETTINGS = """\
[project]
name = "nothing"
version = "1"
description = "No app. Each organization runs fedcode's code as it has installed it."

[tool.flwr.app]
publisher = "fedcode"

[tool.flwr.app.components]
serverapp = "nothing:nothing"
clientapp = "nothing:nothing"
"""


def _made() -> bytes:
    """The same bytes wherever it is made."""
    file = zipfile.ZipInfo("pyproject.toml", (1980, 1, 1, 0, 0, 0))
    file.create_system, file.external_attr = 3, 0o644 << 16
    with io.BytesIO() as made:
        with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as bundle:
            bundle.writestr(file, _SETTINGS)
        return made.getvalue()


EMPTY = _made()
"""The bundle."""

DIGEST = hashlib.sha256(EMPTY).hexdigest()
"""SHA-256 of it, which Flower knows a bundle by."""
