# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy allows each node what it does, and not what moves a robot beside that."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from policy_inference.testing.domains import claimed_domain_id
from robot_operator.nodes.client import Operator
from robot_operator.nodes.own_node import own_node
from robot_sim.arm_servos import ArmServos
from robot_sim.servo_bus import ServoPort

POLICY = Path(__file__).parents[2] / "src/policy_inference/security/robot.policy.xml"
MAINTENANCE = {"load", "record", "record_run", "change_state", "set_parameters"}
CHANGES = ("load", "change_state", "set_parameters")
REQUESTS = {
    "joint_policy_node": ("stand", "run", *CHANGES),
    "act_policy_node": ("stand", "run", "take_over", "hand_back"),
    "policy_set_node": ("stand", "run", "switch", *CHANGES),
    **dict.fromkeys(
        ("lite3_driver", "go2_driver", "g1_driver", "lerobot_arm_driver"), ("take_control",)
    ),
}
MOVES = {f"/{node}/{request}" for node, requests in REQUESTS.items() for request in requests}
UNITREE = ("domain_id:={domain}", "joy_rate_hz:=50.0")


def allowed() -> dict[str, dict[str, set[str]]]:
    """Return, per enclave, the absolute names of `publish`, `subscribe`, `reply`, `request`."""
    found: dict[str, dict[str, set[str]]] = {}
    for enclave in ElementTree.parse(POLICY).getroot().iter("enclave"):
        kinds = found[enclave.get("path", "").lstrip("/")] = {
            kind: set[str]() for kind in ("publish", "subscribe", "reply", "request")
        }
        for profile in enclave.iter("profile"):
            node = profile.get("node", "")
            for group in profile:
                for kind in kinds.keys() & group.attrib.keys():
                    kinds[kind] |= {(one.text or "").replace("~", f"/{node}") for one in group}
    return found


@contextmanager
def kept_running(*command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def looking() -> Iterator[tuple[Node, SingleThreadedExecutor]]:
    """Yield a node that sees the graph, and what spins it."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("looking", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield node, executor
    executor.shutdown()
    node.destroy_node()
    context.try_shutdown()


def graph_of(looker: Node, name: str) -> dict[str, set[str]]:
    """Return the names that a node uses, as `allowed` does."""
    return {
        kind: {used for used, _ in ask(name, "/")}
        for kind, ask in {
            "publish": looker.get_publisher_names_and_types_by_node,
            "subscribe": looker.get_subscriber_names_and_types_by_node,
            "reply": looker.get_service_names_and_types_by_node,
            "request": looker.get_client_names_and_types_by_node,
        }.items()
    }


@pytest.mark.slow
@pytest.mark.ros
@pytest.mark.parametrize(
    ("name", "last", "arguments"),
    [
        ("joint_policy_node", ("publish", "/joint_command"), ("bundle:=lite3_walk",)),
        (
            "act_policy_node",
            ("publish", "/leader/joint_command"),
            ("bundle:=so101_reach", "takeover:=true"),
        ),
        ("policy_set_node", ("publish", "/joint_command"), ("bundle:=lite3_so101",)),
        ("policy_set_node", ("subscribe", "/cmd_vel"), ("bundle:=lite3_gaits",)),
        (
            "lite3_driver",
            ("publish", "/joint_states"),
            ("interface_address:=127.0.0.1", "host_address:=127.0.0.1", "state_port:={port}"),
        ),
        ("go2_driver", ("publish", "/joint_states"), UNITREE),
        ("g1_driver", ("publish", "/joint_states"), UNITREE),
        ("lerobot_arm_driver", ("publish", "/joint_states"), ("port:={servos}",)),
        ("operator_node", ("subscribe", "/joint_policy_node/status"), ()),
        ("robot_metrics", ("subscribe", "/diagnostics"), ("port:=0",)),
    ],
)
def test_policy_allows_what_a_node_does(
    name: str, last: tuple[str, str], arguments: tuple[str, ...]
) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ExitStack() as opened:
        servos = ServoPort(ArmServos().bus)
        opened.callback(servos.close)
        domain = opened.enter_context(claimed_domain_id())
        values = {"port": port, "domain": domain, "servos": servos.name}
        given = [word for one in arguments for word in ("-p", one.format(**values))]
        opened.enter_context(kept_running(name, "--ros-args", *given))
        looker, executor = opened.enter_context(looking())
        ends_s = time.monotonic() + 30.0
        while (name, "/") not in looker.get_node_names_and_namespaces() or last[1] not in graph_of(
            looker, name
        )[last[0]]:
            assert time.monotonic() < ends_s, f"{name} has no {last}"
            executor.spin_once(timeout_sec=0.1)
        found = graph_of(looker, name)

    assert not beyond(name, found)


@pytest.mark.ros
@pytest.mark.parametrize(
    ("name", "enclaves"),
    [
        ("operator_looks_around", ("operator_node", "maintenance")),
        ("operator_stops", ("operator_node",)),
    ],
)
def test_policy_allows_the_brief_nodes_of_the_command_line(
    name: str, enclaves: tuple[str, ...]
) -> None:
    with claimed_domain_id(), own_node(name, silent=True):
        found = seen_graph(name)
    for enclave in enclaves:
        assert not beyond(enclave, found)


@pytest.mark.ros
@pytest.mark.parametrize(("enclave", "requests"), [("operator_node", True), ("maintenance", False)])
@pytest.mark.parametrize("policy", ["joint_policy_node", "act_policy_node", "policy_set_node"])
def test_policy_allows_the_command_line(enclave: str, requests: bool, policy: str) -> None:
    driver = "lite3_driver" if requests else None
    with (
        claimed_domain_id(),
        Operator(policy_node=policy, driver_node=driver, drives=requests, requests=requests),
    ):
        found = seen_graph("operator")
    assert f"/{policy}/status" in found["subscribe"]
    assert bool(found["request"]) == requests
    assert not beyond(enclave, found)


def seen_graph(name: str) -> dict[str, set[str]]:
    """Return the names that a node of this process uses, once no more appear."""
    with looking() as (looker, executor):
        ends_s = time.monotonic() + 30.0
        before, found = dict[str, set[str]](), dict[str, set[str]]()
        while not found.get("publish") or found != before:
            assert time.monotonic() < ends_s, f"no {name}"
            executor.spin_once(timeout_sec=0.5)
            before = found
            if (name, "/") in looker.get_node_names_and_namespaces():
                found = graph_of(looker, name)
        return found


def beyond(enclave: str, found: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the names that an enclave does not allow."""
    kinds = allowed()[enclave]
    return {kind: more for kind, names in found.items() if (more := names - kinds[kind])}


def test_policy_lets_policies_and_driver_alone_command() -> None:
    by_node = allowed()

    assert {node for node, kinds in by_node.items() if "/joint_command" in kinds["publish"]} == {
        "joint_policy_node",
        "act_policy_node",
        "policy_set_node",
    }
    assert {node for node, kinds in by_node.items() if kinds["request"] & MOVES} == {
        "operator_node",
        "maintenance",
    }
    assert not {
        name
        for name in by_node["operator_node"]["request"]
        if name.rsplit("/", 1)[-1] in MAINTENANCE
    }


def test_each_enclave_stands_once() -> None:
    paths = [one.get("path") for one in ElementTree.parse(POLICY).getroot().iter("enclave")]
    assert len(paths) == len({*paths})


def test_policy_has_no_wildcard() -> None:
    assert "*" not in POLICY.read_text("utf-8")
