# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Ray, as a simulation wants it: one of its own on this machine, or a cluster that is running."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal
from uuid import uuid4

from fedcode.errors import ConfigError, Interrupted

EngineName = Literal["memory", "flower"]
"""Where the members of a federation live: in one process, or on Flower's runtime."""

ADDRESS = "RAY_ADDRESS"
"""The environment names a cluster by this, as Ray has it."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns that it will be so
}
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Where Ray builds no clusters, it listens on the loopback interface alone."""

_SHORT, _PREFIX = "/tmp", "fedcode-ray-"  # noqa: S108  Ray's sockets have long names of their own
_PATIENCE = 5.0


def check_usable() -> None:
    """Refuses the engine where it could not be used, before anything is read.

    Raises:
        ConfigError: Ray is not installed, or nobody listens at the cluster's address.
    """
    if find_spec("ray") is None:
        raise ConfigError(
            "--engine flower needs Ray, which is not installed",
            "pip install 'fedcode[flower-engine]'",
        )
    host, _, port = os.environ.get(ADDRESS, "").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), _PATIENCE).close()
        except OSError as error:  # Ray itself would try for minutes
            raise _not_joined(own=False) from error


@contextmanager
def joined() -> Iterator[int]:
    """Ray while the block runs, which must be entered in a process's main thread.

    Without :data:`ADDRESS` in the environment Ray is started here, and ends with this process,
    however that ends: it listens on the loopback interface alone, to those who know its token, and
    what it writes goes at the end.

    Yields:
        All cores of the cluster.

    Raises:
        ConfigError: there is no Ray to join, or none can be started.
    """
    own = ADDRESS not in os.environ
    os.environ.update(_QUIET)
    if own:
        os.environ.update(_LOOPBACK)
        os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid4().hex})
    import ray

    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=_SHORT) as folder:
        # Ray opens its folder to everybody: it stands in one that is ours alone
        ours = {"address": "local", "include_dashboard": False, "_temp_dir": f"{folder}/ray"}
        try:
            ray.init(
                log_to_driver=False, logging_level="ERROR", configure_logging=True,
                **(ours if own else {}),
            )  # fmt: skip
        except (OSError, RuntimeError, ValueError) as error:
            raise _not_joined(own=own) from error
        try:
            yield int(ray.cluster_resources().get("CPU", 1))
        finally:
            ray.shutdown()


def _not_joined(*, own: bool) -> ConfigError:
    if own:
        return ConfigError("Ray cannot be started", f"can {_SHORT} be written?")
    return ConfigError(f"there is no Ray to join at {os.environ[ADDRESS]}", f"is {ADDRESS} right?")


def answer_of(reference: Any) -> Any:
    """What an actor's method returns, or a list of them; what it raises is raised here as it was.

    Raises:
        Interrupted: the process in which it ran is gone.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise Interrupted("one of Ray's processes has ended; was there enough memory?") from error
