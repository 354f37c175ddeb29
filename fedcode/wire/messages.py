# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The messages and their bytes.

A message is ``fedcode/1`` ‖ kind (1 byte) ‖ length of the header (4 bytes, big-endian) ‖ header
(canonical JSON) ‖ payload (little-endian float32). Whatever differs from what :func:`encode` would
have written is refused: unknown kinds and keys, other orders, spaces, missing or extra bytes,
values that are not finite.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from fedcode.errors import WireError
from fedcode.privacy.release import Unmasked
from fedcode.weights import Vector, digest

_MAGIC = b"fedcode/1"
_MAX_HEADER = 1 << 20
_HEX = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class RefusalCode(StrEnum):
    """Why a member takes no part in a round. A code, never text: text can hold source code."""

    BUDGET = "budget"
    AGREEMENT = "agreement"
    PLAN = "plan"
    POLICY = "policy"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The coordinator's offer of one round.

    Attributes:
        agreement: the agreement's digest.
        round: from 1.
        cohort: the members asked, sorted.
        weights: the current weights, shape (d,).
    """

    agreement: str
    round: int
    cohort: tuple[str, ...]
    weights: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What a member sends after its local steps.

    Attributes:
        agreement: the agreement's digest.
        round: the plan's.
        member: the sender's name.
        term: the change of weights, noised and paid for, shape (d,).
    """

    agreement: str
    round: int
    member: str
    term: Unmasked


@dataclass(frozen=True, slots=True)
class Refusal:
    """A member takes no part in this round."""

    agreement: str
    round: int
    member: str
    code: RefusalCode


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedUpdate:
    """An :class:`Update` as it arrives: a vector, shape (d,), of which nothing is known."""

    agreement: str
    round: int
    member: str
    values: Vector


Message = Plan | Update | Refusal
Received = Plan | ReceivedUpdate | Refusal


def encode(message: Message) -> bytes:
    """The bytes of ``message``."""
    match message:
        case Plan(agreement, number, cohort, weights):
            header = {"agreement": agreement, "round": number, "cohort": list(cohort)}
            return _frame(b"P", header | {"weights": digest(weights)}, weights)
        case Update(agreement, number, member, term):
            return _frame(
                b"U", {"agreement": agreement, "round": number, "member": member}, term.values
            )
        case Refusal(agreement, number, member, code):
            header = {"agreement": agreement, "round": number, "member": member}
            return _frame(b"R", header | {"code": str(code)}, np.zeros(0, np.float32))


def decode(data: bytes, *, weights: int) -> Received:
    """Reads a message.

    Args:
        data: the bytes; nothing in them is trusted.
        weights: the agreement's number of weights; a payload of another length is refused.

    Raises:
        WireError: the bytes are not exactly what :func:`encode` writes.
    """
    kind, header, payload = _unframe(data, weights)
    agreement, number = _text(header, "agreement", _HEX), header.get("round")
    if type(number) is not int or not 1 <= number <= 1_000_000:
        raise WireError("round is not a number from 1")
    if kind == b"P":
        _only(header, "agreement", "round", "cohort", "weights")
        if digest(payload) != _text(header, "weights", _HEX):
            raise WireError("the weights are not those that the plan names")
        return Plan(agreement, number, _cohort(header), payload)
    member = _text(header, "member", _NAME)
    if kind == b"U":
        _only(header, "agreement", "round", "member")
        return ReceivedUpdate(agreement, number, member, payload)
    _only(header, "agreement", "round", "member", "code")
    try:
        return Refusal(agreement, number, member, RefusalCode(header["code"]))
    except ValueError as error:
        raise WireError("unknown refusal code") from error


def _frame(kind: bytes, header: dict[str, Any], payload: Vector) -> bytes:
    text = _canonical(header)
    body = np.ascontiguousarray(payload, dtype="<f4").tobytes()
    return _MAGIC + kind + len(text).to_bytes(4, "big") + text + body


def _unframe(data: bytes, weights: int) -> tuple[bytes, dict[str, Any], Vector]:
    start = len(_MAGIC) + 5
    kind, size = data[len(_MAGIC) : len(_MAGIC) + 1], int.from_bytes(data[start - 4 : start], "big")
    if not data.startswith(_MAGIC) or kind not in (b"P", b"U", b"R") or len(data) < start:
        raise WireError("not a message of this version")
    expected = 0 if kind == b"R" else 4 * weights
    if size > _MAX_HEADER or len(data) != start + size + expected:
        raise WireError("a message of another length was expected")
    text = data[start : start + size]
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError("the header is not JSON") from error
    if not isinstance(header, dict) or _canonical(header) != text:
        raise WireError("the header is not canonical")
    payload = np.frombuffer(data, dtype="<f4", offset=start + size).astype(np.float32)
    if not np.isfinite(payload).all():
        raise WireError("the payload is not finite")
    return kind, header, payload


def _canonical(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _only(header: dict[str, Any], *keys: str) -> None:
    if set(header) != set(keys):
        raise WireError("the header has other keys than its kind")


def _text(header: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = header.get(key)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise WireError(f"{key} is not of its form")
    return value


def _cohort(header: dict[str, Any]) -> tuple[str, ...]:
    names = header["cohort"]
    if not isinstance(names, list) or not all(
        isinstance(n, str) and _NAME.fullmatch(n) for n in names
    ):
        raise WireError("cohort is not a list of names")
    if names != sorted(set(names)) or not names:
        raise WireError("cohort is not sorted, or empty, or names a member twice")
    return tuple(names)
