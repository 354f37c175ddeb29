# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What an organization sets for its own machine; nothing of it is sent."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from fedcode.data_tests import AgentDataTests
from fedcode.federation import CODE, FixSettings, check_distinct, listed
from fedcode.filters import FilterSettings
from fedcode.strict import Count, Strict, formed

HINT = "the comments in client.toml say what there is"

_SOURCE = re.compile(r"(git|commits|package|wheel|path):.+")


def _sources(value: Any) -> tuple[str, ...]:
    """A source, or a list of them that differ."""
    several = listed(value, _SOURCE, f"{CODE}, or a list of them")
    check_distinct(several)
    return several


Sources = Annotated[tuple[str, ...], BeforeValidator(_sources)]
Address = Annotated[
    str,
    formed(r"^[^\s:/]+:[0-9]{1,5}$|^\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}$", "HOST:PORT"),
]
Port = Annotated[int, Field(ge=0, lt=1 << 16, strict=True)]


class ClientSettings(Strict):
    """``client.toml``.

    Attributes:
        source: the code that is trained on; ``git:DIR``, ``commits:DIR``, ``path:DIR``,
            ``package:NAME`` or ``wheel:FILE``, or a list of these.
        fixes: which commits mend a bug, where labels come from history.
        max_tokens: read so many tokens of each source at most, in an order fixed by the files'
            digests.
        budget: ``HOST:PORT`` of the organization's budget service; `up` starts one where it is
            absent.
        memory_mib: for the tensors of a step.
        threads: of training.
        largest_mib: of a message, either way.
        local: port of health and metrics, on loopback; 0 for any.
        front: port on loopback that a SuperNode calls, with ``up --supernode``; 0 for any.
        supernode: port on loopback that this SuperNode listens on.
        filters: what must not be trained on.
        data_tests: when our data may not be trained on.
    """

    source: Sources = ()
    fixes: FixSettings = FixSettings()
    max_tokens: Count | None = None
    budget: Address | None = None
    memory_mib: Count = 512
    threads: Count = 1
    largest_mib: Count = 512
    local: Port = 0
    front: Port = 9482
    supernode: Annotated[Port, Field(ge=1)] = 9483
    filters: FilterSettings = FilterSettings()
    data_tests: AgentDataTests = AgentDataTests()


TOML = """\
# An organization's side of a federation. `fedcode-client up` reads this file when it starts.
# Nothing in it is sent to anybody.

# The code that is trained on: git:DIR, path:DIR, package:NAME (installed) or wheel:FILE. Several
# are trained on together, and the account of each pays for every round.
# source = ["git:/srv/billing", "git:/srv/shop"]

# Of each so many tokens at most.
# max_tokens = 10000000

# The organization's budget service, where it runs on its own; otherwise `up` starts one.
# budget = "budget.example:9481"

memory_mib = 512      # for the tensors of a training step
threads = 1           # of training
largest_mib = 512     # of a message, either way
local = 0             # port of health and metrics, on 127.0.0.1; 0 for any that is free

# For `up --supernode` alone: ports on 127.0.0.1, of the front that a stock SuperNode calls, and of
# the SuperNode itself.
# front = 9482
# supernode = 9483

# Where labels come from our history: what else is a fix, and what is none; and our tracker's keys
# and export (CSV with columns key and type). docs/histories.md.
# [fixes]
# patterns = ["^Mends "]
# other = ['\\[noise\\]']
# issues = 'PROJ-\\d+'
# tracker = "/srv/issues.csv"

# What must not be trained on: all filters are on, and docs/filters.md says what each of them takes.
# Who opted out stands in opted-out.txt, what was erased in erased.json, both beside this file.
# [filters]
# generated = false                               # files that programs wrote may stay
# allowed_licences = ["Apache-2.0", "MIT"]        # SPDX; the default is all that are permissive
# deep_secrets = true                             # look for secrets with detect-secrets, too

# All that would be trained on is tested first; docs/data.md says how, and what else can be set.
# [data_tests]
# off = ["drift-labels"]
# most_duplicates = 0.02                          # of the records
"""
