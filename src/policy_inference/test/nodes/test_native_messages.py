# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The native core reads and writes messages as the Python nodes do, bit for bit."""

import random
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import pytest
from rclpy.serialization import deserialize_message

from policy_core.bundle.contract import JointContract
from policy_core.bundle.state_fields import COMMAND, STATE_TOPICS, TWIST, TWIST_STAMPED
from policy_core.interfaces import JointTargets, Mode
from policy_core.plan import plan_bytes
from policy_inference.messages.readers import message_types
from policy_inference.nodes.control_loop import DueTick
from policy_inference.nodes.outputs import OUTPUTS, encoder_plan
from policy_inference.nodes.sampler import Sampler
from policy_inference.nodes.sampling import decoder_for, message_class
from testkit.kernel.contracts import contract_of
from testkit.kernel.seen import NEEDED
from testkit.kernel.twins import Twins, require_equal
from testkit.wire_messages import ALL_INPUTS, CdrWriter, RandomMessages

native = pytest.importorskip("policy_core_native", reason="the native core is not built")
pytestmark = pytest.mark.ros
ACCEPTED, NOT_NEW, REFUSED, DOUBTED = range(4)
PERIOD_NS = 20_000_000
NAMES = ["FL_hip", "FL_knee", "gelenk_ö"]
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

    def __init__(
        self,
        contract: JointContract,
        seed: int,
        command: str = TWIST,
        plan: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._twins = Twins(native, contract, seed)
        self.python, self._words = self._twins.python, self._twins.words
        self.types = {name: message_types(name)[0] for name in self.python.inputs}
        if COMMAND in self.types:
            self.types[COMMAND] = command
        self._topics, self._sampler = self._sampled(self._twins)
        # Whatever the native reader refuses, another one in Python makes the words of.
        self._other = Twins(native, contract, seed)
        self._other_topics, self._other_sampler = self._sampled(self._other)
        plan = plan or self._sampler.plan()
        self.native = native.NativeController(
            plan_bytes({**self.python.plan(), "messages": [*plan]}, bytes(32)),
            {
                name: (each.inputs, each.outputs, each.number)
                for name, (_, each) in self._twins.models.items()
            },
            self._twins.clock,
        )
        self._problems = {each["input"]: self._words.new_number() for each in plan}
        self.readers = {
            name: native.NativeReader(self.native, place, problem)
            for place, (name, problem) in enumerate(self._problems.items())
        }
        self._flat = self.native.flat()
        self.clock_runs_ns = 0
        """Time that passes on the clock between a tick's begin and the judgment of its message."""

    @classmethod
    def of_all(cls, command: str = TWIST) -> "MessageTwins":
        """Return twins with every input that a joint policy may have."""
        return cls(contract_of(ALL_INPUTS), 0, command)

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
        self._twins.let_clock_run(self.clock_runs_ns)
        self._topics[name].data = data
        self._sampler.sample(tick)
        reader, problem = self.readers[name], self._problems[name]
        verdict = int(reader.take(data, tick.now_ns, tick.ros_now_ns, repeated))
        if verdict == REFUSED:
            self._words.set_text(problem, self._why(name, reader.refused()))
        if verdict == DOUBTED:
            doubted = self._words.joint_problem(reader.joint_problem())
            self._words.set_text(problem, doubted)
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


@pytest.mark.slow
@pytest.mark.parametrize("command", [TWIST, TWIST_STAMPED])
@pytest.mark.parametrize("changes", [ALL_INPUTS, FEW], ids=["all", "few"])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.acceptance)])
def test_random_streams_leave_the_same_state(
    changes: Mapping[str, object], command: str, seed: int
) -> None:
    twins = MessageTwins(contract_of(changes), seed, command)
    messages, draw = RandomMessages(NAMES, seed), random.Random(seed)
    messages.label = twins.python.state.perceived.get("perception/ground", "").encode()
    verdicts = set[tuple[str, int]]()
    for _ in range(1200):
        name = draw.choice([*twins.types])
        late_ns = draw.choice([0, 0, 0, 0, PERIOD_NS, 10 * PERIOD_NS, 10**9])
        stamp_ns = draw.choice([twins.now_ns + 10**18 - late_ns] * 20 + [0, -5_000_000_001])
        data = messages.make(twins.types[name], stamp_ns)
        verdicts.add((name, twins.take(name, data, repeated=draw.random() < 0.01)))
    for name in twins.types:
        assert {(name, ACCEPTED), (name, REFUSED)} <= verdicts
    assert ("joint_states", DOUBTED) in verdicts
    assert ("imu/data", NOT_NEW) in verdicts


@pytest.mark.slow
@pytest.mark.parametrize("command", [TWIST, TWIST_STAMPED])
def test_messages_cut_off_anywhere_are_refused_alike_and_spoil_no_later_one(command: str) -> None:
    twins, messages = MessageTwins.of_all(command), RandomMessages(NAMES, 0)
    messages.is_valid = True
    names = [*twins.types] if command == TWIST else [COMMAND]
    for name in names:
        kind = twins.types[name]
        whole, refused = messages.make(kind, twins.now_ns + 10**18), 0
        for length in range(len(whole)):
            stamp_ns = twins.now_ns + 10**18
            refused += twins.take(name, messages.make(kind, stamp_ns)[:length]) == REFUSED
        assert refused > 20
        while twins.take(name, messages.make(kind, twins.now_ns + 10**18)) == DOUBTED:
            pass
        assert not twins.python.inputs[name].problem


@pytest.mark.parametrize("command", [TWIST, TWIST_STAMPED])
def test_either_byte_order_is_read(command: str) -> None:
    twins, messages = MessageTwins.of_all(command), RandomMessages(NAMES, 0)
    messages.is_valid = True
    for tick in range(60):
        messages.is_big_endian = tick % 3 > 0
        for name, kind in twins.types.items():
            verdict = twins.take(name, messages.make(kind, twins.now_ns + 10**18))
            # The pose of the joints is confirmed first.
            assert verdict == ACCEPTED or (name, verdict) == ("joint_states", DOUBTED)


def test_a_clock_that_moves_between_reading_and_judging_changes_nothing() -> None:
    """After exactly the time-out, joints may still have moved: only the tick's time decides."""
    still, moved = [0.0, 0.0, 0.0], [0.3, 0.0, 0.0]
    lives = []
    for late_ns in (0, 1_000_000):
        twins, verdicts = MessageTwins.of_all(), list[int]()
        for position in (*[still] * NEEDED, moved, still):
            if position is moved:
                twins.clock_runs_ns = late_ns
                twins.take("imu/data", b"")  # a period passes without joints
            cdr = CdrWriter().stamp(twins.now_ns + PERIOD_NS).text(b"").put("I", len(NAMES))
            for name in NAMES:
                cdr.text(name.encode())
            for values in (position, still, still):
                cdr.array("d", values)
            verdicts.append(twins.take("joint_states", cdr.message()))
        lives.append(verdicts)
    assert lives[0] == [DOUBTED] * (NEEDED - 1) + [ACCEPTED] * 3
    assert lives[0] == lives[1]


def test_the_same_names_are_utf_8() -> None:
    twins, draw = MessageTwins.of_all(), random.Random(0)
    first = bytes.fromhex("41 80 c1 c2 df e0 e1 ed ef f0 f1 f4 f5")
    more = bytes.fromhex("41 7f 80 8f 90 9f a0 bf c0")
    verdicts = set[int]()
    for i in range(1500):
        name = bytes([draw.choice(first), *draw.choices(more, k=draw.randrange(4))])
        names = [name, *(joint.encode() for joint in NAMES)]
        cdr = CdrWriter().stamp(i + 1).text(b"").put("I", len(names))
        for each in names:
            cdr.text(each)
        for _ in range(3):
            cdr.array("d", [0.0] * len(names))
        verdicts.add(twins.take("joint_states", cdr.message()))
    assert verdicts == {ACCEPTED, DOUBTED, REFUSED}


@pytest.mark.parametrize("encoding", ["0002", "0003", "0006", "0007", "0101"])
def test_no_other_encoding_is_read(encoding: str) -> None:
    twins, messages = MessageTwins.of_all(), RandomMessages(NAMES, 0)
    messages.is_valid = True
    before = twins.native.flat().tobytes()
    for name, kind in twins.types.items():
        data = bytes.fromhex(encoding) + messages.make(kind, 1)[2:]
        assert twins.readers[name].take(data, twins.now_ns, twins.now_ns, False) == REFUSED
        assert twins.readers[name].refused() == data
    assert twins.native.flat().tobytes() == before


def test_refused_bytes_are_kept_up_to_64_kib() -> None:
    reader = MessageTwins.of_all().readers["imu/data"]
    for size in (100, 65536, 65537, 0, 7):
        data = b"\0\1\0\0" + bytes(size)
        assert reader.take(data[:size], 1, 1, False) == REFUSED
        assert reader.refused() == (data[:size] if size <= 65536 else b"")


def robot_plan(**changes: object) -> dict[str, object]:
    sampled: dict[str, Any] = {"imu/data": WireTopic("sensor_msgs/msg/Imu")}
    twins = Twins(native, contract_of(ALL_INPUTS), 0)
    (plan,) = Sampler(sampled, twins.python, NAMES).plan()
    return {**plan, **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "image"}, "image: expected joints, robot, velocity, vector or perceived"),
        ({"fields": ["ang_vel_body", "height"]}, "height: expected a field of the state"),
        ({"required": "position"}, "position: expected orientation, pose or nothing"),
        ({"kind": "velocity"}, "expected vx, vy and yaw rate"),
    ],
)
def test_plan_that_does_not_fit_is_refused(changes: Mapping[str, object], words: str) -> None:
    with pytest.raises(native.PlanError, match=words):
        MessageTwins(contract_of(ALL_INPUTS), 0, plan=[robot_plan(**changes)])


def test_every_type_of_a_state_topic_can_be_read() -> None:
    read = {
        kind
        for command in (TWIST, TWIST_STAMPED)
        for kind in MessageTwins.of_all(command).types.values()
    }
    assert read >= {kind for topic in STATE_TOPICS.values() for kind in topic.types}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_commands_are_the_same(kind: str) -> None:
    contract = contract_of({"safety.on_fault": "hold_measured"})
    joints, numbers = len(contract.joints.names), np.random.default_rng(0)
    plan = plan_bytes(encoder_plan(kind, contract, 0.25), bytes(32))
    encoder = native.NativeEncoder(plan, joints)
    stamps = [0, 1, 10**18 + 7, -1, -(10**9), 2**31 * 10**9 - 1]
    _, message_type, make = OUTPUTS[kind]
    build = make(contract, 0.25, count(2**33))
    targets = JointTargets(joints)
    for i, (mode, stamp_ns) in enumerate(zip([*Mode, Mode.DAMP], stamps, strict=True)):
        targets.mode = mode
        targets.block[...] = numbers.normal(size=targets.block.shape)
        expected = build(targets, stamp_ns)
        found = encoder.encode(targets.block, mode, stamp_ns, 2**33 + i)
        # Where the middleware serialises, its memory shows in the padding.
        is_bytes = isinstance(expected, bytes)
        assert (found if is_bytes else deserialize_message(found, message_type)) == expected


def test_message_for_other_joints_is_refused() -> None:
    plan = plan_bytes(encoder_plan("joint_command", contract_of(), 0.25), bytes(32))
    with pytest.raises(native.PlanError, match="expected a message for 4 joints"):
        native.NativeEncoder(plan, 4)
