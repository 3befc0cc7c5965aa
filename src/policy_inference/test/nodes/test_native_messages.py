# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The native core reads and writes messages as the Python nodes do, bit for bit."""

import dataclasses
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Twist

from policy_core.bundle.contract import JointContract
from policy_core.bundle.state_fields import COMMAND, STATE_TOPICS, TWIST, TWIST_STAMPED
from policy_core.errors import PolicyError
from policy_core.interfaces import JointTargets, Mode
from policy_core.native import JointProblem
from policy_core.plan import plan_bytes
from policy_inference.messages.readers import message_types
from policy_inference.nodes.outputs import OUTPUTS, encoder_plan
from policy_inference.nodes.pacing import DueTick
from policy_inference.nodes.sampler import Sampler
from policy_inference.nodes.sampling import decoder_for, message_class
from testkit.kernel.contracts import JOINTS, MOTION, contract_of
from testkit.kernel.twins import Twins, require_equal
from testkit.wire_messages import CdrWriter, RandomMessages

native = pytest.importorskip("policy_core_native", reason="the native core is not built")
pytestmark = pytest.mark.ros
ACCEPTED, NOT_NEW, REFUSED, DOUBTED = range(4)
PERIOD_NS = 20_000_000
NAMES = ["FL_hip", "FL_knee", "gelenk_ö"]
LIVE = {"live": {"timeout_s": 0.1}, "anchor": {"body": "trunk", "chain": []}}
ALL: Mapping[str, object] = {
    "observations": {
        "obs": {
            "terms": [
                *(
                    {"term": term}
                    for term in (
                        "base_ang_vel",
                        "base_lin_vel",
                        "base_pos",
                        "base_quat_xyzw",
                        "velocity_command",
                        "joint_pos",
                        "joint_vel",
                        "motion_joint_pos",
                        "motion_joint_vel",
                        "motion_anchor_ori_b",
                    )
                ),
                {"term": "external", "topic": "scan", "size": 3},
            ]
        }
    },
    "motion": LIVE,
}
FEW: Mapping[str, object] = {
    "observations": {"obs": {"terms": [{"term": "base_ang_vel"}, {"term": "velocity_command"}]}},
    "safety": {"on_fault": "damp"},
}


class WireTopic:
    """A subscription whose newest message is the bytes that a test has put there."""

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name
        self.data: bytes | None = None
        self._decode = decoder_for(message_class(type_name))

    def take(self) -> Any:
        data, self.data = self.data, None
        return None if data is None else self._decode(data)


class MessageTwins:
    """A sampler and native readers that get the same bytes."""

    def __init__(self, contract: JointContract, seed: int, command: str = TWIST) -> None:
        self._twins = Twins(native, contract, seed)
        self.python, self._words = self._twins.python, self._twins.words
        self.types = {name: message_types(name)[0] for name in self.python.inputs}
        if COMMAND in self.types:
            self.types[COMMAND] = command
        self._topics, self._sampler = self._sampled(self._twins)
        # Whatever the native reader refuses, another one in Python makes the words of.
        self._other = Twins(native, contract, seed)
        self._other_topics, self._other_sampler = self._sampled(self._other)
        plan = self._sampler.plan()
        self.native = native.NativeController(
            plan_bytes({**self.python.plan(), "messages": plan}, bytes(32)),
            {
                name: (each.inputs, each.outputs, each.number)
                for name, (_, each) in self._twins.models.items()
            },
            self._twins.clock,
        )
        self._problems = {each["input"]: self._words.number_of("") for each in plan}
        self._readers = {
            name: native.NativeReader(self.native, place, problem)
            for place, (name, problem) in enumerate(self._problems.items())
        }
        self._flat = self.native.flat()

    def _sampled(self, twins: Twins) -> tuple[dict[str, WireTopic], Sampler]:
        topics = {name: WireTopic(kind) for name, kind in self.types.items()}
        sampled: dict[str, Any] = dict(topics)
        return topics, Sampler(sampled, twins.python, NAMES)

    @property
    def now_ns(self) -> int:
        return self._twins.now_ns

    def take(self, name: str, data: bytes, *, repeated: bool = False) -> int:
        """Give both the newest message of an input; return the native verdict."""
        self._twins.now_ns += PERIOD_NS
        tick = self._due(repeated)
        self._topics[name].data = data
        self._sampler.sample(tick)
        reader, problem = self._readers[name], self._problems[name]
        verdict = int(reader.take(data, tick.now_ns, tick.ros_now_ns, repeated))
        if verdict == REFUSED:
            self._words.texts[problem] = self._why(name, reader.refused())
        if verdict == DOUBTED:
            doubted = JointProblem(*reader.joint_problem())
            self._words.texts[problem] = self._words.joint_problem(doubted)
        assert self._flat.tobytes() == self.python.state.flat.tobytes()
        require_equal("", self.python.saved(), self._words.tree(self.native.saved()))
        return verdict

    def _due(self, repeated: bool = False) -> DueTick:
        now_ns = self.now_ns
        return DueTick(
            now_ns=now_ns,
            next_deadline_ns=now_ns + PERIOD_NS,
            ros_now_ns=now_ns + 10**18,
            missed=0,
            repeated=repeated,
        )

    def _why(self, name: str, data: bytes) -> str:
        self._other_sampler.restart()
        self._other_topics[name].data = data
        self._other_sampler.sample(self._due())
        why = self._other.python.inputs[name].problem
        assert why
        return why


@pytest.mark.parametrize("command", [TWIST, TWIST_STAMPED])
@pytest.mark.parametrize("changes", [ALL, FEW], ids=["all", "few"])
@pytest.mark.parametrize("seed", range(3))
def test_random_streams_leave_the_same_state(
    changes: Mapping[str, object], command: str, seed: int
) -> None:
    twins = MessageTwins(contract_of(changes), seed, command)
    messages, draw = RandomMessages(NAMES, seed), random.Random(seed)
    verdicts = set[tuple[str, int]]()
    for _ in range(1500):
        name = draw.choice([*twins.types])
        late_ns = draw.choice([0, 0, 0, 0, PERIOD_NS, 10 * PERIOD_NS, 10**9])
        stamp_ns = draw.choice([twins.now_ns + 10**18 - late_ns] * 20 + [0, -5_000_000_001])
        data = messages.make(twins.types[name], stamp_ns)
        verdicts.add((name, twins.take(name, data, repeated=draw.random() < 0.01)))
    for name in twins.types:
        assert {(name, ACCEPTED), (name, REFUSED)} <= verdicts
    assert ("joint_states", DOUBTED) in verdicts
    assert ("imu/data", NOT_NEW) in verdicts
