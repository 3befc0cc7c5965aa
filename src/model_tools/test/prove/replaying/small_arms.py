# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Short flights of a small arm under a chunk policy, recorded as on a robot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.state_fields import LEADER
from policy_core.errors import BackendError, RobotError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Mode
from policy_core.members.chunk.controller import camera_input, chunk_controller
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.takeover import HAND_BACK, TAKE_OVER
from policy_core.members.chunk.worker import ChunkAnswer, Request
from policy_core.observation.images import Frame
from policy_inference.flight.description import Topic, flight_settings, make_flight
from policy_inference.flight.message_types import message_types
from policy_inference.flight.recording import Recording
from policy_inference.flight.ring import Ring, ShadowAnswer
from policy_inference.flight.sensors import JOINT_STATES, SensorMessages
from policy_inference.flight.worker_tap import WorkerTap
from policy_inference.kinds.chunk_worker import make_worker
from policy_inference.messages.readers import state_reader
from testkit.chunk_bundles import write_chunk_bundle

SETTINGS: dict[str, dict[str, Any]] = {
    "asynchronous": {},
    "realigned": {"realign": True},
    "fewer steps": {"steps": 5, "refill_threshold": 0.9},
    "slow": {"simulated_latency_s": 0.2},
    "ensemble": {"mode": "ensemble", "simulated_latency_s": 0.0},
    "synchronous": {"mode": "synchronous"},
}
"""Ways to execute chunks."""
START_NS = 5_000_000_000
ORDER = ("elbow_flex", "gripper", "shoulder_pan")
_LEADER_TOPIC = Topic(LEADER.name, JOINT_STATES.type)
_JITTER_NS = 1_500_000
_STAMPS_NS = 1_700_000_000_000_000_000


class NamedBackend:
    """What a recording says of the back end; nothing is run on it."""

    name = "onnx"

    def __init__(self) -> None:
        self.details = {"device": "CPU"}


def arm_bundle(folder: Path, **changes: Any) -> ChunkBundle:
    """Write a bundle of which all steps of a chunk may be executed."""
    contract: dict[str, Any] = {"chunk.steps": 8, "safety.damp_after_s": 1.0, **changes}
    return load_bundle(write_chunk_bundle(folder, **contract), kind=ChunkBundle)


class ArmFlight:
    """An arm that follows its commands with an error, and its controller; ticks are recorded.

    Ticks come a little late, each by another time; the policy is asked some time after that.
    """

    def __init__(
        self,
        tiny_policy: ChunkBundle,
        *,
        facts: Mapping[str, str] | None = None,
        state_every: int = 1,
        **settings: Any,
    ) -> None:
        """Stand still; the recording states these `facts`, too, and every so many ticks a state."""
        chosen = {"simulated_latency_s": 0.07, "fade_s": 0.1, **settings}
        self.settings, self.bundle = ChunkSettings(**chosen), tiny_policy
        contract = tiny_policy.contract
        limits = limits_in_force(contract, StricterLimits())
        self.clock_ns = self._due_ns = START_NS
        self.fails = False
        self.tap = WorkerTap(make_worker(self._run, self._clock, self.settings, inline=True))
        self.runtime = chunk_controller(tiny_policy, self.tap, limits, self._clock, self.settings)
        self.controller = self.runtime.controller
        self._leads = self.runtime.requests.person is not None
        self.leader: F64 | None = None
        """Pose of the leader [joints]; None: it is silent."""
        self.success: float | None = None
        """What a classifier of success says."""
        self.frozen: bytes | None = None
        """The image that all cameras repeat; None: they see something else each time."""
        self._period_ns, self._types = contract.period_ns, message_types()
        self._make = SensorMessages(self._types)
        backend: Any = NamedBackend()
        self._flight = make_flight(
            tiny_policy,
            backend,
            self.controller,
            [JOINT_STATES, *([_LEADER_TOPIC] if self._leads else [])],
            settings={**flight_settings(limits, backend, chunks=self.settings), **(facts or {})},
        )
        self.ring = Ring(self.controller.latest_tick, self.tap, 2000, state_every)
        self.tap.show(self.ring)
        names = contract.joints.on_robot()
        self._order = [names.index(name) for name in ORDER]
        self._readers = {
            name: state_reader(name, names, self.controller.state, self.controller.joint_check)
            for name in ("joint_states", *([LEADER.name] if self._leads else []))
        }
        self.position: F64 = contract.stand.position + 0.2
        self._random = np.random.default_rng(3)
        self.observe: Callable[[int], tuple[ShadowAnswer, ...]] = lambda tick: ()
        """Shown each tick by its number, before it is recorded; returns the answers of a shadow."""
        self.controller.start()
        self.ring.restart()

    def _clock(self) -> int:
        return self.clock_ns

    def _run(self, request: Request) -> ChunkAnswer:
        """Return a chunk from the pose of the observation on, with an error of its own."""
        if self.fails:
            raise BackendError("the device was removed")
        sensed = request.sensed
        size, period_s = self.bundle.contract.chunk.size, self._period_ns * 1e-9
        names, joints = self.bundle.contract.joints.names, self.bundle.contract.action.joints
        pose = sensed.fields["joint_pos"][[names.index(name) for name in joints]]
        times_s = sensed.time_ns * 1e-9 + period_s * np.arange(size)
        way = 0.1 * np.sin(3.0 * times_s)[:, np.newaxis] * np.array([1.0, -0.7, 0.3])
        chunk: F64 = 0.8 * pose + way + self._random.normal(0.0, 0.01, (size, 3))
        return ChunkAnswer(chunk, self.success)

    @property
    def ticks(self) -> int:
        return self.ring.end

    def runs(self, ticks: int) -> ArmFlight:
        self.go_on(30)
        self.ask("stand")
        while self.controller.mode is not Mode.READY:
            self.tick()
        self.ask("run")
        self.go_on(ticks)
        return self

    def ask(self, name: str) -> None:
        self.clock_ns += 7_654_321
        getattr(
            self.runtime.requests if name in (TAKE_OVER, HAND_BACK) else self.controller, name
        )()

    def go_on(self, ticks: int, **how: Any) -> None:
        for _ in range(ticks):
            self.tick(**how)

    def tick(self, *, silent: str = "", late: bool = False) -> None:
        """One tick, perhaps without what an input says, or too long."""
        self._due_ns += self._period_ns
        now_ns = self.clock_ns = self._due_ns + int(self._random.integers(0, _JITTER_NS))
        ros_ns, inputs = now_ns + _STAMPS_NS, self.controller.inputs
        arms = {"joint_states": None if silent == "joint_states" else self.position}
        if self._leads:
            arms[LEADER.name] = self.leader
        wire = tuple(
            None if pose is None else self._sense(name, pose, now_ns, ros_ns)
            for name, pose in arms.items()
        )
        for name, buffer in self.runtime.frames.items():
            if name != silent:
                self._show(name, buffer, now_ns, ros_ns)
        if outside := self.bundle.contract.environment_state:
            name = f"external:{outside.topic}"
            self.controller.state[name][:] = self._random.uniform(-1.0, 1.0, outside.size)
            inputs[outside.topic].accept(now_ns)
        self.clock_ns = policy_ns = now_ns + 400_000
        if late:
            self.clock_ns += 2 * self._period_ns
        targets = self.controller.tick(now_ns, now_ns + self._period_ns)
        tick, number = self.controller.latest_tick, None if targets is None else self.ring.end
        tick.send(targets, number, stamp_ns=ros_ns, duration_ns=policy_ns - now_ns)
        self.ring.record(tick, wire, self.observe(self.ring.end))
        if targets is not None:
            self.position += 0.5 * (targets.position - self.position)

    def _sense(self, name: str, pose: F64, now_ns: int, ros_ns: int) -> bytes:
        """Have the pose of an arm come as a message; return that."""
        stamp_ns, entry = ros_ns - 3_000_000, self.controller.inputs[name]
        data = self._make.joint_states(stamp_ns, ORDER, pose[self._order], np.zeros(3), np.zeros(3))
        if entry.is_new(stamp_ns, now_ns):
            try:
                message = self._types.deserialize_cdr(data, JOINT_STATES.type)
                self._readers[name].read(message, now_ns)
            except RobotError as error:
                entry.reject(str(error))
            else:
                entry.accept(now_ns, stamp_ns, ros_ns)
        return data

    def _show(self, name: str, buffer: Any, now_ns: int, ros_ns: int) -> None:
        taken_ns = now_ns - 12_000_000 - int(self._random.integers(0, 5_000_000))
        entry = self.controller.inputs[camera_input(name)]
        if not entry.is_new(taken_ns + _STAMPS_NS, now_ns):
            return
        entry.accept(now_ns, taken_ns + _STAMPS_NS, ros_ns)
        camera = buffer.camera
        seen = self._random.integers(0, 256, 3 * camera.width * camera.height, np.uint8)
        frame = Frame(
            encoding="rgb8",
            height=camera.height,
            width=camera.width,
            step=3 * camera.width,
            data=memoryview(self.frozen or seen.tobytes()),
        )
        buffer.add(frame, entry.measured_ns)
        entry.repeats = buffer.repeats

    def save(self, place: Path, first: int = 0, end: int | None = None) -> Path:
        """Write ticks as a recording, those from `first` to before `end`."""
        ticks, lost = self.ring.copies(first, self.ring.end if end is None else end)
        assert not lost
        with Recording(place, self._types, self._flight, "a test") as recording:
            recording.add(ticks)
        return recording.place
