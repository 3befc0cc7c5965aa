# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated arm whose policy a person corrects with a leader arm, recorded in one episode."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from policy_msgs.msg import JointCommand
from rclpy.qos import QoSProfile
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from examples.demos.arm_operator import ArmOperator
from examples.demos.runner import Processes

HANDOVER_S, RATE_HZ = 0.3, 30.0
WITHIN_S = 30.0
_EVERY_ONE = QoSProfile(depth=10_000)


class TakenOver:
    """The arm, its policy, a leader with motors and a recorder; and who operates all of them."""

    def __init__(self, folder: Path, operator: ArmOperator) -> None:
        self.session, self.operator = folder / "session", operator
        self.commands: list[JointCommand] = []
        self._interventions: list[Bool] = []
        listen = operator.node.create_subscription
        listen(JointCommand, "joint_command", self.commands.append, _EVERY_ONE)
        listen(Bool, "intervention", self._interventions.append, _EVERY_ONE)

    @property
    def person_drives(self) -> bool:
        return bool(self._interventions) and self._interventions[-1].data

    def runs(self) -> None:
        """Let the policy run, and an episode begin."""
        self.operator.wait_for_robot(WITHIN_S)
        self.operator.stand()
        self.operator.demand("run")
        self.operator.wait_for_mode("RUN")
        self.ask_recorder("start")

    def is_corrected(self, times: int) -> None:
        """Let a person take over so many times, each while the policy goes to a new place."""
        operator = self.operator
        for _ in range(times):
            operator.next_episode()
            operator.wait(0.4)
            operator.demand("take_over")
            operator.wait_until(lambda: self.person_drives, "a person who drives", WITHIN_S)
            operator.wait(0.6)
            operator.demand("hand_back")
            operator.wait_until(
                lambda: operator.status.reason == "the policy is driving", "the policy", WITHIN_S
            )

    def ask_recorder(self, request: str) -> None:
        client = self.operator.node.create_client(Trigger, f"episode_recorder/{request}")
        self.operator.call(client, request)

    def largest_step_rad(self) -> float:
        """Return the largest step of a target between two commands of the policy node in RUN."""
        runs = [each for each in self.commands if each.mode == JointCommand.MODE_RUN]
        return max(
            float(np.abs(np.subtract(after.position, before.position)).max())
            for before, after in itertools.pairwise(runs)
        )


@contextmanager
def taken_over(folder: Path, bundle: str, episode_s: float) -> Iterator[TakenOver]:
    """Start all in lockstep, no faster than real time: a recorder does not hold up a simulation."""
    with Processes() as nodes:
        nodes.start("arm_sim_node", {"lockstep": True, "lockstep_speed": 1.0}, folder / "arm.log")
        nodes.start("arm_leader", {"guided": True, "use_sim_time": True}, folder / "leader.log")
        nodes.start(
            "act_policy_node",
            {
                "bundle": bundle,
                "use_sim_time": True,
                "takeover": True,
                "handover_s": HANDOVER_S,
                "simulated_latency_s": 0.05,
                "status_rate_hz": 30.0,
            },
            folder / "policy.log",
        )
        recorder = nodes.start(
            "episode_recorder",
            {
                "mapping": "so101_reach",
                "output": str(folder / "session"),
                "task": "Reach the cube.",
                "auto": False,
                "episode_s": episode_s,
                "use_sim_time": True,
                "policy_node": "act_policy_node",
                "extra_topics": "leader/joint_states,intervention",
            },
            folder / "recorder.log",
        )
        with ArmOperator(use_sim_time=True, watch=nodes.check) as operator:
            yield TakenOver(folder, operator)
        recorder.stop()
        assert recorder.status == 0, recorder.output()
