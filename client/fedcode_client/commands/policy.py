# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What an organization permits, and its officers' signatures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedcode.errors import ConfigError
from fedcode.privacy.organization import SignedPolicy, beside
from fedcode.signing import SigningKey

app = typer.Typer(no_args_is_help=True, help="What the organization permits; see docs/policy.md.")

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
PolicyFile = Annotated[Path, typer.Argument(metavar="POLICY.toml", help="The policy.")]


@app.command()
def key(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, for one officer.")],
    as_json: AsJson = False,
) -> None:
    """Make an officer's signing key, and print the public one for the policy's file."""
    made = SigningKey.generate()
    made.save(path)
    print(json.dumps({"file": str(path), "key": made.public}) if as_json else made.public)


@app.command()
def sign(
    path: PolicyFile,
    key: Annotated[Path, typer.Option(metavar="FILE", help="An officer's signing key.")],
    as_json: AsJson = False,
) -> None:
    """Sign a policy as it is now; the signature goes to the file beside it."""
    signed, mine = SignedPolicy.load(path), SigningKey.load(key)
    if mine.public not in {officer.key for officer in signed.policy.officers}:
        Console(stderr=True).print(
            "this key is no officer's of this version; one before may need it", soft_wrap=True
        )
    signed.sign(mine).save_signatures(path)
    version = signed.policy.version
    said = {"version": version, "signatures": str(beside(path)), "key": mine.public}
    print(json.dumps(said) if as_json else f"signed version {version}: {beside(path)}")


@app.command()
def check(
    path: PolicyFile,
    before: Annotated[
        Path | None, typer.Option(metavar="POLICY.toml", help="The version in force.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a policy is well formed, who has signed it, and whether that is enough."""
    signed = SignedPolicy.load(path)
    force = SignedPolicy.load(before).policy if before else None
    if force is None and signed.policy.version > 1:
        raise ConfigError(
            f"version {signed.policy.version} follows another one", "name that one: --before FILE"
        )
    signed.check(force)
    terms, signers = signed.policy, signed.signers((force or signed.policy).officers)
    if as_json:
        said = {"organization": terms.organization, "version": terms.version, "signers": signers}
        print(json.dumps(said))
        return
    names = ", ".join(signers)
    print(f"{terms.organization}, version {terms.version}: signed by {names}")
    if force is None:
        print("enough for the first version")
    else:
        what = "no more" if terms.permits_no_more_than(force) else "more"
        print(f"enough: it permits {what} than version {force.version}, if {before} is in force")
