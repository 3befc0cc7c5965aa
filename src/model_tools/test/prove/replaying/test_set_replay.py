# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A replay of a policy set gives the recorded commands again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.verified import sha256_file
from policy_core.control.controller import Controller
from policy_core.errors import BackendError
from policy_core.guard.limits import Limits, StricterLimits, limits_in_force
from policy_core.interfaces import F32, F64, Backend, Mode
from policy_core.members.chunk.controller import camera_input
from policy_core.members.chunk.observation_sync import FrameBuffer
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.worker import ChunkAnswer, Request
from policy_core.observation.freshness import Input
from policy_core.observation.images import Frame
from policy_core.sets.chunk_member import ChunkMember, ChunkRunner
from policy_core.sets.controller import (
    SensedState,
    SetRequests,
    make_policy_set,
    set_controller,
    set_inputs,
)
from policy_inference.backends.registry import open_backend
from policy_inference.flight.description import chunk_settings
from policy_inference.flight.sensors import JOINT_STATES
from policy_inference.flight.set_tap import SetTap
from policy_inference.flight.tap import Tap
from policy_inference.flight.worker_tap import WorkerTap
from policy_inference.kinds.chunk_worker import make_worker
from testkit.chunk_bundles import write_chunk_bundle
from testkit.replays import SOME_OR_EACH, replayed_from_states

from ...tiny_bundle import make_bundle
from .small_flights import ORDER, SmallFlight

BLEND_TICKS = 10
TO = {"blend_s": BLEND_TICKS / 50}
ARM = ("elbow_flex", "gripper", "shoulder_pan")


class SlowModel(Tap):
    """A model that takes the time of a whole tick when it is told to."""

    takes_ns = 0

    def __init__(self, backend: Backend, flight: SmallSetFlight) -> None:
        super().__init__(backend)
        self._flight = flight

    def run(self) -> None:
        super().run()
        self._flight.clock_ns += self.takes_ns


class SmallSetFlight(SmallFlight):
    """A robot with two joints, and the controller of a set of two members."""

    def _open(self, tiny_policy: Any, limits: Limits) -> tuple[Tap | SetTap, Backend, Controller]:
        contract = tiny_policy.contract
        self.models = {
            name: SlowModel(open_backend(member, ["onnx"])[0], self)
            for name, member in tiny_policy.members.items()
        }
        state = SensedState(contract, limits)
        inputs = set_inputs(contract, state, limits)
        self.policy_set = make_policy_set(tiny_policy, self.models, state, inputs, self._clock)
        tap = SetTap(self.policy_set, self.models)
        controller = set_controller(contract, tap, state, inputs, limits, self._clock)
        self.requests = SetRequests(contract, controller, self.policy_set)
        return tap, self.models["walk"], controller

    def late_tick(self, member: str) -> None:
        self.models[member].takes_ns = self._period_ns + 1
        self.tick()
        self.models[member].takes_ns = 0


class FlightWithArm(SmallSetFlight):
    """The same robot with an arm and cameras, under a set of a joint and a chunk policy."""

    def __init__(self, tiny_policy: SetBundle, **settings: Any) -> None:
        self.settings = ChunkSettings(fade_s=0.1, **settings)
        self.blind = self.fails = False
        self._random = np.random.default_rng(3)
        super().__init__(tiny_policy, state_every=6)
        stated = {**self._flight.settings, **chunk_settings(self.settings)}
        self._flight = dataclasses.replace(self._flight, settings=stated)

    def _open(self, tiny_policy: Any, limits: Limits) -> tuple[Tap | SetTap, Backend, Controller]:
        contract, arm = tiny_policy.contract, tiny_policy.members["arm"].contract
        model = open_backend(tiny_policy.members["walk"], ["onnx"])[0]
        self.models = {"walk": SlowModel(model, self)}
        self._chunk_shape = arm.chunk.size, len(arm.action.joints)
        worker = WorkerTap(
            make_worker(self._answer, self._clock, self.settings, inline=True), "arm"
        )
        runner = ChunkRunner(
            worker=worker,
            settings=self.settings,
            expected_s=0.0,
            longest_hold_ns=limits_in_force(arm, StricterLimits()).damp_after_ns,
        )
        state = SensedState(contract, limits)
        inputs = set_inputs(contract, state, limits)
        runners: Mapping[str, Backend | ChunkRunner] = {**self.models, "arm": runner}
        self.policy_set = make_policy_set(tiny_policy, runners, state, inputs, self._clock)
        member = self.policy_set.members["arm"]
        assert isinstance(member, ChunkMember)
        self._frames = member.frames
        tap = SetTap(self.policy_set, self.models, [worker])
        controller = set_controller(contract, tap, state, inputs, limits, self._clock)
        self.requests = SetRequests(contract, controller, self.policy_set)
        return tap, self.models["walk"], controller

    def _clock(self) -> int:
        """Return the time; the members are asked some time after the tick began."""
        return super()._clock() + 400_000

    def _answer(self, request: Request) -> ChunkAnswer:
        if self.fails:
            raise BackendError("the device was removed")
        pose = request.sensed.fields["joint_pos"]
        chunk: F64 = pose + self._random.normal(0.0, 0.01, self._chunk_shape)
        return ChunkAnswer(chunk)

    def _sensed(self, now_ns: int, *, nan: bool, tilt_rad: float) -> dict[str, bytes]:
        seen = super()._sensed(now_ns, nan=nan, tilt_rad=tilt_rad)
        swing = 0.02 * math.sin(3.0e-9 * now_ns)
        position = np.array([0.05, 1.0, 0.08, swing, 0.8, -swing])
        joints = self._make.joint_states(now_ns, (*ORDER, *ARM), position, np.zeros(6), np.zeros(6))
        return {**seen, JOINT_STATES.name: joints}

    def tick(self, **how: Any) -> None:
        for name, buffer in self._frames.items():
            if not self.blind:
                self._see(self.controller.inputs[camera_input(name)], buffer)
        super().tick(**how)

    def _see(self, entry: Input, buffer: FrameBuffer) -> None:
        entry.accept(self.now_ns, self.now_ns - 12_000_000, self.now_ns)
        camera = buffer.camera
        size = 3 * camera.width * camera.height
        seen = self._random.integers(0, 256, size, np.uint8)
        frame = Frame(
            encoding="rgb8",
            height=camera.height,
            width=camera.width,
            step=3 * camera.width,
            data=memoryview(seen.tobytes()),
        )
        assert entry.measured_ns is not None
        buffer.add(frame, entry.measured_ns)


def lower(weights: dict[str, F32]) -> None:
    weights["b1"] -= 0.2


def small_set(folder: Path, fallback: str | None, starts: str = "clean") -> SetBundle:
    """Write a set of two policies with other targets; they start as a set states it."""
    make_bundle(folder / "walk")
    make_bundle(folder / "crouch", edit=lower)
    states = {
        "walk": {"members": ["walk"], "stand": True, "to": {"crouch": TO}},
        "crouch": {
            "members": ["crouch"],
            "way_back": "walk",
            "to": {"walk": TO},
            **({"fallback": fallback} if fallback else {}),
        },
    }
    return written_set(folder, ("walk", "crouch"), starts, initial="walk", states=states)


def set_with_arm(folder: Path) -> SetBundle:
    """Write a set of legs and an arm, which both command or the legs alone."""
    make_bundle(folder / "walk")
    changes: Any = {"chunk.steps": 8, "safety.damp_after_s": 0.5}
    write_chunk_bundle(folder / "arm", **changes)
    states = {
        "both": {"members": ["walk", "arm"], "stand": True, "to": {"legs": TO}, "fallback": "legs"},
        "legs": {"members": ["walk"], "held": [*ARM], "stand": True, "to": {"both": TO}},
    }
    return written_set(folder, ("walk", "arm"), initial="both", states=states, on_fault="damp")


def written_set(
    folder: Path, members: tuple[str, ...], starts: str = "clean", **stated: Any
) -> SetBundle:
    contract = {
        "schema_version": 1,
        "kind": "set",
        "name": "small",
        "version": "1.0.0",
        "members": {
            name: {
                "bundle": f"../{name}",
                "sha256": sha256_file(folder / name / "policy.yaml"),
                **({} if starts == "clean" else {"starts": starts}),
            }
            for name in members
        },
        **stated,
    }
    (folder / "set").mkdir()
    (folder / "set" / "set.yaml").write_text(yaml.safe_dump(contract), "utf-8")
    return load_bundle(folder / "set", kind=SetBundle)


@SOME_OR_EACH
@pytest.mark.slow
@pytest.mark.parametrize("fallback", [None, "walk"])
@pytest.mark.parametrize("after", [0, 1, 4])
@pytest.mark.parametrize(("late", "fallbacks"), [("walk", 0), ("crouch", 1)])
def test_a_replay_goes_on_without_the_member_that_was_late_in_a_blend(
    tmp_path: Path, late: str, fallbacks: int, after: int, fallback: str | None, states: str
) -> None:
    flight = SmallSetFlight(small_set(tmp_path, fallback), state_every=6)
    flight.stand_and_run()
    flight.requests.switch("crouch")
    flight.go_on(after)
    flight.late_tick(late)
    assert flight.controller.mode is Mode.HOLD
    flight.go_on(2 * BLEND_TICKS)
    assert flight.policy_set.report.fallbacks == (fallbacks if fallback else 0)

    flown = flight.save(tmp_path / "flown")
    found = replayed_from_states(flown, states)
    assert found.replayer.stages["command"].not_judged == 0


def arm_runs(flight: FlightWithArm) -> None:
    flight.go_on(40)


def legs_alone_for_a_while(flight: FlightWithArm) -> None:
    flight.requests.switch("legs")
    flight.go_on(25)
    flight.requests.switch("both")
    flight.go_on(40)
    assert flight.policy_set.report.switches == 2


def cameras_stop(flight: FlightWithArm) -> None:
    flight.blind = True
    flight.go_on(60)
    assert flight.policy_set.report.state == "legs"


def cameras_stop_for_a_while(flight: FlightWithArm) -> None:
    flight.blind = True
    flight.go_on(15)
    flight.blind = False
    flight.go_on(30)


def inference_fails(flight: FlightWithArm) -> None:
    flight.fails = True
    flight.go_on(60)
    assert flight.policy_set.report.state == "legs"


def legs_are_late(flight: FlightWithArm) -> None:
    flight.late_tick("walk")
    flight.go_on(20)


def estop_is_pressed(flight: FlightWithArm) -> None:
    flight.tick(stops=True)


SITUATIONS = [
    arm_runs,
    legs_alone_for_a_while,
    cameras_stop,
    cameras_stop_for_a_while,
    inference_fails,
    legs_are_late,
    estop_is_pressed,
]
MODES = ["asynchronous", "synchronous", "ensemble"]


def cases() -> Iterator[Any]:
    """Yield each situation in each mode; all but one mode of every other are for acceptance."""
    for number, situation in enumerate(SITUATIONS):
        for mode in MODES:
            often = number % 2 == 0 and mode == MODES[number % len(MODES)]
            marks = () if often else pytest.mark.acceptance
            yield pytest.param(situation, mode, id=f"{situation.__name__}-{mode}", marks=marks)


@SOME_OR_EACH
@pytest.mark.parametrize(("situation", "mode"), [*cases()])
def test_a_set_with_a_chunk_policy_gives_the_recorded_commands_again(
    tmp_path: Path, situation: Callable[[FlightWithArm], None], mode: str, states: str
) -> None:
    latency_s = 0.0 if mode == "ensemble" else 0.07
    flight = FlightWithArm(set_with_arm(tmp_path), mode=mode, simulated_latency_s=latency_s)
    flight.stand_and_run()
    situation(flight)

    flown = flight.save(tmp_path / "flown")
    found = replayed_from_states(flown, states)
    assert found.replayer.stages["command"].not_judged == 0
    results = [each for tick in found.recording.ticks() for each in tick.results]
    assert {each.member for each in results} == {"arm"}
    assert len(results) >= 2


RUNS, ELSEWHERE = 30, 25
