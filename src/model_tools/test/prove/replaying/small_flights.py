# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny policies, and short flights of them under the robot's controller, as robots record them."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from model_tools.prove.replaying.replay import ReplayedFlight, replay
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.state_fields import read_velocity
from policy_core.bundle.verified import sha256_file
from policy_core.control.controller import Controller
from policy_core.guard.limits import Limits, StricterLimits, limits_in_force
from policy_core.interfaces import Backend, Mode
from policy_core.members.joint import joint_controller
from policy_inference.backends.registry import open_backend
from policy_inference.flight.description import flight_settings, make_flight
from policy_inference.flight.message_types import message_types
from policy_inference.flight.recording import Recording
from policy_inference.flight.ring import Ring
from policy_inference.flight.sensors import IMU, JOINT_STATES, TWIST, SensorMessages
from policy_inference.flight.set_tap import SetTap
from policy_inference.flight.tap import Tap
from policy_inference.messages.readers import state_reader
from testkit.edits import reword

from ...tiny_bundle import make_bundle

TOPICS = (JOINT_STATES, IMU, TWIST)
START_NS = 1_000_000_000
ORDER = ("knee", "tail", "hip")
"""How the robot names its joints: in another order than the policy, and one more."""


class SmallFlight:
    """A robot with two joints that swing, and its controller; every tick is recorded."""

    def __init__(
        self,
        tiny_policy: JointBundle | SetBundle,
        stricter_limits: StricterLimits | None = None,
        state_every: int = 1,
    ) -> None:
        self.clock_ns, self.now_ns = START_NS, START_NS
        limits = limits_in_force(tiny_policy.contract, stricter_limits or StricterLimits())
        tap, backend, self.controller = self._open(tiny_policy, limits)
        self._stops = False
        self.begins_late_ns = 0
        """Delay of each tick after its deadline."""
        self.read_after_ns = 0
        """Time from the beginning of a tick until the controller reads its clock."""
        self._period_ns, self._types = tiny_policy.contract.period_ns, message_types()
        self._make = SensorMessages(self._types)
        self._flight = make_flight(
            tiny_policy, backend, self.controller, TOPICS, settings=flight_settings(limits, backend)
        )
        self._ring = Ring(self.controller.latest_tick, tap, 1000, state_every)
        tap.show(self._ring)
        self._ring.restart()
        names = tiny_policy.contract.joints.on_robot()
        self._readers = {
            name: state_reader(name, names, self.controller.state)
            for name in self.controller.inputs
            if name in (JOINT_STATES.name, IMU.name)
        }

    def _open(self, tiny_policy: Any, limits: Limits) -> tuple[Tap | SetTap, Backend, Controller]:
        """Return what shows the runs, what they run on, and the controller."""
        backend, _ = open_backend(tiny_policy, ["onnx"])
        tap = Tap(backend)
        return tap, tap, joint_controller(tiny_policy, tap, limits, self._clock)

    def _clock(self) -> int:
        """Return the time; a controller reads it once the policy has run."""
        if self._stops:
            self.controller.estop("pressed")
        return self.clock_ns + self.read_after_ns

    @property
    def ticks(self) -> int:
        return self._ring.end

    def stand_and_run(self, ticks: int = 30) -> None:
        self.tick()
        self.controller.stand()
        while self.controller.mode is not Mode.READY:
            self.tick()
        self.controller.run()
        self.go_on(ticks)

    def go_on(self, ticks: int, **how: Any) -> None:
        for _ in range(ticks):
            self.tick(**how)

    def tick(
        self,
        *,
        silent: bool = False,
        late: bool = False,
        nan: bool = False,
        torn: bool = False,
        tilt_rad: float = 0.0,
        velocity: tuple[float, float, float] | None = None,
        pressed: bool = False,
        stops: bool = False,
    ) -> None:
        """One tick.

        The e-stop is `pressed` when the tick has ended and nothing is sent yet, or it `stops`
        while the policy runs. A `torn` message of the joints ends in the middle.
        """
        now_ns = self.clock_ns = self.now_ns + self.begins_late_ns
        deadline_ns = self.now_ns + self._period_ns
        self._stops = stops
        seen = {} if silent else self._sensed(now_ns, nan=nan, tilt_rad=tilt_rad)
        if velocity is not None:
            seen[TWIST.name] = self._make.twist(velocity)
        for name, entry in self.controller.inputs.items():
            if torn and name == JOINT_STATES.name:
                seen[name] = seen[name][:60]
            elif name in seen:
                self._read(name, seen[name])
                entry.accept(now_ns, None if name == TWIST.name else now_ns, now_ns)
        if late:
            self.clock_ns = deadline_ns + 1
        targets = self.controller.tick(now_ns, deadline_ns)
        self._stops = False
        if pressed:
            targets = self.controller.estop("pressed")
        tick, number = self.controller.latest_tick, None if targets is None else self._ring.end
        tick.send(targets, number, stamp_ns=now_ns, duration_ns=100_000)
        self._ring.record(tick, tuple(seen.get(topic.name) for topic in TOPICS))
        self.now_ns += self._period_ns

    def loaded(self, policy: JointBundle) -> SmallFlight:
        """Return the robot after another policy was loaded, whose ticks are recorded."""
        other = type(self)(policy, state_every=7)
        other.now_ns = self.now_ns
        other.controller.take_over(self.controller)
        other._ring.keep_state()
        return other

    def save(self, place: Path, first: int = 0, end: int | None = None) -> Path:
        """Write ticks as a recording, those from `first` to before `end`."""
        ticks, lost = self._ring.copies(first, self._ring.end if end is None else end)
        assert not lost
        with Recording(place, self._types, self._flight, "a test") as recording:
            recording.add(ticks)
        return recording.place

    def _sensed(self, now_ns: int, *, nan: bool, tilt_rad: float) -> dict[str, bytes]:
        t = now_ns * 1e-9
        position = np.array([0.05 * math.sin(9.0 * t), 1.0, 0.08 * math.cos(7.0 * t)])
        velocity = np.array([0.45 * math.cos(9.0 * t), 0.0, math.nan if nan else math.sin(t)])
        quat = np.array([math.sin(tilt_rad / 2), 0.0, 0.0, math.cos(tilt_rad / 2)])
        return {
            JOINT_STATES.name: self._make.joint_states(
                now_ns, ORDER, position, velocity, 0.3 * velocity
            ),
            IMU.name: self._make.imu(
                now_ns, quat, np.array([0.1, 0.2, math.sin(t)]), np.array([0.0, 0.0, 9.81])
            ),
        }

    def _read(self, name: str, data: bytes) -> None:
        kind = next(topic.type for topic in TOPICS if topic.name == name)
        message = self._types.deserialize_cdr(data, kind)
        if name == TWIST.name:
            self.controller.command.set(read_velocity(message), self.now_ns)
        else:
            self._readers[name].read(message)


def rewritten(
    recording: Path,
    reworded: Callable[[str, Any], Any],
    later_ns: Mapping[str, int] | None = None,
    logged_ns: Callable[[str, Any, int], int] = lambda topic, message, log_ns: log_ns,
) -> Path:
    """Write a recording again, into a new folder beside it; None leaves a message out."""
    types, place = message_types(), recording.with_name(f"{recording.name}_rewritten")
    shutil.rmtree(place, ignore_errors=True)  # of an earlier test
    with (
        Reader(recording) as reader,
        Writer(place, version=9, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        known = {
            each.topic: writer.add_connection(each.topic, each.msgtype, typestore=types)
            for each in reader.connections
        }
        for connection, log_ns, data in reader.messages():
            topic = connection.topic.lstrip("/")
            writable: Any = bytearray(data)  # arrays of the message are views of it
            message = reworded(topic, types.deserialize_cdr(writable, connection.msgtype))
            if message is not None:
                writer.write(
                    known[connection.topic],
                    logged_ns(topic, message, log_ns) + (later_ns or {}).get(topic, 0),
                    types.serialize_cdr(message, connection.msgtype),
                )
    return place


def remade(
    recording: Path,
    topic: str,
    reworded: Callable[[Any], Any],
    number: int | None = None,
    **more: Any,
) -> Path:
    """Write a recording again with other messages of a topic, or one other by its `number`."""
    numbers = itertools.count()

    def change(name: str, message: Any) -> Any:
        if name != topic or number not in (None, next(numbers)):
            return message
        return reworded(message)

    return rewritten(recording, change, **more)


def elsewhere(recording: Path) -> Path:
    return remade(recording, "flight_info", lambda info: dataclasses.replace(info, host="robot"))


def added(field: str, index: int, amount: float) -> Callable[[Any], Any]:
    def change(message: Any) -> Any:
        getattr(message, field)[index] += amount
        return message

    return change


PLAIN = "{terms: [{term: joint_pos}, {term: joint_vel}, {term: last_action}]}"
RANGE = "velocity_command: {min: [-1, -1, -1], max: [1, 1, 1]}"
HISTORY = (
    "{{terms: [{{term: joint_pos}}], history: "
    "{{length: 3, layout: {layout}, order: {order}, init: {init}}}}}"
)
SEEING = {
    "plain": PLAIN,
    "history": HISTORY.format(layout="per_frame", order="newest_first", init="zero"),
    "repeated history": HISTORY.format(layout="per_term", order="oldest_first", init="repeat"),
    "command": "{terms: [{term: base_ang_vel}, {term: velocity_command, scale: 2.0}]}",
    "phase": "{terms: [{term: joint_pos}, {term: phase, period_s: 0.7}, {term: last_action}]}",
    "standing": "{terms: [{term: joint_pos}, {term: phase, period_s: 0.7, offsets: [0.0, 0.5], "
    "parts: [cos, sin], standing: {below: 0.3, phase: 0.5, clock: stops}}]}",
    "motion": "{terms: [{term: motion_joint_pos}, {term: motion_joint_vel, ahead: 3}, "
    "{term: joint_pos}]}",
    "anchor of a motion": "{terms: [{term: motion_anchor_ori_b}]}",
}


def seeing(folder: Path, observation: str = PLAIN, **options: Any) -> JointBundle:
    make_bundle(folder, **options)
    reworded(folder, PLAIN, observation)
    if "velocity_command" in observation or "standing" in observation:
        reworded(folder, "safety: {", f"{RANGE}\nsafety: {{")
    if "motion_" in observation:
        reworded(folder, "safety: {", f"motion: {_motion(folder)}\nsafety: {{")
    return load_bundle(folder, kind=JointBundle)


def _motion(folder: Path) -> str:
    """Write a clip of 20 frames, in which the robot turns; return its section of the contract."""
    half, zero = np.linspace(0.0, 0.5, 20), np.zeros(20)
    np.savez(
        folder / "motion.npz",
        fps=np.array(50),
        joint_names=np.array(["knee", "hip"]),
        joint_pos=np.outer(np.linspace(0.0, 0.3, 20), [1.0, -1.0]),
        joint_vel=np.full((20, 2), 0.8),
        body_names=np.array(["trunk"]),
        body_pos_w=np.zeros((20, 1, 3)),
        body_quat_w=np.stack([np.cos(half), zero, zero, np.sin(half)], axis=1)[:, None],
    )
    chain = "[{joint: hip, position_m: [0, 0, 0.1], axis: [0, 1, 0]}]"
    return (
        f"{{clip: {{file: motion.npz, sha256: {sha256_file(folder / 'motion.npz')}}}, "
        f"at_end: loop, anchor: {{body: trunk, chain: {chain}}}}}"
    )


def reworded(folder: Path, before: str, after: str) -> Path:
    return reword(folder / "policy.yaml", (before, after)).parent


def differing(found: ReplayedFlight) -> dict[str, int]:
    return {
        name: stage.differing for name, stage in found.replayer.stages.items() if stage.differing
    }


def counts_of(found: ReplayedFlight) -> dict[str, tuple[int, int]]:
    return {name: (stage.judged, stage.not_judged) for name, stage in found.replayer.stages.items()}


def alike(recording: Path, given: Path | None = None) -> ReplayedFlight:
    """Replay a recording, of which nothing may differ; return what was found."""
    found = replay(recording, given, "", {})
    assert found, f"{found.first} {found.unproven} {differing(found)} {counts_of(found)}"
    assert not differing(found)
    return found


def first_difference(recording: Path) -> tuple[int, str, str]:
    """Replay a recording, of which something has to differ; return tick, stage and name."""
    found = replay(recording, None, "", {})
    assert not found
    assert found.first is not None
    return found.first.tick, found.first.stage, found.first.name
