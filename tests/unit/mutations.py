# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Messages that were changed, and both halves of a sum at every step to give them to."""

import copy
import json

import numpy as np
from summing import Points, Round, signing_key

from fedcode.errors import PrivacyError, SecureSumError, WireError
from fedcode.secure_sum import SummingMember
from fedcode.wire import decode, encode, sign
from fedcode.wire import messages as m

LENGTH = 4
TO_MEMBER = {
    m.KeyBook: "shares",
    m.ShareDelivery: "accept",
    m.SurvivorList: "confirm",
    m.ConfirmationList: "reveal",
}
TO_COORDINATOR = {
    m.Keys: "add_keys",
    m.Shares: "add_shares",
    m.ReceivedMasked: "add_masked",
    m.Confirmation: "add_confirmation",
    m.Reveal: "add_reveal",
}


def twin(half):
    """Another one in the same state: what happens to it does not happen to the first."""
    found = copy.copy(half)
    for name, value in vars(half).items():
        if isinstance(value, bytearray | np.ndarray):
            setattr(found, name, value.copy())
        elif isinstance(value, dict):
            inner = {k: v.copy() if isinstance(v, bytearray) else v for k, v in value.items()}
            setattr(found, name, inner)
    return found


def state(half):
    """All that it holds, to be compared."""
    return {
        name: value.tobytes() if isinstance(value, np.ndarray) else copy.deepcopy(value)
        for name, value in vars(half).items()
        if name not in ("_key", "_latch", "_session")
    }


class Target:
    """A sum of four, one of which leaves, kept as it was before every step."""

    def __init__(self):
        run = Round(4, LENGTH)
        self.members, self.coordinators, self.messages = {}, {}, []
        own = run.members["m001"]

        def keep(message, *before):
            self.messages.append((encode(message), *before))

        for name, member in run.members.items():
            if name == "m001":
                keep(member.keys(), "coordinator", "add_keys")
                self.coordinators["add_keys"] = twin(run.coordinator)
            run.coordinator.add_keys(member.keys())
        book = run.coordinator.book()
        self.members["shares"] = twin(own)
        keep(book, "member", "shares")
        for name, member in run.members.items():
            if name == "m001":
                keep(member.shares(book), "coordinator", "add_shares")
                self.coordinators["add_shares"] = twin(run.coordinator)
            run.coordinator.add_shares(member.shares(book))
        for name, delivery in run.coordinator.deliveries().items():
            if name == "m001":
                self.members["accept"] = twin(own)
                keep(delivery, "member", "accept")
            run.members[name].accept(delivery)
        for name in ("m000", "m001", "m002"):
            sent = run.members[name].mask(Points(run.terms[name]))
            if name == "m001":
                keep(sent, "coordinator", "add_masked")
                self.coordinators["add_masked"] = twin(run.coordinator)
            run.coordinator.add_masked(run.arrived(sent))
        survivors = run.coordinator.survivors()
        self.members["confirm"] = twin(own)
        keep(survivors, "member", "confirm")
        for name in survivors.survivors:
            sent = run.members[name].confirm(survivors)
            if name == "m001":
                keep(sent, "coordinator", "add_confirmation")
                self.coordinators["add_confirmation"] = twin(run.coordinator)
            run.coordinator.add_confirmation(sent)
        confirmations = run.coordinator.confirmations()
        self.members["reveal"] = twin(own)
        keep(confirmations, "member", "reveal")
        for name in survivors.survivors:
            sent = run.members[name].reveal(confirmations)
            if name == "m001":
                keep(sent, "coordinator", "add_reveal")
                self.coordinators["add_reveal"] = twin(run.coordinator)
            run.coordinator.add_reveal(sent)
        self.originals = {message for message, *_ in self.messages}
        self.expected = run.expected()
        self.total = run.coordinator.total()

    def receive(self, data, step=None):
        """Reads ``data`` and gives it to the half that it is for, before ``step`` or its own.

        Returns:
            ``unread``, ``refused`` (the half is then as it was, unless it has given up),
            ``taken``, or ``nothing`` for a message of no sum. Any other exception is a crash.
        """
        try:
            message = decode(data, weights=LENGTH, length=LENGTH)
        except WireError:
            return "unread"
        kind = type(message)
        if kind in TO_MEMBER:
            half = twin(self.members[step if step in self.members else TO_MEMBER[kind]])
            ask = getattr(half, TO_MEMBER[kind])
        elif kind in TO_COORDINATOR:
            half = twin(
                self.coordinators[step if step in self.coordinators else TO_COORDINATOR[kind]]
            )
            ask = getattr(half, TO_COORDINATOR[kind])
        else:
            return "nothing"
        before = state(half) if data[-1] % 16 == 0 else None
        try:
            ask(message)
        except (SecureSumError, PrivacyError):
            given_up = isinstance(half, SummingMember) and half._over
            assert before is None or given_up or state(half) == before, "refused, and changed"
            return "refused"
        return "taken"


def changed_bytes(data, draw):
    """Bits, bytes and pieces of a message changed, without a thought for what they mean."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        place, choice = draw.randrange(len(out)), draw.randrange(6)
        if choice == 0:
            out[place] ^= 1 << draw.randrange(8)
        elif choice == 1:
            out[place] = draw.randrange(256)
        elif choice == 2:
            del out[place : place + draw.randint(1, 40)]
        elif choice == 3:
            out[place:place] = out[place : place + draw.randint(1, 40)]
        elif choice == 4:
            out[place:place] = draw.randbytes(draw.randint(1, 8))
        else:
            out[9:10] = draw.choice("PURKBSDMLCAV").encode()
        if not out:
            return b""
    return bytes(out)


def changed_meaning(data, draw, other):
    """A message that can be read: one value of its header is another one's, and it may be signed.

    Args:
        data: the message.
        draw: a ``random.Random``.
        other: a second message to take values from.
    """
    size = int.from_bytes(data[10:14], "big")
    header, payload = json.loads(data[14 : 14 + size]), data[14 + size :]
    theirs = json.loads(other[14 : 14 + int.from_bytes(other[10:14], "big")])
    for _ in range(draw.randint(1, 2)):
        key = draw.choice(sorted(header))
        header[key] = changed_value(header[key], draw, theirs.get(key))
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    out = data[:10] + len(text).to_bytes(4, "big") + text + payload
    if draw.random() < 0.5:
        return out
    return signed_again(out, draw.choice(["coordinator", "m000", "m001", "m003"]))


def changed_value(value, draw, theirs):
    """Another value of the same form, mostly."""
    if theirs is not None and draw.random() < 0.3:
        return theirs
    if isinstance(value, str) and value:
        place = draw.randrange(len(value))
        return value[:place] + draw.choice("0123456789abcdefm") + value[place + 1 :]
    if isinstance(value, int):
        return value + draw.choice([-1, 1, 0])
    if isinstance(value, list) and value:
        place, choice = draw.randrange(len(value)), draw.randrange(4)
        if choice == 0:
            return value[:place] + value[place + 1 :]
        if choice == 1:
            return value[: place + 1] + value[place:]
        part = value[place]
        if isinstance(part, dict):
            key = draw.choice(sorted(part))
            part = part | {key: changed_value(part[key], draw, None)}
        else:
            part = changed_value(part, draw, None)
        return sorted([*value[:place], part, *value[place + 1 :]], key=str)
    return value


def signed_again(data, name):
    """Signed by one of those in the sum, if it can be read."""
    try:
        message = decode(data, weights=LENGTH, length=LENGTH)
    except WireError:
        return data
    signature = sign(message, signing_key(name)).signature.encode()
    return data.replace(message.signature.encode(), signature, 1)
