# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of the codec and both halves of a sum, as a program.

The first byte says before which step a message comes and what is done to the rest: nothing, or a
signature by one of those in the sum, so that the fuzzer gets behind the signatures.
"""

import random
import sys
from functools import lru_cache
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT), str(ROOT / "tests" / "unit")]

with atheris.instrument_imports(include=["fedcode.wire", "fedcode.secure_sum"]):
    from mutations import Target, changed_bytes, changed_meaning, signed_again

    from fedcode.secure_sum import checks
    from fedcode.wire import signatures

signatures.signed = lru_cache(4096)(signatures.signed)
checks.usable = lru_cache(4096)(checks.usable)
TARGET = Target()
STEPS = [None, *TARGET.members, *TARGET.coordinators]
SIGNERS = [None, "coordinator", "m001", "m003"]


def one_input(data):
    """Reads one message; anything but our own errors is a finding."""
    if not data:
        return
    signer, message = SIGNERS[data[0] % len(SIGNERS)], data[1:]
    if signer is not None:
        message = signed_again(message, signer)
    step = STEPS[data[0] // len(SIGNERS) % len(STEPS)]
    TARGET.receive(message, step)


def changed(data, most, seed):
    """An input made from another one: by the fuzzer, or by what knows the messages' form."""
    draw = random.Random(seed)
    choice = draw.random()
    if choice < 0.3 or len(data) < 2:
        return atheris.Mutate(data, most)
    message, other = data[1:], draw.choice(TARGET.messages)[0]
    if choice < 0.5:
        message = changed_bytes(message, draw)
    else:
        try:
            message = changed_meaning(message, draw, other)
        except (ValueError, AttributeError, TypeError, IndexError):  # it has no header
            message = other
    return (bytes([draw.randrange(256)]) + message)[:most]


if __name__ == "__main__":
    corpus = Path("corpus")
    corpus.mkdir(exist_ok=True)
    for number, message in enumerate(sorted(TARGET.originals)):
        (corpus / str(number)).write_bytes(b"\x00" + message)
    atheris.Setup([*sys.argv, str(corpus)], one_input, custom_mutator=changed)
    atheris.Fuzz()
