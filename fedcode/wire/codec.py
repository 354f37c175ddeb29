# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The messages' bytes.

A message is ``fedcode/1`` ‖ kind (1 byte) ‖ length of the header (4 bytes, big-endian) ‖ header
(canonical JSON) ‖ payload (little-endian numbers of 4 bytes, for the kinds that have one). The
header names the payload's SHA-256, and carries the signature of the header without it. Whatever
differs from what :func:`encode` would have written is refused: unknown kinds and keys, other
orders, spaces, missing or extra bytes, values that are not finite.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fedcode.errors import WireError
from fedcode.groups import MOST_MEMBERS
from fedcode.signing import canonical
from fedcode.wire import messages as m
from fedcode.wire.forms import (
    CIPHERTEXT,
    DIGEST,
    KEY,
    NAME,
    SHARE,
    SIGNATURE,
    Code,
    Form,
    NamedTexts,
    Names,
    Round,
)

_MAGIC = b"fedcode/1"
_START = len(_MAGIC) + 5
_Numbers = NDArray[np.float32] | NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one message is written.

    Attributes:
        mark: the byte that names it.
        word: the last part of its signature's domain.
        sent: the message.
        received: what it is read as.
        fields: of the header, without signature and payload.
        most: the longest header, in bytes.
        payload: the header's name of the payload's digest; empty where there is none.
    """

    mark: bytes
    word: str
    sent: type[Any]
    received: type[Any]
    fields: Mapping[str, Form]
    most: int
    payload: str = ""

    def read(self, header: Mapping[str, Any], **payload: _Numbers) -> m.Received:
        """The message with this header.

        Raises:
            WireError: the header is not of this kind.
        """
        names = self.fields.keys() | {"signature"} | ({self.payload} if self.payload else set())
        if header.keys() != names:
            raise WireError("the header has other keys than its kind")
        values = {name: form.read(name, header[name]) for name, form in self.fields.items()}
        signature = SIGNATURE.read("signature", header["signature"])
        return cast("m.Received", self.received(**values, **payload, signature=signature))


@dataclass(frozen=True, slots=True)
class _ManyKeys:
    """The :class:`Keys` of several members, sorted, with their signatures."""

    def plain(self, value: tuple[m.Keys, ...]) -> list[dict[str, Any]]:
        return [_header(keys) | {"signature": keys.signature} for keys in value]

    def read(self, key: str, value: Any) -> tuple[m.Keys, ...]:
        if not isinstance(value, list) or len(value) > MOST_MEMBERS:
            raise WireError(f"{key} is not a list of at most {MOST_MEMBERS} members' keys")
        found = []
        for header in value:
            if not isinstance(header, dict):
                raise WireError(f"{key} is not a list of headers")
            found.append(cast("m.Keys", _KEYS.read(header)))
        names = [keys.member for keys in found]
        if names != sorted(set(names)):
            raise WireError(f"{key} is not sorted, or names a member twice")
        return tuple(found)


_ROUND: dict[str, Form] = {"agreement": DIGEST, "round": Round()}
_SUM: dict[str, Form] = _ROUND | {"plan": DIGEST}
_SHARING: dict[str, Form] = _SUM | {"member": NAME, "transcript": DIGEST}
_LIST: dict[str, Form] = _SUM | {"transcript": DIGEST, "sharers": DIGEST}
_MASKED: dict[str, Form] = _LIST | {"member": NAME}
_KEYS = _Kind(
    b"K",
    "keys",
    m.Keys,
    m.Keys,
    _SUM | {"weights": DIGEST, "member": NAME, "sharing": KEY, "masking": KEY, "commitment": KEY},
    1 << 10,
)
_KINDS = (
    _Kind(b"P", "plan", m.Plan, m.Plan, _ROUND | {"cohort": Names()}, 1 << 13, "weights"),
    _Kind(
        b"U",
        "update",
        m.Update,
        m.ReceivedUpdate,
        _ROUND | {"member": NAME},
        1 << 10,
        "payload",
    ),
    _Kind(
        b"R",
        "refusal",
        m.Refusal,
        m.Refusal,
        _ROUND | {"member": NAME, "code": Code(m.RefusalCode)},
        1 << 10,
    ),
    _KEYS,
    _Kind(b"B", "key-book", m.KeyBook, m.KeyBook, _SUM | {"keys": _ManyKeys()}, 1 << 17),
    _Kind(
        b"S",
        "shares",
        m.Shares,
        m.Shares,
        _SHARING | {"ciphertexts": NamedTexts(CIPHERTEXT)},
        1 << 15,
    ),
    _Kind(
        b"D",
        "share-delivery",
        m.ShareDelivery,
        m.ShareDelivery,
        _SHARING | {"ciphertexts": NamedTexts(CIPHERTEXT)},
        1 << 15,
    ),
    _Kind(
        b"M",
        "masked-update",
        m.MaskedUpdate,
        m.ReceivedMasked,
        _MASKED,
        1 << 10,
        "payload",
    ),
    _Kind(
        b"L",
        "survivor-list",
        m.SurvivorList,
        m.SurvivorList,
        _LIST | {"survivors": Names()},
        1 << 13,
    ),
    _Kind(
        b"C",
        "confirmation",
        m.Confirmation,
        m.Confirmation,
        _MASKED | {"survivors": Names()},
        1 << 13,
    ),
    _Kind(
        b"A",
        "confirmation-list",
        m.ConfirmationList,
        m.ConfirmationList,
        _LIST | {"survivors": Names(), "confirmations": NamedTexts(SIGNATURE)},
        1 << 15,
    ),
    _Kind(
        b"V",
        "reveal",
        m.Reveal,
        m.Reveal,
        _MASKED | {"seeds": NamedTexts(SHARE), "keys": NamedTexts(SHARE)},
        1 << 15,
    ),
)
_BY_MARK = {kind.mark: kind for kind in _KINDS}
_BY_TYPE = {kind.received: kind for kind in _KINDS} | {kind.sent: kind for kind in _KINDS}


def encode(message: m.Message) -> bytes:
    """The bytes of ``message``.

    Raises:
        WireError: it is not signed, or is what was received and not what is sent.
    """
    if type(message) is not _BY_TYPE[type(message)].sent or not message.signature:
        raise WireError("only a signed message is sent, and never what was received as one")
    return b"".join((attested(message), _bytes(_payload(message))))


def attested(message: m.Message | m.Received) -> bytes:
    """What its signature proves of ``message``: all of its bytes but the payload."""
    text = canonical(_header(message) | {"signature": message.signature})
    return _MAGIC + _BY_TYPE[type(message)].mark + len(text).to_bytes(4, "big") + text


def statement(message: m.Message | m.Received) -> tuple[str, bytes]:
    """The domain of the signature of ``message``, and the bytes that it signs."""
    return f"fedcode/1/{_BY_TYPE[type(message)].word}", canonical(_header(message))


def decode(data: bytes, *, weights: int, length: int) -> m.Received:
    """Reads a message. Who signed it is the reader's to check.

    It takes at most as much memory again as the payload, a quarter of that for a while, and 1 MiB.

    Args:
        data: the bytes; nothing in them is trusted.
        weights: how many weights a plan carries.
        length: how many coordinates an update or a masked update has.

    Raises:
        WireError: the bytes are not exactly what :func:`encode` writes.
    """
    kind = _BY_MARK.get(bytes(data[len(_MAGIC) : len(_MAGIC) + 1]))
    if kind is None or len(data) < _START or not data.startswith(_MAGIC):
        raise WireError("not a message of this version")
    end = _START + int.from_bytes(data[_START - 4 : _START], "big")
    numbers = 0 if not kind.payload else weights if kind.sent is m.Plan else length
    if end - _START > kind.most or len(data) != end + 4 * numbers:
        raise WireError("a message of another length was expected")
    header = _parsed(data[_START:end])
    if not kind.payload:
        return kind.read(header)
    payload = memoryview(data)[end:]
    digest = hashlib.sha256(payload).hexdigest()
    if header.get(kind.payload) != digest:
        raise WireError("the payload is not the one that the header names")
    return _remembering(kind.read(header, **_numbers(kind, payload)), digest)


def agreement_of(data: bytes) -> str:
    """The agreement that a message says it is of; nothing else of it is read.

    Raises:
        WireError: it is no message.
    """
    kind = _BY_MARK.get(bytes(data[len(_MAGIC) : len(_MAGIC) + 1]))
    if kind is None or len(data) < _START or not data.startswith(_MAGIC):
        raise WireError("not a message of this version")
    size = int.from_bytes(data[_START - 4 : _START], "big")
    if size > kind.most:
        raise WireError("a message of another length was expected")
    return str(DIGEST.read("agreement", _parsed(data[_START : _START + size]).get("agreement")))


def _numbers(kind: _Kind, payload: memoryview) -> dict[str, _Numbers]:
    if kind.sent is m.MaskedUpdate:
        return {"values": np.frombuffer(payload, "<u4")}
    vector = np.frombuffer(payload, "<f4").astype(np.float32)
    if not np.isfinite(vector).all():
        raise WireError("the payload is not finite")
    return {"weights" if kind.sent is m.Plan else "values": vector}


def _remembering(message: m.Received, digest: str) -> m.Received:
    """``message``, which knows the digest of its payload: no copy of it with another one does."""
    object.__setattr__(message, "digest", digest)
    return message


def _header(message: m.Message | m.Received) -> dict[str, Any]:
    """The header without its signature."""
    kind = _BY_TYPE[type(message)]
    header = {name: form.plain(getattr(message, name)) for name, form in kind.fields.items()}
    if kind.payload:
        header[kind.payload] = _digest(message)
    return header


def _digest(message: m.Message | m.Received) -> str:
    """SHA-256 of the payload; of megabytes it is taken once."""
    known = ""
    if isinstance(message, m.MaskedUpdate):
        known = message.masked.digest
    elif isinstance(message, (m.ReceivedMasked, m.ReceivedUpdate, m.Plan)):
        known = message.digest
    return known or hashlib.sha256(_bytes(_payload(message))).hexdigest()


def _payload(message: m.Message | m.Received) -> _Numbers:
    match message:
        case m.Plan():
            return message.weights
        case m.Update():
            return message.term.values
        case m.MaskedUpdate():
            return message.masked.values
        case m.ReceivedUpdate() | m.ReceivedMasked():
            return message.values
        case _:
            return np.zeros(0, np.float32)


def _bytes(numbers: _Numbers) -> memoryview:
    """Little-endian, without a copy where the machine is."""
    little = np.ascontiguousarray(numbers, numbers.dtype.newbyteorder("<"))
    return little.view(np.uint8).data


def _parsed(text: bytes) -> dict[str, Any]:
    lists = text.count(b"[") + text.count(b"{")
    if lists > 3 * MOST_MEMBERS or text.count(b",") > 10 * MOST_MEMBERS:  # or it could grow 50-fold
        raise WireError("the header has more parts than any of ours")
    try:
        header = json.loads(text)
        same = isinstance(header, dict) and canonical(header) == text
    except (ValueError, RecursionError) as error:
        raise WireError("the header is not JSON") from error
    if not same:
        raise WireError("the header is not canonical")
    found: dict[str, Any] = header
    return found
