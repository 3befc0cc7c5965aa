# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy in the updates of a controller manager: in C++ as in Python, bit for bit.

`make test-cpp` builds the program and runs these tests.
"""

import itertools
import math
import os
import random
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from policy_core.bundle.body import PERCEIVED_LABEL
from policy_core.bundle.bundle import Bundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F64, Mode
from policy_core.plan import MAGIC, read_plan
from policy_inference.commands.main import main
from robot_sim.world import DriveCommand, World
from testkit.perceiving import write_perceiving_bundle
from testkit.updates import NOTHING, Command, Program, Twin, fields_of
from testkit.wording import check_wording

BUNDLES = Path(__file__).resolve().parents[2] / "policy_inference" / "config" / "bundles"
BUILD = os.environ.get("POLICY_CONTROLLERS_BUILD", "")
PROGRAM = f"{BUILD}/update_check"
PERIOD_NS, RATE_HZ = 20_000_000, 500.0
UPDATE_NS = 2_000_000
BEGIN_NS = 10_000_000_000

pytestmark = pytest.mark.skipif(not BUILD, reason="`make test-cpp` builds update_check")


def plan_of(bundle: Path, folder: Path) -> Path:
    file = folder / "plan"
    assert main(["controller-plan", str(bundle), "--output", str(file), "--force"]) == 0
    return file


class Pair:
    """Program and twin under one manager, whose commands must be equal."""

    def __init__(
        self, bundle: Path, folder: Path, rate_hz: float = RATE_HZ, counted: Sequence[str] = ()
    ) -> None:
        """Let both run a bundle; `counted`: groups of fields that each counter counts for."""
        plan, loaded = plan_of(bundle, folder), load_bundle(bundle, kind=Bundle)
        self.contract: Any = loaded.contract
        self.fields = fields_of(plan)
        self.counted = counted
        self.program = Program(PROGRAM, plan, rate_hz, counted)
        self.twin = Twin(loaded, plan, rate_hz, counted)
        self.update_ns, self.command = round(1e9 / rate_hz), NOTHING
        self.values = np.zeros(self.fields[-1].place.stop + len(counted))
        self.counts: Iterator[float] = itertools.repeat(0.0)
        self.noise = np.random.default_rng(1)
        self.set_time(BEGIN_NS)
        self.write("joint_pos", loaded.contract.stand.position)
        self.write("quat_xyzw", [0.0, 0.0, 0.0, 1.0])
        self.start()

    def set_time(self, now_ns: int) -> None:
        self.program.now_ns = self.twin.now_ns = now_ns

    @property
    def mode(self) -> Mode:
        return self.twin.controller.mode

    def start(self) -> None:
        self.program.start()
        self.twin.start()

    def write(self, name: str, numbers: Any) -> None:
        for field in self.fields:
            if field.name == name:
                self.values[field.place] = numbers

    def read(self, name: str) -> F64:
        [place] = [field.place for field in self.fields if field.name == name]
        return self.values[place]

    def shake(self, *silent: str) -> None:
        """Let the noise of measuring change all values but those of silent groups."""
        for field in self.fields:
            if field.group not in silent and field.name != "quat_xyzw":
                self.values[field.place] += 1e-5 * self.noise.normal(
                    size=self.values[field.place].size
                )
            if field.group not in silent and field.name == "quat_xyzw":
                self.values[field.place][0] = 1e-5 * self.noise.normal()

    def update(
        self,
        times: int = 1,
        *,
        silent: Sequence[str] = (),
        velocity: Sequence[float] | None = None,
        late_ns: int = 0,
    ) -> Command:
        for _ in range(times):
            self.set_time(self.twin.now_ns + self.update_ns)
            self.shake(*silent)
            self.values[len(self.values) - len(self.counted) :] = next(self.counts)
            self.command = self.compared_update(velocity, late_ns)
        return self.command

    def program_update(self) -> Command:
        """Update the program alone; the twin is of no more use."""
        self.set_time(self.program.now_ns + self.update_ns)
        self.shake()
        return self.program.update(self.values)

    def compared_update(self, velocity: Sequence[float] | None = None, late_ns: int = 0) -> Command:
        found = self.program.update(self.values, velocity, late_ns)
        expected = self.twin.update(self.values, velocity, late_ns)
        assert found == expected, f"at {self.twin.now_ns} ns in {self.mode.name}"
        return found

    def ask(self, request: str) -> str:
        """Return why it is refused, in the same words by both."""
        found = self.program.ask(request)
        assert found == self.twin.ask(request)
        return found

    def hear(self, velocity: Sequence[float], stamp_ns: int | None = None) -> None:
        self.program.hear(velocity, stamp_ns)
        self.twin.hear(velocity, stamp_ns)

    def perceive(self, values: Sequence[float], problem: str, label: str) -> None:
        for each in (self.program, self.twin):
            each.hear_perceived(np.asarray(values, float), problem, label, self.twin.now_ns)

    def hear_chunk(self, chunk: F64, age_ns: int = 30_000_000, **more: Any) -> str:
        """Return why it is refused."""
        given = {
            "names": self.contract.action.joints,
            "period_s": self.contract.period_ns * 1e-9,
            "steps": len(chunk),
        }
        refusal = self.program.hear_chunk(chunk=chunk, age_ns=age_ns, **{**given, **more})
        if not refusal:
            self.twin.chunks.hear(chunk, age_ns)
        return refusal

    def check_status(self) -> dict[str, str]:
        found = self.program.status()
        assert found == self.twin.status()
        return found

    def run(self) -> None:
        """Stand up, and let the policy take over."""
        self.update(300)  # a pose is believed once enough samples agree
        assert self.ask("stand") == ""
        while self.mode is not Mode.READY:
            self.command = self.update()
            # The robot follows at once; that it is not commanded may be the fault command.
            if self.command != NOTHING:
                self.write("joint_pos", self.command.rows[0])
        assert self.ask("run") == ""
        self.update(20)
        # A chunk policy holds its pose until the first chunk comes.
        assert self.mode is (Mode.HOLD if self.contract.kind == "chunk" else Mode.RUN)

    def updates_until(self, mode: Mode, **more: Any) -> int:
        count = 0
        while self.mode is not mode:
            self.update(**more)
            count += 1
            assert count < 1000
        return count


@pytest.fixture
def pair_of(tmp_path: Path) -> Iterator[Callable[..., Pair]]:
    made = list[Pair]()

    def make(bundle: str | Path = "lite3_walk", **more: Any) -> Pair:
        made.append(Pair(BUNDLES / bundle, tmp_path, **more))
        return made[-1]

    yield make
    for pair in made:
        assert pair.program.close() == 0


@pytest.fixture
def holding(tmp_path: Path) -> Path:
    """Return a bundle that holds the measured pose after a fault."""
    folder = tmp_path / "holding"
    shutil.copytree(BUNDLES / "lite3_walk", folder)
    file = folder / "policy.yaml"
    text = file.read_text()
    assert "on_fault: damp" in text
    file.write_text(text.replace("on_fault: damp", "on_fault: hold_measured"))
    return folder


def test_a_simulated_robot_walks_and_each_command_equals_python_s(
    pair_of: Callable[..., Pair],
) -> None:
    rate_hz = 200.0
    pair, world = pair_of(rate_hz=rate_hz), World(pose="lying")
    names = pair.contract.joints.on_robot()
    order = [world.joint_names.index(name) for name in names]
    for i in range(round(9.0 * rate_hz)):
        sensors = world.sense()
        pair.set_time(BEGIN_NS + sensors.time_ns)
        pair.write("joint_pos", sensors.joint_pos[order])
        pair.write("joint_vel", sensors.joint_vel[order])
        pair.write("quat_xyzw", sensors.quat_xyzw)
        pair.write("ang_vel_body", sensors.ang_vel_body)
        if i % 4 == 0:
            pair.hear((0.5, 0.0, 0.0))
        if i == 140:
            assert pair.ask("stand") == ""
        if pair.mode is Mode.READY:
            assert pair.ask("run") == ""
        command = pair.compared_update()
        if command != NOTHING:
            position, velocity, effort, stiffness, damping, limit = command.rows
            world.apply(
                DriveCommand(
                    joint_names=names,
                    position=position,
                    velocity=velocity,
                    effort=effort,
                    stiffness=stiffness,
                    damping=damping,
                    effort_limit=limit,
                    valid_for_ns=100_000_000,
                )
            )
        world.step(round(1e9 / rate_hz))
    assert pair.check_status()["mode"] == "RUN"
    assert world.sense().pos_world[0] > 1.5
    assert not world.fallen


@pytest.mark.real_data
def test_on_a_recorded_walk_each_command_equals_python_s(
    shared_data: Path, pair_of: Callable[..., Pair]
) -> None:
    pair = pair_of("lite3_walk")
    pair.run()
    began_ns, in_run = pair.twin.now_ns, 0
    first_ns: int | None = None
    with AnyReader([shared_data / "legged" / "lite3" / "bag_mcap"]) as reader:
        for connection, log_ns, data in reader.messages():
            message: Any = reader.deserialize(data, connection.msgtype)
            first_ns = log_ns if first_ns is None else first_ns
            while pair.twin.now_ns - began_ns < log_ns - first_ns:
                pair.set_time(pair.twin.now_ns + UPDATE_NS)
                pair.compared_update()
                in_run += pair.mode is Mode.RUN
            if connection.topic == "/joint_states":
                order = [message.name.index(name) for name in pair.contract.joints.names]
                pair.write("joint_pos", np.asarray(message.position)[order])
                pair.write("joint_vel", np.asarray(message.velocity)[order])
            elif connection.topic == "/imu/data":
                pair.write("quat_xyzw", [getattr(message.orientation, axis) for axis in "xyzw"])
                turning = message.angular_velocity
                pair.write("ang_vel_body", [turning.x, turning.y, turning.z])
            elif connection.topic == "/cmd_vel":
                pair.hear([message.linear.x, message.linear.y, message.angular.z])
    pair.check_status()
    assert in_run > 5_000


class RandomManager:
    """Moves a pair through samples, requests and faults at random."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self._pair, self._draw = pair, random.Random(seed)
        self._noise = np.random.default_rng(seed)
        self._position = pair.read("joint_pos").copy()
        self._silent = dict[str, int]()
        self._count = 0
        self.modes = set[Mode]()

    def _happens(self, share: float) -> bool:
        return self._draw.random() < share

    def live(self, updates: int) -> None:
        pair = self._pair
        for _ in range(updates):
            gap_ns = pair.update_ns + round(self._noise.normal() * 0.1 * pair.update_ns)
            if self._happens(0.002):
                gap_ns = self._draw.choice([2, 4, 8, 15]) * pair.update_ns
            if self._happens(0.0001):
                gap_ns = 300 * pair.update_ns
            pair.set_time(pair.twin.now_ns + max(0, gap_ns))
            self._measure()
            self._ask()
            late_ns = 2 * PERIOD_NS if self._happens(0.001) else 0
            chained = None
            if self._happens(0.1):
                chained = self._draw.choice([(0.3, 0.1, 0.0), (math.nan,) * 3, (0.1, math.inf, 0)])
            pair.command = pair.compared_update(chained, late_ns)
            self.modes.add(pair.mode)
            if self._happens(0.01):
                pair.check_status()

    def _measure(self) -> None:
        pair, noise = self._pair, self._noise
        if pair.command != NOTHING and pair.mode is not Mode.DAMP:
            step = np.clip(pair.command.rows[0] - self._position, -0.05, 0.05)
            self._position = self._position + step * (pair.command.rows[3] > 0.0)
        for group in dict.fromkeys(field.group for field in pair.fields):
            if self._silent.get(group, 0) > 0:
                self._silent[group] -= 1
                continue
            if self._happens(0.0003):
                self._silent[group] = self._draw.choice([5, 60, 60, 300])
            if self._happens(0.3):
                continue  # sensors are slower than the manager
            if pair.counted:
                self._count += 1
                pair.values[-1] = math.nan if self._happens(0.0005) else self._count
            for field in pair.fields:
                if field.group == group:
                    self._write(field.name, noise)

    def _write(self, name: str, noise: np.random.Generator) -> None:
        pair, size = self._pair, self._pair.read(name).size
        if name == "joint_pos":
            values = self._position + 0.001 * noise.normal(size=size)
            if self._happens(0.0005):
                values = values + self._draw.choice([0.1, 1.0, 5.0]) * noise.normal(size=size)
            if self._happens(0.0001):
                values[1] = math.nan
        elif name == "quat_xyzw":
            values = np.array([0.0, 0.0, 0.0, 1.0]) + 0.01 * noise.normal(size=4)
            if self._happens(0.0002):
                values = np.array([[0.8, 0.0, 0.0, 0.6], [0.0] * 4][self._draw.randrange(2)])
        else:
            values = 0.05 * noise.normal(size=size)
            if self._happens(0.0001):
                values[0] = self._draw.choice([math.nan, 500.0])
        pair.write(name, values)

    def _ask(self) -> None:
        pair, mode = self._pair, self._pair.mode
        if mode is Mode.DAMP and self._happens(0.03):
            pair.ask("reset")
            pair.ask("stand")
        if mode is Mode.READY and self._happens(0.1):
            pair.ask("run")
        if pair.twin.requests is not None and self._happens(0.01):
            pair.ask("switch " + self._draw.choice(["walk", "crouch", "bow", "none"]))
        if self._happens(0.02):
            pair.hear(self._draw.choice([(0.5, 0.0, 0.1), (0.0, 0.0, 0.0), (math.nan, 0.0, 0.0)]))
        for request, share in (("estop", 1e-4), ("damp", 1e-4), ("stand", 2e-4), ("run", 1e-3)):
            if self._happens(share):
                pair.ask(request)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("bundle", ["lite3_walk", "holding", "lite3_gaits", "lite3_motions"])
def test_lives_at_random_are_python_s(
    bundle: str, seed: int, pair_of: Callable[..., Pair], holding: Path
) -> None:
    pair = pair_of(holding if bundle == "holding" else bundle, counted=["1"] if seed % 2 else [])
    manager = RandomManager(pair, seed)
    manager.live(10_000)
    pair.check_status()
    assert Mode.RUN in manager.modes
    assert pair.twin.rules - {"estop"}


def test_what_is_perceived_must_come_and_a_problem_is_reported(
    pair_of: Callable[..., Pair], tmp_path: Path
) -> None:
    pair = pair_of(write_perceiving_bundle(tmp_path / "perceiving"))
    assert "perception/ground" in pair.ask("stand")

    made_by = pair.contract.perceived["perception/ground"]

    def see(
        updates: int,
        values: Sequence[float] = (-0.3, -0.3),
        problem: str = "",
        label: str = made_by,
    ) -> None:
        for _ in range(updates // 10):
            pair.perceive(values, problem, label)
            pair.update(10)

    see(300)
    assert pair.ask("stand") == ""
    while pair.ask("run"):
        see(10)
        pair.write("joint_pos", pair.command.rows[0])
    see(100)
    assert pair.mode.name == "RUN"
    see(60, problem="no map has come")
    assert pair.mode.name == "HOLD"
    assert "invalid_perception" in pair.twin.rules
    assert "no map has come" in pair.check_status()["input perception/ground"]
    see(100)
    assert pair.check_status()["mode"] == "RUN"
    see(60, values=(-0.3, math.nan))
    assert "finite" in pair.check_status()["input perception/ground"]
    see(100, label="odom")
    assert pair.check_status()["mode"] == "RUN"
    see(60, label=f"{PERCEIVED_LABEL}0")
    assert pair.mode.name == "HOLD"
    assert "perception_node" in pair.check_status()["input perception/ground"]
    see(20)
    pair.update(60)
    assert "stale_perception" in pair.twin.rules
    pair.check_status()


def test_nothing_moves_before_it_is_asked_for(pair_of: Callable[..., Pair], holding: Path) -> None:
    pair = pair_of(holding)
    assert "no pose to hold" in pair.ask("damp")
    assert pair.update(300) == NOTHING
    assert pair.ask("damp") == ""
    held = pair.update(10)
    assert held.rows[0] == pytest.approx(pair.contract.stand.position, abs=0.01)


def test_joints_without_stiffness_are_commanded_to_where_they_are(
    pair_of: Callable[..., Pair],
) -> None:
    pair = pair_of()
    found = pair.update(60)
    assert (pair.mode, found.rows[3].any()) == (Mode.DAMP, False)
    assert found.rows[0] == pytest.approx(pair.read("joint_pos"), abs=0.01)
    assert np.abs(found.rows[0]).max() > 0.5


def test_a_counter_says_that_values_are_new_though_they_are_the_same(
    pair_of: Callable[..., Pair],
) -> None:
    pair = pair_of(counted=["0"])
    assert "joint_states" in pair.ask("stand")
    pair.counts = itertools.count()
    pair.update(300, silent=["joint_states"])
    assert pair.ask("stand") == ""
    pair.counts = itertools.repeat(0.0)
    pair.update(100)  # values that change while the counter stands
    assert pair.mode is not Mode.STAND


@pytest.mark.parametrize("never", [math.nan, math.inf])
def test_a_counter_that_is_never_written_lets_no_measurement_pass(
    never: float, pair_of: Callable[..., Pair]
) -> None:
    pair = pair_of(counted=["0"])
    pair.counts = itertools.repeat(never)
    pair.update(200)
    assert "counter" in pair.ask("stand")
    assert "counter" in pair.check_status()["input joint_states"]


@pytest.mark.parametrize(
    "counts",
    [
        itertools.count(),
        itertools.count(0, -1),
        itertools.cycle(range(256)),
        itertools.cycle([1, 2]),
    ],
    ids=["up", "falling and negative", "wraps around", "of two values"],
)
def test_each_change_of_a_counter_is_a_measurement(
    counts: Iterator[float], pair_of: Callable[..., Pair]
) -> None:
    pair = pair_of(counted=["0"])
    pair.counts = counts
    pair.run()
    pair.update(200, silent=["joint_states"])
    assert pair.mode is Mode.RUN


@pytest.mark.parametrize("last", [math.nan, -math.inf, -1.0])
def test_a_counter_that_stands_or_is_lost_stops_the_policy(
    last: float, pair_of: Callable[..., Pair]
) -> None:
    pair = pair_of(counted=["0"])
    pair.counts = itertools.count()
    pair.run()
    pair.counts = itertools.repeat(last)
    pair.update(100)
    assert pair.mode is Mode.DAMP
    assert pair.check_status()["latched"] == "True"


def test_a_fault_is_answered_in_the_update_that_finds_it(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of()
    pair.run()
    ticks = pair.twin.ticks
    while pair.twin.ticks == ticks:
        pair.write("joint_pos", math.nan)
        pair.set_time(pair.twin.now_ns + UPDATE_NS)
        pair.command = pair.compared_update()
    assert pair.command.mode == Mode.DAMP
    assert pair.check_status()["latched"] == "True"
    assert "not_finite" in pair.twin.rules


def test_a_model_that_does_not_return_is_a_latched_fault(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of()
    pair.run()
    program = pair.program
    with program.hanging():
        commands = [pair.program_update() for _ in range(20)]
    assert commands[-1].mode == Mode.DAMP
    status = program.status()
    assert (status["mode"], status["latched"]) == ("DAMP", "True")
    check_wording(status["reason"])


def test_the_e_stop_acts_between_two_ticks_and_a_reset_ends_it(
    pair_of: Callable[..., Pair],
) -> None:
    pair = pair_of()
    pair.run()
    ticks = pair.twin.ticks
    while pair.twin.ticks == ticks:
        pair.update()
    assert pair.ask("estop") == ""
    assert pair.update().mode == Mode.DAMP
    assert pair.twin.ticks == ticks + 1
    assert pair.check_status()["latched"] == "True"
    pair.update(10)
    assert "pressed by service" in pair.ask("stand")
    assert pair.ask("reset") == ""
    assert pair.ask("stand") == ""
    pair.check_status()


def test_a_chained_controller_presses_the_e_stop_in_the_same_update(
    pair_of: Callable[..., Pair],
) -> None:
    pair = pair_of()
    pair.run()
    for _ in range(2):
        pair.program.press_estop()
        if not pair.twin.controller.estop_pressed:
            pair.twin.ask("chained estop")
        assert pair.update().mode == Mode.DAMP
    assert "chained" in pair.check_status()["reason"]
    assert pair.ask("reset") == ""
    assert pair.ask("stand") == ""


def test_ticks_keep_to_deadlines_whatever_the_updates_do(pair_of: Callable[..., Pair]) -> None:
    pair, draw = pair_of(), random.Random(1)
    begin_ns, ticked = pair.twin.now_ns + UPDATE_NS, list[int]()
    for i in range(1, 5001):
        pair.set_time(begin_ns + i * UPDATE_NS + draw.randint(-400_000, 400_000))
        before = pair.twin.ticks
        pair.shake()
        pair.compared_update()
        if pair.twin.ticks > before:
            ticked.append(pair.twin.now_ns)
    gaps = np.diff(ticked)
    assert len(ticked) == 500
    assert abs(gaps - PERIOD_NS).max() <= 800_000
    assert pair.check_status()["missed"] == "0"


def test_a_late_update_ticks_once_and_what_was_missed_is_counted(
    pair_of: Callable[..., Pair],
) -> None:
    pair = pair_of()
    pair.update(50)
    ticks, deadline_ns = pair.twin.ticks, pair.twin.now_ns
    pair.set_time(pair.twin.now_ns + 3 * PERIOD_NS + 3 * UPDATE_NS)
    pair.compared_update()
    assert pair.twin.ticks == ticks + 1
    assert pair.check_status()["missed"] in ("2", "3")
    pair.update(100)
    assert pair.twin.ticks == ticks + 11
    assert pair.twin.now_ns > deadline_ns


@pytest.mark.parametrize("rate_hz", [333.0, 0.0])
def test_a_manager_s_rate_that_is_no_multiple_is_refused(rate_hz: float, tmp_path: Path) -> None:
    text = refusal(plan_of(BUNDLES / "lite3_walk", tmp_path), rate_hz)
    assert text.startswith(
        f"update_rate: expected a multiple of the policy's 50 Hz, found {rate_hz:g}"
    )


@pytest.mark.parametrize("rate_hz", [50.0, 150.0])
def test_a_manager_may_be_as_fast_as_the_policy_or_faster(
    rate_hz: float, pair_of: Callable[..., Pair]
) -> None:
    pair = pair_of(rate_hz=rate_hz)
    pair.update(round(rate_hz) + 1)
    assert pair.twin.ticks == 51 or rate_hz == 150.0
    pair.run()


def test_members_of_a_set_take_over_from_each_other(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of("lite3_gaits")
    assert "expected RUN" in pair.ask("switch crouch")
    pair.run()
    assert pair.ask("switch crouch") == ""
    assert "crouch" in pair.ask("switch nowhere")
    for _ in range(1000):
        pair.update()
        if pair.mode is Mode.RUN:
            pair.write("joint_pos", pair.command.rows[0])
    found = pair.check_status()
    assert found["state"] == "crouch"
    assert pair.ask("switch crouch") != ""
    assert pair.ask("stand") == ""  # by the way back, since a crouching robot may not stand
    pair.updates_until(Mode.STAND)
    assert pair.check_status()["state"] == "walk"


def test_a_set_without_velocity_commands_stands_up_after_its_time(
    pair_of: Callable[..., Pair],
) -> None:
    pair = pair_of("lite3_gaits")
    pair.run()
    for _ in range(16_000):
        pair.update()
        pair.write("joint_pos", pair.command.rows[0])
    assert pair.mode is Mode.READY
    pair.check_status()


def test_a_request_that_hangs_leads_to_the_fault_command(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of()
    pair.run()
    program, last = pair.program, pair.command
    with program.kept():
        for i in range(100):
            pair.shake()
            program.now_ns += UPDATE_NS
            found = program.update(pair.values)
            if i * UPDATE_NS < 2 * PERIOD_NS:
                assert found == last
        assert found.mode == Mode.DAMP
    program.now_ns += UPDATE_NS
    assert program.update(pair.values).mode == Mode.DAMP
    status = program.status()
    assert status["latched"] == "True"
    assert int(status["waited"]) > 50


@pytest.mark.parametrize("bundle", ["lite3_walk", "lite3_gaits", "perceiving"])
def test_other_threads_may_ask_at_any_time(
    bundle: str, pair_of: Callable[..., Pair], tmp_path: Path
) -> None:
    pair = pair_of(write_perceiving_bundle(tmp_path / bundle) if bundle == "perceiving" else bundle)
    modes = set[int]()
    with pair.program.asked_by_others():
        for count in range(100_000):
            if count >= 5000 and Mode.STAND in modes:  # on a busy machine, others ask later
                break
            pair.shake()
            pair.program.now_ns += UPDATE_NS
            found = pair.program.update(pair.values)
            modes.add(found.mode)
            if found.mode > Mode.DAMP:
                pair.write("joint_pos", found.rows[0])
    assert Mode.STAND in modes
    assert int(pair.program.status()["ticks"]) > 100


def test_a_clock_that_runs_backwards_latches_a_fault(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of()
    pair.run()
    program = pair.program
    program.now_ns -= 1_000_000_000
    assert program.update(pair.values).mode == Mode.DAMP
    assert program.status()["counter clock"] == "1"


def test_velocity_commands_come_from_a_chained_controller_or_by_message(
    pair_of: Callable[..., Pair],
) -> None:
    pair = pair_of()
    pair.run()
    pair.update(20, velocity=(0.4, 0.0, 0.0))
    assert pair.twin.controller.state["velocity_command"].tolist() == [0.4, 0.0, 0.0]
    pair.update(20, velocity=(0.4, math.nan, 0.0))
    assert "bad_command" in pair.twin.rules
    pair.update(2000, velocity=(math.nan,) * 3)
    assert pair.twin.controller.state["velocity_command"].tolist() == [0.0, 0.0, 0.0]
    pair.hear((0.2, 0.0, 0.1), pair.twin.now_ns)
    pair.update(20)
    assert pair.twin.controller.state["velocity_command"].tolist() == [0.2, 0.0, 0.1]
    pair.check_status()


def test_deactivation_leaves_the_fault_command_and_activation_begins_in_damp(
    pair_of: Callable[..., Pair], holding: Path
) -> None:
    pair = pair_of(holding)
    pair.run()
    found = pair.program.stop()
    assert found == pair.twin.stop()
    assert found.mode == Mode.DAMP
    assert found.rows[0] == pytest.approx(pair.read("joint_pos"), abs=0.1)
    pair.start()
    assert pair.update(20) == NOTHING
    assert pair.check_status()["mode"] == "DAMP"


def refusal(plan: Path, rate_hz: float = RATE_HZ) -> str:
    words = [PROGRAM, str(plan), repr(rate_hz)]
    found = subprocess.run(words, check=False, capture_output=True, text=True, input="")
    assert found.returncode == 1
    return found.stderr.strip()


def test_a_plan_that_is_damaged_or_of_another_version_is_refused(tmp_path: Path) -> None:
    plan = plan_of(BUNDLES / "lite3_walk", tmp_path)
    content = plan.read_bytes()
    plan.write_bytes(content[:-100])
    assert "checksum" in refusal(plan)
    plan.write_bytes(b"POLPLAN0" + content[8:])
    assert f"version {MAGIC[-1:].decode()}" in refusal(plan)
    plan.unlink()
    assert refusal(plan) == f"{plan}: expected a plan, found no file that can be read"
    plan.mkdir()
    assert "folder" in refusal(plan)


def test_a_model_that_is_not_the_plan_s_is_refused(tmp_path: Path) -> None:
    shutil.copytree(BUNDLES / "lite3_walk", tmp_path / "walk")
    plan = plan_of(tmp_path / "walk", tmp_path)
    _, values = read_plan(plan.read_bytes(), plan)
    model = Path(values["host.models.0.file"][0])
    content = model.read_bytes()
    model.write_bytes(content[:-1] + b"\0")
    assert f"{model}: expected the model of the plan (CRC " in refusal(plan)
    model.unlink()
    assert refusal(plan) == f"{model}: expected a model, found no file that can be read"


def test_a_model_that_computes_something_else_is_refused_with_file_row_and_value(
    tmp_path: Path,
) -> None:
    plan = plan_of(BUNDLES / "lite3_walk", tmp_path)
    _, values = read_plan(plan.read_bytes(), plan)
    numbers = np.asarray(values["host.models.0.outputs.0.values"])
    row = numbers[7 * 12 : 8 * 12].tobytes()
    content = plan.read_bytes()
    assert content.count(row) == 1
    other = np.frombuffer(row).copy()
    other[3] += 1.0
    changed = content.replace(row, other.tobytes())[:-4]
    plan.write_bytes(changed + struct.pack("<I", zlib.crc32(changed)))
    text = refusal(plan)
    assert values["host.models.0.file"][0] in text
    assert "golden rows: mean absolute error of" in text
    assert "(row 7, value 3: expected " in text


CHUNK_RATE_HZ = 510.0
"""A multiple of the 30 Hz of so101_reach."""


def swinging(pair: Pair, steps: int = 60, seed: int = 0) -> F64:
    """Return a chunk [steps, actions] near the pose of standing, rad."""
    noise = np.random.default_rng(seed)
    swing = np.sin(np.arange(steps) / 20)[:, None] * noise.uniform(-0.03, 0.03, size=6)
    return np.asarray(pair.contract.stand.position + swing)


def test_chunks_of_another_process_are_executed_as_python_s(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of("so101_reach", rate_hz=CHUNK_RATE_HZ)
    pair.run()
    for seed in range(8):
        assert pair.hear_chunk(swinging(pair, seed=seed)) == ""
        for _ in range(255):  # the arm follows at once
            pair.write("joint_pos", pair.update().rows[0])
        assert pair.mode is Mode.RUN, pair.check_status()["log"]
    assert np.abs(pair.command.rows[0] - pair.contract.stand.position).max() > 0.005

    # As none comes any more, the arm holds its pose once the steps are used up.
    pair.update(1020)
    assert pair.mode is not Mode.RUN
    pair.check_status()


def test_a_chunk_that_was_observed_before_the_run_is_not_executed(
    pair_of: Callable[..., Pair],
) -> None:
    pair = pair_of("so101_reach", rate_hz=CHUNK_RATE_HZ)
    pair.run()
    assert pair.hear_chunk(swinging(pair), age_ns=1_000_000_000) == ""
    held = pair.update(60)
    assert np.array_equal(held.rows[0], pair.contract.stand.position)
    assert pair.hear_chunk(swinging(pair), age_ns=30_000_000) == ""
    assert not np.array_equal(pair.update(120).rows[0], held.rows[0])


def test_a_chunk_that_is_not_finite_ends_the_run(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of("so101_reach", rate_hz=CHUNK_RATE_HZ)
    pair.run()
    assert pair.hear_chunk(np.full((60, 6), math.nan)) == ""
    pair.update(40)
    assert pair.mode is not Mode.RUN
    assert pair.twin.rules
    pair.check_status()


@pytest.mark.parametrize(
    ("rows", "more"),
    [
        (60, {"names": ["shoulder_pan", "shoulder_lift"]}),
        (60, {"period_s": 0.02}),
        (61, {}),
        (60, {"steps": 59}),
        (60, {"age_ns": -1_000_000_000}),
        (60, {"age_ns": 2_000_000_000}),
    ],
    ids=["names", "period", "steps", "data", "ahead", "too old"],
)
def test_a_chunk_of_another_form_is_refused(
    rows: int, more: dict[str, Any], pair_of: Callable[..., Pair]
) -> None:
    pair = pair_of("so101_reach", rate_hz=CHUNK_RATE_HZ)
    check_wording(pair.hear_chunk(swinging(pair, rows), **more))


def test_columns_of_a_chunk_are_those_of_its_names(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of("so101_reach", rate_hz=CHUNK_RATE_HZ)
    pair.run()
    chunk, names = swinging(pair), pair.contract.action.joints
    assert pair.program.hear_chunk(names[::-1], chunk[:, ::-1], 10_000_000, 1 / 30, 60) == ""
    pair.twin.chunks.hear(chunk, 10_000_000)
    pair.update(255)


def test_a_policy_without_chunks_refuses_one(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of("lite3_walk")
    refusal = pair.program.hear_chunk(["knee"], np.zeros((1, 1)), 0, 0.02, 1)
    check_wording(refusal)
