# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Of Flower's internals: messages as trees of objects, and who sends them."""

from __future__ import annotations

from collections.abc import Mapping

from flwr.app import Message
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    _get_computed_object_ids,
    get_all_nested_objects,
    get_object_id,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

__all__ = [
    "SUPERLINK_NODE_ID",
    "ErrorCode",
    "ObjectTree",
    "Run",
    "TaskIdentity",
    "identify",
    "inflated",
    "objects_of",
    "parts",
    "set_id",
]


_MADE = "_fedcode_made"


def identify(run: int, node: int) -> None:
    """Sets what Flower writes into the messages of this process as their sender."""
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = run, 1, node


def set_id(message: Message, identity: str) -> None:
    """Gives a message its identity, which Flower leaves to whoever sends it."""
    message.metadata.__dict__["_message_id"] = identity


def parts(message: Message) -> tuple[ObjectTree, dict[str, bytes]]:
    """A message as Flower stores it; its identity becomes the one of its root object.

    Returns:
        The tree of its objects, and each object's bytes by its identity.
    """
    set_id(message, "")
    with no_object_id_recompute():
        records = dict(map(_known, message.content.values())) if message.has_content() else {}
        set_id(message, message.object_id)
        tree = get_object_tree(message)
        nested = get_all_nested_objects(message)
        return tree, {key: records.get(key) or one.deflate() for key, one in nested.items()}


def _known(record: InflatableObject) -> tuple[str, bytes]:
    """A record's identity, which Flower now knows, and its bytes.

    Of megabytes they are made once, also where one record goes to many: it is never changed.
    """
    made: tuple[str, bytes] | None = record.__dict__.get(_MADE)
    if made is None:
        content = record.deflate()
        made = record.__dict__[_MADE] = get_object_id(content), content
    record.__dict__["_object_id"] = made[0]
    _get_computed_object_ids().add(made[0])
    return made


def objects_of(tree: ObjectTree) -> list[str]:
    """The identities of a tree's objects, children first."""
    return [one.object_id for one in iterate_object_tree(tree)]


def inflated(tree: ObjectTree, contents: Mapping[str, bytes], identity: str) -> Message:
    """The message that :func:`parts` took apart, with the identity that it travelled under."""
    message = inflate_object_from_contents(tree.object_id, dict(contents))
    if not isinstance(message, Message):
        raise TypeError("the root object is no message")
    set_id(message, identity)
    return message
