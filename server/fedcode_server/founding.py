# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Makes a coordinator's folder; what is there already stays as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from fedcode.certificates import Authority, key_pem, new_key
from fedcode.errors import ConfigError
from fedcode.signing import SigningKey
from fedcode.storage import write_atomically
from fedcode.strict import checked
from fedcode_server.registry import Registry
from fedcode_server.settings import Home, ServerSettings

_TOML = """\
# The coordinator of a federation. `fedcode-server up` reads this file when it starts.

# Its name stands in all that members sign: it stays as it is once somebody has joined.
federation = {federation}

# Names and addresses under which members reach this machine: its certificate holds for these alone.
hosts = {hosts}

[listen]
address = "0.0.0.0"   # of this machine, for the two ports that members call
enrolment = 9471      # gRPC: enrolment, offers, start files
fleet = 9472          # HTTPS: the rounds
local = 9473          # health and metrics, on 127.0.0.1

[certificates]        # both kinds are renewed, without being asked, when a third of it is left
member_days = 90
server_days = 365

[rounds]
answer_seconds = 120      # for what a member says at once
training_seconds = 7200   # for what it trains first
away_seconds = 60         # an agent that is gone for so long is not waited for in this round
gather_seconds = 30       # a round waits so long for everybody, then begins with those there
lost_in_a_row = 5         # after so many rounds without a total a run stops: members have paid
largest_mib = 512         # of a message
"""


def found(root: Path, federation: str | None, hosts: Sequence[str]) -> list[Path]:
    """Makes what the folder lacks: settings, keys, certificates, registry; returns what it made.

    Args:
        root: the folder.
        federation: its name; the folder's where it is None.
        hosts: for the server's certificate; ``localhost`` where there are none.

    Raises:
        ConfigError: what is there is something else than what is asked for, or a part is missing.
    """
    home, made = Home(root), list[Path]()
    name = federation or root.resolve().name
    wanted = {"federation": name, "hosts": tuple(dict.fromkeys(hosts)) or ("localhost",)}
    checked(ServerSettings, wanted, "the federation", "name it: --federation NAME, --host NAME")
    if home.toml.exists():
        _check_same(home, federation, hosts)
    else:
        home.check_new()
    home.make()
    made += _keys(home, name)
    if not home.toml.exists():
        written = {key: json.dumps(value) for key, value in wanted.items()}
        write_atomically(home.toml, _TOML.format(**written).encode())
        made.append(home.toml)
    if not (home.keys / "server.crt").exists():
        home.server_chain()
        made.append(home.keys / "server.crt")
    if not home.registry.exists():
        Registry.open(home.registry).close()
        made.append(home.registry)
    return made


def _keys(home: Home, name: str) -> list[Path]:
    made = list[Path]()
    key, certificate = home.keys / "ca.key", home.keys / "ca.crt"
    if key.exists() != certificate.exists() or (home.registry.exists() and not key.exists()):
        raise ConfigError(
            f"{certificate if key.exists() else key} is missing, and members may rely on it",
            "bring it back from a backup; without it: a new folder, and all members join again",
        )
    if not key.exists():
        Authority.make(f"fedcode {name}"[:64]).save(key, certificate)
        made += [key, certificate]
    key = home.keys / "server.key"
    if not key.exists():
        write_atomically(key, key_pem(new_key()))
        (home.keys / "server.crt").unlink(missing_ok=True)
        made.append(key)
    key = home.keys / "signing.key"
    if not key.exists():
        if home.registry.exists():
            raise ConfigError(
                f"{key} is missing, and members know it", "bring it back from a backup"
            )
        SigningKey.generate().save(key)
        made.append(key)
    return made


def _check_same(home: Home, federation: str | None, hosts: Sequence[str]) -> None:
    there = home.settings()
    if federation not in (None, there.federation):
        raise ConfigError(
            f"{home.root} is the folder of {there.federation}",
            "name another folder for another one",
        )
    if more := sorted(set(hosts) - set(there.hosts)):
        raise ConfigError(
            f"{home.toml} does not name {more[0]}",
            "add it to `hosts` there: the certificate follows",
        )
