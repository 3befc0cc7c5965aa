# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a robot's nodes report, as Prometheus reads it over HTTP."""

import math
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from policy_msgs.msg import InputStatus, PolicyStatus
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

from policy_core.interfaces import Mode
from policy_inference.nodes import qos
from policy_inference.nodes.robot_metrics import RobotMetrics, RobotMetricsNode
from testkit.waiting import until

from .harness import DEADLINE_S

pytestmark = pytest.mark.ros
NODE = "/lite3_1/joint_policy_node"
STALE_S = 2.0
Samples = dict[tuple[str, ...], float]


def samples_of(text: str) -> Samples:
    """Return the samples by name and labels, less those of robot and node."""
    return {
        (
            sample.name.removeprefix("policy_inference_"),
            *(value for key, value in sample.labels.items() if key not in ("robot", "node")),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Seen:
    """The metrics of one robot with one policy node, without a node of their own."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.metrics = RobotMetrics("lite3_1", STALE_S, self.clock)
        self.metrics.expect(NODE, PolicyStatus)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self.metrics)

    def status(self, wait_s: float = 0.0, **fields: Any) -> None:
        self.clock.now_s += wait_s
        self.metrics.take_status(NODE, PolicyStatus(**fields))

    def text(self) -> str:
        return bytes(generate_latest(self._registry)).decode()

    def samples(self) -> Samples:
        return samples_of(self.text())


@pytest.fixture
def seen_robot() -> Seen:
    return Seen()


def test_status_is_shown_as_samples(seen_robot: Seen) -> None:
    inputs = [InputStatus(name="imu/data", age_s=math.inf), InputStatus(name="odom", ok=True)]
    fields: dict[str, Any] = {
        **{"bundle_name": "lite3_walk", "bundle_version": "1.2.0", "bundle_sha256": "ab"},
        **{"backend": "onnx", "mode": Mode.HOLD, "latched": True, "inputs": inputs},
        **{"rate_hz": 50.0, "rate_reached_hz": 49.5, "ticks": 500, "ticks_missed": 2},
        **{"latency_p50_s": 0.001, "latency_p99_s": 0.002, "latency_max_s": 0.003},
    }
    seen_robot.status(**fields)
    expected: Samples = {
        ("info", "onnx", "lite3_walk", "ab", "1.2.0"): 1,
        ("latched",): 1,
        **{("mode", mode.name): float(mode is Mode.HOLD) for mode in Mode},
        ("rate_asked_hertz",): 50.0,
        ("rate_hertz",): 49.5,
        ("latency_seconds", "0.5"): 0.001,
        ("latency_seconds", "0.99"): 0.002,
        ("latency_seconds", "1"): 0.003,
        ("ticks_total",): 500,
        ("ticks_missed_total",): 2,
        ("input_age_seconds", "imu/data"): math.inf,
        ("input_ok", "imu/data"): 0,
        ("input_ok", "odom"): 1,
    }
    found = seen_robot.samples()
    assert {key: found[key] for key in expected} == expected


def test_time_in_each_mode_adds_up_and_no_silence_counts(seen_robot: Seen) -> None:
    seen_robot.status(mode=Mode.RUN)
    seen_robot.status(0.2, mode=Mode.HOLD)
    seen_robot.status(0.3, mode=Mode.RUN)
    seen_robot.status(STALE_S + 1.0, mode=Mode.RUN)
    found = seen_robot.samples()
    assert found["mode_seconds_total", "RUN"] == pytest.approx(0.2)
    assert found["mode_seconds_total", "HOLD"] == pytest.approx(0.3)


@pytest.mark.parametrize("reported", [False, True])
def test_a_silent_node_is_not_up_and_has_no_values(seen_robot: Seen, reported: bool) -> None:
    if reported:
        seen_robot.status(mode=Mode.RUN, rate_reached_hz=50.0)
        assert seen_robot.samples()["up",] == 1
    seen_robot.clock.now_s += STALE_S + 0.5
    assert seen_robot.samples() == {
        ("policy_nodes",): 1,
        ("up",): 0,
        ("status_age_seconds",): STALE_S + 0.5 if reported else math.inf,
    }


def test_labels_of_a_hostile_status_are_bounded(seen_robot: Seen) -> None:
    seen_robot.status(
        backend="b" * 10_000, inputs=[InputStatus(name=f"{place}" * 300) for place in range(10_000)]
    )
    text = seen_robot.text()
    assert len(text) < 200_000
    assert max(map(len, re.findall(r'="([^"]*)"', text))) <= 200


@pytest.fixture
def spinner() -> Iterator[SingleThreadedExecutor]:
    """What spins nodes; those that read the process's arguments are in the namespace /lite3_1."""
    rclpy.init(args=["--ros-args", "-r", "__ns:=/lite3_1"])
    executor = SingleThreadedExecutor()
    yield executor
    for node in executor.get_nodes():
        node.destroy_node()
    executor.shutdown()
    rclpy.try_shutdown()


@pytest.fixture
def exporter(spinner: SingleThreadedExecutor) -> Iterator[RobotMetricsNode]:
    node = RobotMetricsNode([Parameter("port", value=0)])
    spinner.add_node(node)
    yield node
    node.close()


def publishing(executor: SingleThreadedExecutor, namespace: str) -> Node:
    """Return a node that publishes a status with its namespace as version, ten times a second."""
    node = Node("joint_policy_node", namespace=namespace, use_global_arguments=False)
    publisher = node.create_publisher(PolicyStatus, "~/status", qos.STATUS)
    node.create_timer(0.1, lambda: publisher.publish(PolicyStatus(bundle_version=namespace)))
    executor.add_node(node)
    return node


def scraped_metrics(exporter: RobotMetricsNode) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def spins_until(executor: SingleThreadedExecutor, condition: Callable[[], object]) -> None:
    def holds() -> object:
        executor.spin_once(timeout_sec=0.05)
        return condition()

    until(holds)


def test_nodes_of_the_namespace_are_found_and_those_of_others_are_not(
    spinner: SingleThreadedExecutor, exporter: RobotMetricsNode
) -> None:
    for namespace in ("/lite3_10", "/lite3_1"):
        publishing(spinner, namespace)
    spins_until(spinner, lambda: 'version="/lite3_1"' in scraped_metrics(exporter))
    found = scraped_metrics(exporter)
    assert samples_of(found)["policy_nodes",] == 1
    assert set(re.findall(r'robot="([^"]*)"', found)) == {"lite3_1"}


def test_the_process_ends_when_it_is_asked_to() -> None:
    command = [sys.executable, "-m", "policy_inference.nodes.robot_metrics", "--ros-args"]
    process = subprocess.Popen(
        [*command, "-p", "port:=0"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "/metrics" in line:
            break
    process.send_signal(signal.SIGINT)
    process.stderr.close()
    assert process.wait(DEADLINE_S) == 0
