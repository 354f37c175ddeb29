# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What is trained on and what is measured."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fedcode.corpus.deduplicate import deduplicate, without
from fedcode.corpus.filters import near_duplicates
from fedcode.corpus.views import chosen, paths
from fedcode.record import Corpus, Role


@dataclass(frozen=True, slots=True)
class Splits:
    """All code of a federation: no file and no record stands in two places of it.

    Attributes:
        train: the members' training files, in the members' order.
        heldout: the members' held-out files, in the same order; some may be empty.
        validation: organizations to choose on.
        unseen: organizations that nothing is trained or chosen on.
        public: what may be trained on before any of them; none of it stands in an organization.
    """

    train: tuple[Corpus, ...]
    heldout: tuple[Corpus, ...]
    validation: tuple[Corpus, ...]
    unseen: tuple[Corpus, ...]
    public: Corpus


def split(corpus: Corpus, heldout_every: int | None) -> tuple[Corpus, Corpus]:
    """Training files and held-out files.

    Held out are those whose MD5 of "organization/path" is 0 mod ``heldout_every``, and none where
    that is None. A file stays on its side whatever happens to the others. Files skipped and
    duplicates removed are named in the training part alone.
    """
    sides = (array("q"), array("q"))
    for index, path in enumerate(paths(corpus.files)):
        name = f"{corpus.name}/{path}".encode()
        digest = hashlib.md5(name, usedforsecurity=False).hexdigest()
        out = heldout_every is not None and int(digest, 16) % heldout_every == 0
        sides[out].append(index)
    train, heldout = (chosen(corpus.files, side) for side in sides)
    rest = replace(corpus, files=train, known_as="")
    return rest, Corpus(corpus.name, heldout)


def split_own(
    corpus: Corpus, public: Corpus, heldout_every: int | None, similarity: float | None = None
) -> tuple[Corpus, Corpus]:
    """One organization's training files and held-out files, as it can make them by itself.

    As :func:`arrange`, but that public code is there already: what stands in it is left out here.
    """
    train, heldout = split(corpus, heldout_every)
    _, heldout, train = deduplicate([public, heldout, train])
    heldout, train = near_duplicates([heldout, train], similarity)
    return train, heldout


def arrange(
    organizations: Sequence[tuple[Role, Corpus]],
    public: Corpus,
    heldout_every: int | None,
    similarity: float | None = None,
) -> Splits:
    """Splits a federation's code so that nothing measured was trained on.

    Of equal records the one stays that is measured last of all: unseen organizations keep theirs,
    then validation, then the members' held-out files, and training files lose theirs. A member's
    files are split before duplicates are removed, for a held-out file is measured as a whole: had
    its functions lost to equal ones in training files, they would have been trained on.

    Args:
        organizations: as they were read.
        public: as it was read.
        heldout_every: one of so many of a member's files is held out; None for none.
        similarity: functions so much alike go as equal ones do, but from the public corpus; None
            keeps them.
    """
    members = [split(corpus, heldout_every) for role, corpus in organizations if role == "train"]
    groups = [
        [corpus for role, corpus in organizations if role == "unseen"],
        [corpus for role, corpus in organizations if role == "validation"],
        [heldout for _, heldout in members],
        [train for train, _ in members],
    ]
    equal = deduplicate([corpus for group in groups for corpus in group])
    kept = iter(near_duplicates(equal, similarity))
    unseen, validation, heldout, train = (tuple(next(kept) for _ in group) for group in groups)
    rest = without(public, [corpus for _, corpus in organizations])
    return Splits(train, heldout, validation, unseen, deduplicate([rest])[0])
