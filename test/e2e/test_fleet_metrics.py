# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot that walks, its exporter, the real Prometheus, and what a person is shown of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from diagnostic_msgs.msg import KeyValue
from policy_msgs.msg import PolicyStatus, RobotStatus, ShadowStatus, TrialStatus
from rclpy.node import Node
from sensor_msgs.msg import BatteryState

from examples.demos.runner import Processes, free_port
from model_tools.cli import main
from policy_inference.nodes import qos

from .monitoring import DEPLOY, Prometheus, dashboard_expressions, installed_program
from .rig import Rig

ROBOT, RULES = "lite3_1", DEPLOY / "prometheus/policy_inference.rules.yml"
FORWARD_MPS = 0.5


def test_alert_rules_do_what_their_tests_say() -> None:
    tests = RULES.with_suffix(".test.yml")
    done = subprocess.run(
        [installed_program("promtool"), "test", "rules", tests.name], cwd=tests.parent
    )
    assert done.returncode == 0


def test_every_alert_has_a_test_and_a_meaning() -> None:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    tests = yaml.safe_load(RULES.with_suffix(".test.yml").read_text("utf-8"))["tests"]
    assert alerts == {
        one["alertname"]
        for test in tests
        for one in test.get("alert_rule_test", ())
        if one["exp_alerts"]
    }
    page = (DEPLOY.parent / "docs/fleet.md").read_text("utf-8")
    assert not [alert for alert in alerts if f"`{alert}`" not in page]


def test_configuration_of_prometheus_is_one() -> None:
    file = DEPLOY / "prometheus/prometheus.yml"
    assert subprocess.run([installed_program("promtool"), "check", "config", file]).returncode == 0


_DISTANCES = ("mean", "rms", "max", "mean_steps", "rms_steps", "max_steps")


class Sensors:
    """What this robot lacks: a hot NPU, drives with temperatures, a battery, shadow and trial."""

    def __init__(self, node: Node) -> None:
        """Publish as nodes of their own would, ten times a second."""
        battery = node.create_publisher(BatteryState, "battery_state", qos.SAMPLE)
        driver = node.create_publisher(RobotStatus, "a_driver/status", qos.STATUS)
        status = RobotStatus(joint_names=["FL_knee"], temperature_c=[40.0])
        npu = node.create_publisher(PolicyStatus, "a_policy_node/status", qos.STATUS)
        hot = PolicyStatus(
            telemetry=[KeyValue(key="npu_temperature_c", value="61.0")],
            bundle_name="other",
            shadow=[ShadowStatus(joints=["FL_knee"], **{name: [0.1] for name in _DISTANCES})],
            trial=[TrialStatus(state="kept", run_time_s=1.0, run_time_limit_s=2.0)],
        )

        def publish() -> None:
            battery.publish(BatteryState(percentage=0.8, voltage=28.0))
            driver.publish(status)
            npu.publish(hot)

        node.create_timer(0.1, publish)


@pytest.fixture
def walking(tmp_path: Path) -> Iterator[tuple[Rig, Prometheus]]:
    """A robot that walks, with its exporter and Prometheus."""
    installed_program("prometheus")
    port = free_port()
    with ExitStack() as opened:
        robot = opened.enter_context(Rig(tmp_path))
        Sensors(robot.operator.node)
        exporters = opened.enter_context(Processes())
        exporters.start("robot_metrics", {"port": port, "robot": ROBOT}, tmp_path / "metrics.log")
        prometheus = opened.enter_context(Prometheus(tmp_path, {ROBOT: port}))
        robot.operator.stand_up()
        robot.operator.move(FORWARD_MPS)
        yield robot, prometheus


def fleet_status(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    status = main(["fleet", "status", "--json", *words])
    robots = json.loads(capsys.readouterr().out)["robots"]
    return status, {robot["robot"]: robot for robot in robots}


@pytest.mark.ros
@pytest.mark.acceptance
def test_a_robot_is_followed_while_it_walks_and_when_its_node_is_killed(
    walking: tuple[Rig, Prometheus], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robot, prometheus = walking
    running = 'policy_inference_mode{mode="RUN"} == 1'
    prometheus.wait_until(lambda: prometheus.query(running), robot.operator.wait)

    # The dashboard: each expression is one, and has data.
    for expression in dashboard_expressions():
        prometheus.get("format_query", query=expression)
        prometheus.wait_until(partial(prometheus.query, expression), robot.operator.wait)

    # The fleet view, by the rules of Prometheus.
    url = ["--prometheus", prometheus.url]

    page = tmp_path / "fleet.html"

    def healthy() -> bool:
        _, robots = fleet_status(capsys, *url, "--html", str(page))
        # Other work on this machine may make ticks slow, which is not what is tested here.
        odd = [text for text in robots[ROBOT]["reasons"] if not text.startswith("PolicySlow")]
        return "lite3_walk@" in robots[ROBOT]["policy"] and not odd

    prometheus.wait_until(healthy, robot.operator.wait)
    assert ROBOT in page.read_text("utf-8")
    _, robots = fleet_status(capsys, *url, "--policy", "lite3_walk@0.0.1")
    assert any("expected lite3_walk@0.0.1" in text for text in robots[ROBOT]["reasons"])

    os.kill(robot.policy.pid, signal.SIGKILL)
    robot.expect_deaths()
    prometheus.wait_until(lambda: fleet_status(capsys, *url)[0] == 1)
    _, robots = fleet_status(capsys, *url)
    assert any("no status" in reason for reason in robots[ROBOT]["reasons"])
    gone = 'ALERTS{alertname="PolicyNodeGone", alertstate="firing"}'
    prometheus.wait_until(lambda: prometheus.query(gone))
    _, robots = fleet_status(capsys, *url)
    assert robots[ROBOT]["since_s"] is not None


@pytest.mark.ros
def test_a_prometheus_without_our_rules_or_robots_proves_no_health(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Prometheus(tmp_path, {}, rules=False) as prometheus:
        assert fleet_status(capsys, "--prometheus", prometheus.url) == (4, {})
