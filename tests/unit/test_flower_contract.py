# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""What fedcode expects of Flower's internals: each expectation is a test that names it."""

from __future__ import annotations

import inspect
import io
import zipfile
from importlib import import_module
from importlib.metadata import version

import pytest
from fastapi.routing import APIRoute
from packaging.version import Version

from fedcode.transport.front import CALLS
from fedcode_client import doctor

CALLED = {
    "flwr.supernode.fleet_http_client:FleetHttpClient.ActivateNode": ["request"],
    "flwr.supernode.fleet_http_client:FleetHttpClient.DeactivateNode": ["request"],
    "flwr.supernode.fleet_http_client:FleetHttpClient.SendNodeHeartbeat": ["request"],
    "flwr.supernode.fleet_http_client:FleetHttpClient.PullMessages": ["request"],
    "flwr.supernode.fleet_http_client:FleetHttpClient.PushMessages": ["request"],
    "flwr.supernode.fleet_http_client:FleetHttpClient.PullObject": ["request"],
    "flwr.supernode.fleet_http_client:FleetHttpClient.PushObject": ["request"],
    "flwr.supernode.fleet_http_client:FleetHttpClient.ConfirmMessageReceived": ["request"],
    "flwr.supernode.fleet_http_client:FleetHttpClient": [
        "base_url", "interceptors", "verify", "timeout",
    ],
    "flwr.supernode.node_auth_http_interceptor:NodeAuthHttpInterceptor": [
        "private_key", "public_key",
    ],
    "flwr.supercore.interceptors.http.utils:add_headers": ["request", "headers"],
    "flwr.supercore.runtime_version_compatibility:RuntimeVersionMetadata.from_local_component": [
        "component_name",
    ],
    "flwr.supercore.primitives.asymmetric:public_key_to_bytes": ["public_key"],
    "flwr.common.serde:message_from_proto": ["message_proto"],
    "flwr.common.serde:message_to_proto": ["message"],
    "flwr.app.message:remove_content_from_message": ["message"],
    "flwr.superlink.config_loader:get_objectstore_linkstate_factories": [
        "database", "federation_manager",
    ],
    "flwr.superlink.federation:NoOpFederationManager": ["simulation"],
    "flwr.server.superlink.linkstate:LinkState.create_run": [
        "fab_id", "fab_version", "fab_hash", "override_config", "federation_id",
        "federation_config", "flwr_aid", "primary_task_type",
    ],
    "flwr.server.superlink.linkstate:LinkState.get_run_info": ["run_ids"],
    "flwr.server.superlink.linkstate:LinkState.stop_run": ["run_id"],
    "flwr.server.superlink.linkstate:LinkState.claim_task": ["task_id"],
    "flwr.server.superlink.linkstate:LinkState.activate_task": ["task_id"],
    "flwr.server.superlink.linkstate:LinkState.acknowledge_task_heartbeat": ["task_id"],
    "flwr.server.superlink.linkstate:LinkState.create_node": [
        "owner_aid", "owner_name", "public_key", "heartbeat_interval", "name",
    ],
    "flwr.server.superlink.linkstate:LinkState.acknowledge_node_heartbeat": [
        "node_id", "heartbeat_interval",
    ],
    "flwr.server.superlink.fleet.vce.vce_api:start_vce": [
        "backend_name", "backend_config_json_stream", "app_dir", "is_app", "f_stop", "run",
        "metrics", "client_app", "state_factory", "existing_nodes_mapping",
    ],
    "flwr.superlink.grid:InMemoryGrid": ["state_factory", "pull_interval"],
    "flwr.server.superlink.linkstate:LinkStateFactory": [
        "database", "federation_manager", "objectstore_factory",
    ],
    "flwr.server.superlink.linkstate.in_memory_linkstate:RunRecord": ["run"],
    "flwr.server.superlink.linkstate:LinkState.delete_node": ["owner_aid", "node_id"],
    "flwr.server.superlink.linkstate:LinkState.get_node_info": ["node_ids"],
    "flwr.server.superlink.linkstate:LinkState.get_node_id_by_public_key": ["public_key"],
    "flwr.server.superlink.linkstate:LinkState.start_session": ["run_id"],
    "flwr.server.superlink.linkstate:LinkState.store_message_and_object_tree": [
        "message", "object_tree", "session_id",
    ],
    "flwr.server.superlink.linkstate:LinkState.store_object": [
        "run_id", "session_id", "object_id", "object_content",
    ],
    "flwr.server.superlink.linkstate:LinkState.get_message_res": ["message_ids", "run_id"],
    "flwr.server.superlink.linkstate:LinkState.delete_messages": ["message_ins_ids"],
    "flwr.supercore.object_store:ObjectStore.get": ["object_id"],
    "flwr.supercore.object_store:ObjectStore.get_object_tree": ["object_id"],
    "flwr.supercore.object_store:ObjectStore.delete": ["object_id"],
    "flwr.supercore.inflatable.inflatable_object:get_object_tree": ["obj"],
    "flwr.supercore.inflatable.inflatable_object:get_object_id": ["object_content"],
    "flwr.supercore.inflatable.inflatable_object:_get_computed_object_ids": [],
    "flwr.server.superlink.linkstate.sql_linkstate:SqlLinkState.session": [],
    "flwr.supercore.inflatable.inflatable_object:get_all_nested_objects": ["obj"],
    "flwr.supercore.inflatable.inflatable_utils:inflate_object_from_contents": [
        "object_id", "object_contents",
    ],
    "flwr.supercore.fab:Fab": ["hash_str", "content", "verifications"],
    "flwr.server.superlink.linkstate:LinkState.store_fab": ["fab"],
    "flwr.supercore.runtime:RuntimeHttpClient": [
        "base_url", "interceptors", "verify", "timeout",
    ],
    "flwr.supercore.runtime:RuntimeHttpClient.AcquireTask": ["request"],
    "flwr.supercore.runtime:RuntimeHttpClient.SendTaskHeartbeat": ["request"],
    "flwr.supercore.runtime:RuntimeHttpClient.PullTaskInput": ["request"],
    "flwr.supercore.runtime:RuntimeHttpClient.PushTaskOutput": ["request"],
    "flwr.supercore.runtime:RuntimeHttpClient.PullMessages": ["request"],
    "flwr.supercore.runtime:RuntimeHttpClient.PushMessages": ["request"],
    "flwr.supercore.runtime:RuntimeHttpClient.PullObject": ["request"],
    "flwr.supercore.runtime:RuntimeHttpClient.PushObject": ["request"],
    "flwr.supercore.runtime:RuntimeHttpClient.ConfirmMessageReceived": ["request"],
    "flwr.supercore.interceptors:RuntimeTokenHttpInterceptor": ["token"],
    "flwr.supercore.interceptors:RuntimeTokenHttpInterceptor.intercept": [
        "context", "call_next",
    ],
    "flwr.supercore.interceptors:SuperExecAuthHttpInterceptor": [
        "master_secret", "protected_methods",
    ],
}  # fmt: skip


def found(where: str) -> object:
    module, _, path = where.partition(":")
    thing: object = import_module(module)
    for name in path.split("."):
        assert hasattr(thing, name), f"Flower has no {where} any more"
        thing = getattr(thing, name)
    return thing


@pytest.mark.parametrize("where", CALLED)
def test_flower_still_takes_what_it_is_given(where: str) -> None:
    thing = found(where)
    assert callable(thing)
    taken = inspect.signature(thing).parameters
    missing = [name for name in CALLED[where] if name not in taken]
    assert not missing, f"{where} does not take {', '.join(missing)} any more"


def test_flower_is_of_a_version_that_was_tried() -> None:
    assert Version("1.41") <= Version(version("flwr")) < Version("1.43")


def test_the_fleet_api_has_the_calls_that_are_let_through() -> None:
    router = import_module("flwr.superlink.routers.fleet.router").router
    served = {route.path for route in router.routes if isinstance(route, APIRoute)}
    assert served >= CALLS
    assert served - CALLS == {"/v1/fleet/register-node", "/v1/fleet/unregister-node"}


def test_node_authentication_signs_every_call() -> None:
    names = import_module("flwr.supercore.constant")
    assert names.FLEET_HTTP_PUBLIC_KEY_HEADER
    assert names.FLEET_HTTP_SIGNATURE_HEADER


def test_clocks_may_be_apart_by_what_a_doctor_says() -> None:
    """A signature from more than so many seconds ahead is refused; one from before, later."""
    constants = import_module("flwr.common.constant")
    assert constants.SYSTEM_TIME_TOLERANCE == doctor.APART
    assert constants.TIMESTAMP_TOLERANCE > doctor.APART


def test_a_message_is_a_chain_of_three_objects() -> None:
    from fedcode.transport.flower import message_to
    from fedcode.transport.internals.common import identify, inflated, parts

    identify(1, 1)
    tree, contents = parts(message_to(7, b"what is sent"))
    below = tree.children[0].children[0]
    assert (len(tree.children), len(tree.children[0].children), len(below.children)) == (1, 1, 0)
    assert len(contents) == 3
    again = inflated(tree, contents, tree.object_id)
    assert again.content["fedcode"]["message"] == b"what is sent"


def test_a_message_of_megabytes_is_taken_apart_once() -> None:
    """The identities that are given before are the ones that Flower would find itself."""
    from flwr.supercore.inflatable.inflatable_object import get_object_id

    from fedcode.transport.flower import message_to
    from fedcode.transport.internals.common import identify, parts

    identify(1, 1)
    message = message_to(7, b"what is sent")
    record, times = message.content["fedcode"], []
    deflate = type(record).deflate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(record), "deflate", lambda self: times.append(1) or deflate(self))
        tree, contents = parts(message)
    assert len(times) == 1
    assert all(get_object_id(content) == identity for identity, content in contents.items())
    assert tree.object_id in contents


def test_messages_and_objects_stand_in_these_columns() -> None:
    links = import_module("flwr.supercore.state.schema.linkstate_models")
    objects = import_module("flwr.supercore.state.schema.objectstore_models")
    for model, columns in (
        (links.MessageIns, ("message_id", "dst_node_id")),
        (links.MessageRes, ("message_id", "reply_to_message_id")),
        (objects.ObjectChild, ("parent_id", "child_id")),
    ):
        assert all(hasattr(model, column) for column in columns), model


def test_the_runtime_api_has_the_calls_that_a_worker_makes() -> None:
    router = import_module("flwr.supercore.routers.runtime").router
    served = {route.path for route in router.routes if isinstance(route, APIRoute)}
    calls = {"acquire-task", "send-task-heartbeat", "pull-task-input", "push-task-output"}
    calls |= {"pull-messages", "push-messages", "pull-object", "push-object"}
    assert served >= {f"/v1/runtime/{name}" for name in (*calls, "confirm-message-received")}


def test_a_supernode_takes_the_words_that_we_print() -> None:
    parser = import_module("flwr.supernode.cli.flower_supernode")._parse_args_run_supernode()
    words = ["--superlink", "127.0.0.1:1", "--root-certificates", "ca.crt"]
    words += ["--auth-supernode-private-key", "node.key", "--isolation", "process"]
    words += ["--host", "127.0.0.1", "--port", "2", "--superexec-auth-secret-file", "secret"]
    taken = parser.parse_args(words)
    assert (taken.isolation, taken.port, taken.runtime_dependency_install) == ("process", 2, False)


def test_a_supernode_takes_the_bundle_without_app() -> None:
    from fedcode.transport.bundle import EMPTY, NAME, VERSION

    config = import_module("flwr.common.config")
    settings = config.get_fab_config(EMPTY)
    assert config.get_metadata_from_config(settings) == (NAME, VERSION)


def test_the_bundle_without_app_is_the_same_everywhere() -> None:
    from fedcode.transport.bundle import DIGEST, EMPTY

    assert zipfile.ZipFile(io.BytesIO(EMPTY)).namelist() == ["pyproject.toml"]
    assert DIGEST == "bd077a2520bf9e07ba43868241083a72557c6cdf7cb7b2205e577f3611c7df4b"


def test_a_bundle_is_found_in_flowers_answer() -> None:
    from fedcode.transport.internals.supernode import bundle_in

    answer = import_module("flwr.proto.fab_pb2").GetFabResponse
    made = answer(fab={"hash_str": "h", "content": b"a bundle"}).SerializeToString()
    assert bundle_in(made) == b"a bundle"
    with pytest.raises(ValueError, match="no answer"):
        bundle_in(b"\xff\xff")
