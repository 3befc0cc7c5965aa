# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated arm under a chunk policy, recorded by the episode recorder: an evaluation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader
from std_srvs.srv import Trigger

from lerobot_bridge.episode import PolicyRan, read_sidecar
from robot_sim.demo.processes import Processes
from robot_sim.nodes.arm_operator import ArmOperator

from .reach_bundle import write_reach

pytestmark = [pytest.mark.ros, pytest.mark.slow]
_WITHIN_S = 60.0


def recorded(episode: Path) -> tuple[Counter[str], list[int]]:
    """Return how many messages of each topic an episode has, and the times of all."""
    counts, times = Counter[str](), list[int]()
    with AnyReader([episode]) as reader:
        for connection, log_ns, data in reader.messages():
            reader.deserialize(data, connection.msgtype)
            counts[connection.topic] += 1
            times.append(log_ns)
    return counts, times


class Evaluation:
    """The arm, its policy and the recorder as processes; who stands beside them."""

    def __init__(self, folder: Path, nodes: Processes) -> None:
        """Start all, as the guide does."""
        self.folder, self.session = folder, folder / "session"
        bundle = write_reach(folder / "red")
        nodes.start("arm_sim_node", {"lockstep": True}, folder / "arm.log")
        nodes.start(
            "act_policy_node",
            {"bundle": str(bundle), "mode": "synchronous", "use_sim_time": True},
            folder / "policy.log",
        )
        self.recorder = nodes.start(
            "episode_recorder",
            {
                "mapping": "so101_reach",
                "output": str(self.session),
                "task": "Reach the cube.",
                "auto": False,
                "use_sim_time": True,
                "policy_node": "act_policy_node",
                "extra_topics": "environment_state",
            },
            folder / "recorder.log",
        )

    def ask(self, operator: ArmOperator, request: str) -> str:
        """Ask the recorder for something that must succeed."""
        client = operator.node.create_client(Trigger, f"episode_recorder/{request}")
        return operator.call(client, request)


def test_evaluation_is_recorded_with_success_and_interventions(tmp_path: Path) -> None:
    with Processes() as nodes:
        evaluation = Evaluation(tmp_path, nodes)
        with ArmOperator(use_sim_time=True, watch=nodes.check) as operator:
            operator.wait_for_robot()
            operator.stand()
            operator.demand("run")
            operator.wait(0.5)
            evaluation.ask(operator, "start")
            operator.wait(3.0)
            evaluation.ask(operator, "success")
            evaluation.ask(operator, "next")
            operator.wait_until(
                lambda: "episode 1 begins" in evaluation.recorder.output(),
                "the second episode",
                _WITHIN_S,
            )
            operator.wait(1.0)
            operator.demand("damp")
            operator.wait_until(
                lambda: "is driven by a person" in evaluation.recorder.output(),
                "the intervention",
                _WITHIN_S,
            )
            operator.wait(0.5)
            evaluation.ask(operator, "finish")
        assert evaluation.recorder.end() == 0

    first, second = (evaluation.session / f"episode_{number:04d}" for number in range(2))
    reached, damped = read_sidecar(first), read_sidecar(second)
    assert (reached.success, reached.interventions) == (True, ())
    assert reached.policy == PolicyRan(
        node="/act_policy_node", bundle_name="red", bundle_version="1.0.0"
    )
    assert (damped.success, damped.ended) == (None, "finish was asked for")
    for episode in (first, second):
        counts, times = recorded(episode)
        assert counts.keys() == {
            "/joint_states",
            "/joint_command",
            "/front/image_raw",
            "/wrist/image_raw",
            "/environment_state",
            "/act_policy_node/status",
        }
        # The simulation runs as fast as it can, and waits for the policy alone.
        assert min(counts[name] for name in counts if "status" not in name) > 10
    ((begin_ns, end_ns),) = damped.interventions or ()
    assert times[0] < begin_ns < end_ns
    assert begin_ns < times[-1]
