# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One seed: all actors on one timeline, under a schedule, until it ends or an invariant breaks."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import takewhile
from pathlib import Path
from random import Random
from traceback import extract_tb
from types import SimpleNamespace
from typing import Any

import numpy as np
from policy_msgs.msg import JointCommand
from policy_msgs.srv import LoadBundle, SwitchState
from std_srvs.srv import Trigger

from lite3_driver.wire import JOINT_NAMES
from policy_core.bundle.bundle import Bundle
from policy_core.bundle.load import load_bundle
from policy_core.control.tick import Tick
from policy_core.interfaces import Mode
from policy_core.observation.freshness import Input
from policy_inference.kinds.opening import NATIVE, PYTHON
from robot_driver.interfaces import MODE_DAMP, DriverPhase
from robot_operator.requests import OF_BOTH, OF_DRIVER, OperatorRequest
from tools.chaos.driver import ChaosDriver, HoldingLite3, SlowLite3
from tools.chaos.host import ChaosKind, ChaosNode, ChaosSetKind, Scene, virtual_host
from tools.chaos.network import VirtualChannel
from tools.chaos.node import drive
from tools.chaos.operator import OF_SCRIPTS, ChaosOperator, authority_request
from tools.chaos.robot import VirtualRobot
from tools.chaos.steps import (
    LOADS,
    PAIRS,
    QUIET_S,
    RESTS,
    STATES,
    ChaosStep,
    draw_steps,
    end_s,
    runs_set,
)
from tools.chaos.timeline import NS_PER_S, VirtualClock, VirtualTimeline
from tools.chaos.watch import (
    AnswerWatch,
    Broken,
    ChaosWatch,
    HostWatch,
    VirtualDriverWatch,
    command_rows,
)

BOTH = "both"
"""Each seed runs on both cores, and the results must be equal."""
BUNDLES = Path(__file__).resolve().parents[2] / "config" / "bundles"
_RATE_HZ, _PHYSICS_RATE_HZ = 50, 250
ROGUE_AGAIN_NS = 10_000_000
_WITHIN_S = {"load": 3.0, "take_control": 4.0, "release_control": 3.5}
"""Time limits for slow answers, s; all other answers must be immediate."""
_AT_ONCE_S = 0.5
_PRESSED = b"\0\1\0\0\1"
"""A serialized std_msgs/Bool that is true."""
_SEQUENCE_AT, _VALID_AT, MODE_AT = 12, 20, 28
"""Byte offsets in a serialized JointCommand."""
_TWIST = struct.Struct("<4s6d")
_COMPARED_S = 0.1
_SAVED_TICKS = 10
"""Number of ticks between saved states that are included in the digest."""
_SCALES = {"effort": 8.0, "velocity": 4.0}
"""Scales of a policy that commands efforts, N m, and velocities, rad/s; also its `target_step`."""
_DEMAND = 0.26
"""`effort_demand` of these joints, as a share of the scales; the guard clips targets at full speed.
"""
_CLOCK_OFFSETS_S = (0.0, 0.0, 0.0, 0.03, -0.03, -0.7, 5.0)
"""How far the clock of the driver's computer is ahead of the host's, s. If it is behind by more
than a timeout but less than 0.5 s, no policy starts, because the inputs look stale.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options for running seeds.

    Attributes:
        seconds: Virtual duration of each seed.
        core: Core in which the policy node ticks: `python`, `native` or `both`.
        physics: True if MuJoCo moves the robot.
    """

    seconds: float = 60.0
    core: str = PYTHON
    physics: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedOutcome:
    """Outcome of a seed.

    Attributes:
        seed, steps: The seed and the steps that were run.
        broken: The broken invariant, if any.
        events: The last events.
        digest: Digest of everything that happened.
        checked: Number of checks of each invariant, by name.
        modes: Time in each mode, s.
        granted: Number of times each request was granted.
    """

    seed: int
    steps: Sequence[ChaosStep]
    broken: Broken | None
    events: Sequence[str]
    digest: str
    checked: Mapping[str, int]
    modes: Mapping[str, float]
    granted: Mapping[str, int]


def _mixed_kinds(contract: Any) -> Any:
    """Return a contract in which one joint is commanded by effort and one by velocity."""
    (term,) = contract.action.terms
    cut = {"position": [*range(6), *range(8, 12)], "effort": [6], "velocity": [7]}
    terms = tuple(
        replace(
            term,
            joints=tuple(term.joints[at] for at in places),
            kind=kind,
            scale=np.broadcast_to(term.scale, 12)[places] if kind == "position" else _SCALES[kind],
            offset=np.broadcast_to(term.offset, 12)[places] if kind == "position" else 0.0,
        )
        for kind, places in cut.items()
    )
    step, demand = contract.nominal.target_step.copy(), contract.nominal.effort_demand.copy()
    for kind, scale in _SCALES.items():
        step[cut[kind]], demand[cut[kind]] = scale, _DEMAND * scale
    nominal = replace(contract.nominal, target_step=step, effort_demand=demand)
    return replace(contract, action=replace(contract.action, terms=terms), nominal=nominal)


def _weak(contract: Any) -> Any:
    """Return a contract in which one joint may exert little torque."""
    joints = contract.joints
    limit = np.where(np.arange(len(joints.names)) == 0, 0.5, joints.effort_limit)
    return replace(contract, joints=replace(joints, effort_limit=limit))


def _holding(contract: Any) -> Any:
    """Return the contract of a robot that holds its pose after a fault, as arms do."""
    return replace(contract, safety=replace(contract.safety, on_fault="hold_measured"))


_VARIANTS: Sequence[Callable[[Any], Any]] = (
    lambda contract: contract,
    _mixed_kinds,
    _weak,
    _holding,
)


def _variant(seed: int) -> int:
    """Return the variant of the policy that a seed without a set runs."""
    return (seed - (seed + 2) // 4 + 2) % len(_VARIANTS)


def _holds_pose(seed: int) -> bool:
    return not runs_set(seed) and _VARIANTS[_variant(seed)] is _holding


@cache
def _bundles(name: str, variant: int = 0) -> dict[str, Bundle]:
    """Read a bundle once; also make a version with gains that a standing robot must refuse."""
    first: Any = load_bundle(BUNDLES / name, kind=Bundle)
    first = replace(first, contract=_VARIANTS[variant](first.contract))
    stand = replace(first.contract.stand, stiffness=first.contract.stand.stiffness * 0.5)
    other = replace(first, contract=replace(first.contract, stand=stand))
    return {"first": first, "same": first, "limits": other}


def run_seed(
    seed: int,
    options: Options,
    steps: Sequence[ChaosStep] | None = None,
    *,
    look: Callable[[VirtualTimeline], object] = lambda timeline: None,
    look_s: float = 1e9,
) -> SeedOutcome:
    """Run a seed.

    Args:
        seed: Seed for everything random.
        options: Options for the run.
        steps: Steps to run instead of those of the seed.
        look: Called periodically.
        look_s: Virtual time between two calls of `look`.
    """
    if options.core == BOTH:
        return _run_in_both(seed, options, steps)
    steps = draw_steps(seed, options.seconds) if steps is None else steps
    timeline = VirtualTimeline()
    chance = Random(f"clocks {seed}")
    drifts = {name: chance.randrange(-100, 100) for name in ("host", "driver")}
    clocks = {name: VirtualClock(timeline, drift) for name, drift in drifts.items()}
    clocks["driver"].set(round(chance.choice(_CLOCK_OFFSETS_S) * NS_PER_S))
    scene = Scene(timeline, clocks["host"], Random(f"scene {seed}"), options.core)
    bundle = ("lite3_gaits",) if runs_set(seed) else ("lite3_walk", _variant(seed))
    with virtual_host(scene, _bundles(*bundle)):
        play = _Play(seed, options, steps, scene, clocks)
        timeline.every(round(look_s * NS_PER_S), lambda: look(timeline))
        try:
            timeline.run(round(options.seconds * NS_PER_S))
        except Exception as error:  # noqa: BLE001  of any node
            play.require_no_error(error)
        else:
            play.require_no_error(None)
        return play.outcome()


def run_with_digests(
    seed: int, options: Options, steps: Sequence[ChaosStep] | None = None
) -> tuple[SeedOutcome, list[str]]:
    """Run a seed; return its outcome, and its digests at equal intervals."""
    digests = list[str]()
    outcome = run_seed(
        seed,
        options,
        steps,
        look=lambda timeline: digests.append(timeline.digest),
        look_s=_COMPARED_S,
    )
    return outcome, digests


def holds(seed: int, options: Options, expected: Sequence[str]) -> bool:
    """Return whether a seed's invariants hold and its digests match those in `expected`, if any."""
    rest, same = iter(expected), True

    def look(timeline: VirtualTimeline) -> None:
        nonlocal same
        if expected and timeline.digest != next(rest):
            same, timeline.ended = False, True

    return run_seed(seed, options, look=look, look_s=_COMPARED_S).broken is None and same


def _run_in_both(seed: int, options: Options, steps: Sequence[ChaosStep] | None) -> SeedOutcome:
    (python, seen), (native, expected) = (
        run_with_digests(seed, replace(options, core=core), steps) for core in (PYTHON, NATIVE)
    )
    broken, same = python.broken or native.broken, python.digest == native.digest
    if broken is None and not same:
        pairs = zip(seen, expected, strict=True)
        equal = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        broken = Broken("cores_agree", equal * _COMPARED_S, "not the same at this time")
        short = replace(options, core=PYTHON, seconds=broken.time_s)
        python = replace(python, events=run_seed(seed, short, python.steps).events)
    checked = Counter(python.checked) + Counter(native.checked)
    checked["cores_agree"] += len(seen)
    return replace(python, broken=broken, checked=checked)


def _shown(tick: Tick, inputs: Iterable[Input]) -> bytes:
    """Return the results of a tick, and what others see of its inputs, for the digest."""
    ages = [each.age_ns(tick.now_ns) for each in tick.inputs.values()]
    flags = tick.asked, tick.begins, tick.taken, tick.clipped_ticks
    trip = tick.trip and (tick.trip.rule.value, tick.trip.reason, tick.trip.latched)
    reports = [(each.describe(tick.now_ns), each.clock_step) for each in inputs]
    words = f"{tick.mode} {tick.reason} {trip} {tick.granted} {flags} {tick.blend} {ages} {reports}"
    return words.encode() + tick.authority.tobytes() + tick.target.tobytes()


def _flat(tree: Any) -> bytes:
    """Return a saved state as bytes, for the digest."""
    if isinstance(tree, Mapping):
        return b"".join(key.encode() + _flat(tree[key]) for key in sorted(tree))
    if isinstance(tree, tuple):
        return b"".join(map(_flat, tree))
    if not isinstance(tree, np.ndarray):
        return repr(tree).encode()
    # of a NaN, the cores may have different bits
    return (np.where(np.isnan(tree), np.nan, tree) if tree.dtype.kind == "f" else tree).tobytes()


def rogue_command(data: bytes, kind: str) -> bytes:
    """Return the serialized JointCommand of a second sender, derived from the policy node's newest.

    Args:
        data: The policy node's newest command.
        kind: One of `steps.ROGUES`: `far` and `back` use another sender's sequence; the others
            continue the node's sequence and change one thing.
    """
    command = bytearray(data)
    skipped = {"far": 101, "back": -20}.get(kind, 1)
    (sequence,) = struct.unpack_from("<Q", command, _SEQUENCE_AT)
    struct.pack_into("<Q", command, _SEQUENCE_AT, max(0, sequence + skipped))
    position, velocity, effort, stiffness, damping, limit = command_rows(command, len(JOINT_NAMES))
    if kind in ("start", "stiffer", "push"):
        command[MODE_AT] = JointCommand.MODE_RUN
        stiffness[1] = {"start": 40.0, "stiffer": 4.5 * stiffness[1], "push": 0.0}[kind]
        position[1], damping[1] = position[1] + 0.6, 1.0
        velocity[1] = effort[1] = 10.0 if kind == "push" else 0.0
    elif kind in ("expired", "forever"):
        struct.pack_into(
            "<iI", command, _VALID_AT, *((1, 500_000_000) if kind == "forever" else (0, 0))
        )
    elif kind == "stiff_damp":
        command[MODE_AT], stiffness[:] = MODE_DAMP, 20.0
    elif kind == "negative":
        damping[-1] = -1.0
    elif kind == "gains":
        stiffness[1], damping[1] = 1e4, 1e3
    elif kind == "effort":
        effort[2] = 120.0
    elif kind == "nan":
        velocity[0] = math.nan
    elif kind == "limit":
        limit[0] = -1.0
    elif kind == "position":
        position[4], stiffness[4] = 3.0, 0.5
    elif kind == "weak":
        position[1] += 0.01
        effort[1], limit[1] = 2.0, 0.5
    elif kind == "slack":
        command[MODE_AT] = JointCommand.MODE_RUN
        velocity[2] = effort[2] = stiffness[2] = 0.0
        damping[2] = 0.5
    elif kind == "limp":
        command[MODE_AT] = JointCommand.MODE_RUN
        velocity[2] = effort[2] = stiffness[2] = damping[2] = 0.0
    return bytes(command)


class _Play:
    """All actors of a seed."""

    def __init__(
        self,
        seed: int,
        options: Options,
        steps: Sequence[ChaosStep],
        scene: Scene,
        clocks: Mapping[str, VirtualClock],
    ) -> None:
        self._seed, self._steps, self._options = seed, steps, options
        self._scene, self._timeline, self._clocks = scene, scene.timeline, clocks
        timeline = scene.timeline
        self._watch = ChaosWatch(timeline)
        self._answers = AnswerWatch(self._watch, timeline)
        self._of_driver = VirtualDriverWatch(self._watch, holds=_holds_pose(seed))
        self._ticks_in = Counter[str]()
        self._reason, self._ran_ns = "", -1
        self._stalled_until_ns = {"host": 0, "driver": 0}
        self._network_faults = list[ChaosStep]()
        self._command = b""
        scene.ticked, scene.press = self._on_tick, self._press_host
        rate_hz = _PHYSICS_RATE_HZ if options.physics else _RATE_HZ
        self._driver = ChaosDriver(
            clocks["driver"],
            self._publish_of_driver,
            self._send_frame,
            rate_hz,
            self._of_driver,
            timeline.weigh,
            HoldingLite3 if _holds_pose(seed) else SlowLite3,
        )
        self._wire()
        self._robot = VirtualRobot(
            timeline,
            self._from_robot.send,
            rate_hz=rate_hz,
            physics=options.physics,
            seed=seed,
        )
        self._node: ChaosNode | None = None
        self._start_host()
        self._operator = ChaosOperator(timeline, Random(f"operator {seed}"), self._ask, self._steer)
        timeline.every(NS_PER_S // rate_hz, self._turn_driver)
        timeline.every(NS_PER_S // 2, self._answers.look)
        for step in steps:
            timeline.at(round(step.at_s * NS_PER_S), partial(self._begin, step))

    def _wire(self) -> None:
        robot_driver, driver_host, operator_host, operator_driver = PAIRS

        def channel(ends: str, name: str, deliver: Callable[[Any], object]) -> VirtualChannel:
            chance = Random(f"{self._seed} {ends} {name}")
            return VirtualChannel(self._timeline, self._network_faults, ends, chance, deliver)

        def to(actor: str, hear: Callable[[Any], object]) -> Callable[[Any], None]:
            """Return a function that receives messages, which wait while the actor is stalled."""

            def deliver(message: Any) -> None:
                until_ns = self._stalled_until_ns[actor]
                if self._timeline.now_ns < until_ns:
                    self._timeline.at(until_ns, lambda: deliver(message))
                else:
                    hear(message)

            return deliver

        self._from_robot = channel(robot_driver, "states", to("driver", self._driver.hear_robot))
        self._to_robot = channel(robot_driver, "frames", lambda data: self._robot.receive(data))
        self._sensors = channel(driver_host, "sensors", self._hear_sensor)
        self._commands = channel(
            driver_host, "joint_command", to("driver", self._driver.hear_command)
        )
        self._status = channel(driver_host, "status", to("host", self._hear_status))
        self._cmd_vel = channel(operator_host, "cmd_vel", self._hear_sensor)
        self._to_host = channel(operator_host, "requests", to("host", self._hear_request))
        self._from_host = channel(operator_host, "mode", lambda seen: self._operator.hear(*seen))
        self._to_driver = channel(
            operator_driver, "requests", to("driver", self._hear_driver_request)
        )
        self._from_driver = channel(
            operator_driver, "phase", lambda phase: self._operator.hear_driver(phase)
        )

    # The host's inputs and actions.

    def _start_host(self) -> None:
        kind = ChaosSetKind() if runs_set(self._seed) else ChaosKind()
        node = ChaosNode(self._scene, self._publish_of_host, kind)
        self._node = node
        node.begin()
        self._of_host = HostWatch(self._watch, node.policy)
        self._timeline.note("the policy node has started")
        self._timeline.after(0, lambda: self._turn_host(node))

    def _turn_host(self, node: ChaosNode) -> None:
        if node is not self._node:
            return
        timeline, clock = self._timeline, self._clocks["host"]
        if timeline.now_ns >= self._stalled_until_ns["host"]:
            next_ns = clock.when(node.turn())
            busy_ns, clock.busy_ns = clock.busy_ns, 0
            if busy_ns:
                # Nothing else happens in this process meanwhile.
                self._stall("host", busy_ns)
        else:
            next_ns = self._stalled_until_ns["host"]
        timeline.at(max(next_ns, timeline.now_ns + 1), lambda: self._turn_host(node))

    def _publish_of_host(self, topic: str, message: Any) -> None:
        if topic == "joint_command":
            self._command = message
            self._timeline.weigh(message)
            self._of_host.published(message)
            self._commands.send(message)

    def _on_tick(self, tick: Tick) -> None:
        node = self._node
        assert node is not None
        self._ticks_in[tick.mode.name] += 1
        self._timeline.weigh(_shown(tick, node.controller.inputs.values()))
        if self._ticks_in.total() % _SAVED_TICKS == 0:
            self._timeline.weigh(_flat(node.controller.control_state().tree))
        if tick.mode is Mode.RUN:
            self._ran_ns = self._timeline.now_ns
        if tick.reason != self._reason:
            self._reason = tick.reason
            self._timeline.note(f"host: {tick.mode.name}: {tick.reason}")
        self._of_host.ticked(tick, node.policy)
        if self._ticks_in.total() % 10 == 0:
            latched = node.controller.snapshot().latched
            self._from_host.send((tick.mode, latched, float(tick.authority.min())))

    def _hear_sensor(self, sent: tuple[str, bytes]) -> None:
        topic, data = sent
        if self._node is not None and (mailbox := self._node.mailboxes.get(topic)):
            mailbox.put(data)

    def _hear_status(self, status: Any) -> None:
        if self._node is not None:
            self._node.driver._hear(status)

    def _hear_request(self, request: tuple[str, float]) -> None:
        (name, value), node = request, self._node
        if node is None:
            return
        answered = self._asked("host", name)

        def done(response: Any) -> None:
            if response.success and name == "reset" and not node.controller.estop_pressed:
                self._of_host.reset()
            answered(response)

        if name == "load":
            bundle = LOADS[int(value)]
            loaded = self._of_host.load_asked(bundle)

            def ended(response: Any) -> None:
                loaded(node.policy, response.success)
                done(response)

            work = node.handlers["load"](LoadBundle.Request(bundle=bundle))
            if (go_on := drive(work, ended))():
                node.waiting.append(go_on)
        elif name == "switch":
            response = node.handlers["switch"](SwitchState.Request(state=STATES[int(value)]))
            if response.success:
                self._of_host.switch_granted(STATES[int(value)])
            done(response)
        elif name == "authority" or name in RESTS:
            done(node.handlers["set_authority"](authority_request(name, value)))
        else:
            if name == "estop":
                self._of_host.pressed()
            done(node.handlers[name](Trigger.Request()))

    def _asked(self, actor: str, name: str) -> Callable[[Any], None]:
        """Expect an answer; return the function that receives it."""
        return self._answers.asked(actor, name, _WITHIN_S.get(name, _AT_ONCE_S))

    def _press_host(self) -> None:
        assert self._node is not None
        if not self._node.controller.estop_pressed:
            self._timeline.note("host: the e-stop is pressed while the model runs")
        self._of_host.pressed()
        for hear in self._node.heard["estop"][:1]:
            hear(_PRESSED)

    # The driver's inputs and actions.

    def _turn_driver(self) -> None:
        if self._timeline.now_ns >= self._stalled_until_ns["driver"]:
            now_ns = self._clocks["driver"].monotonic_ns()
            if now_ns >= self._driver.link.next_ns:
                self._driver.turn()
            self._of_driver.is_alive(now_ns)

    def _send_frame(self, data: bytes) -> None:
        self._timeline.weigh(data)
        self._of_driver.sent(data, self._clocks["driver"].monotonic_ns())
        self._to_robot.send(data)

    def _publish_of_driver(self, topic: str, message: Any) -> None:
        if topic == "status":
            status, changed = message
            if changed:
                phase = DriverPhase(status.state).name
                self._timeline.note(f"driver: {phase}: {status.reason[:90]}")
            self._status.send(status)
            self._from_driver.send(DriverPhase(status.state))
        else:
            self._sensors.send((topic, message))

    def _hear_driver_request(self, name: str) -> None:
        driver = self._driver
        if name == "estop":
            self._of_driver.press()
            driver.gate.press()
        elif name in ("take_control", "release_control"):
            work = driver.handlers[name](SimpleNamespace())
            if (go_on := drive(work, self._asked("driver", name)))():
                driver.waiting.append(go_on)
        else:
            if name == "reset":
                self._of_driver.reset()
            self._asked("driver", name)(driver.handlers[name](SimpleNamespace()))
        driver.turn()

    # The operator, and the schedule.

    def _ask(self, name: str, value: float) -> None:
        """Send a request to the actors concerned."""
        timeline = self._timeline
        timeline.note(f"operator: {name} {value:g}" if value else f"operator: {name}")
        request = OperatorRequest(name) if name not in OF_SCRIPTS else None
        if request is OperatorRequest.ESTOP or request in OF_DRIVER or request in OF_BOTH:
            self._to_driver.send(name)
        if request not in OF_DRIVER:
            self._to_host.send((name, value))

    def _steer(self, vx: float, vy: float, wz: float) -> None:
        self._cmd_vel.send(("cmd_vel", _TWIST.pack(b"\0\1\0\0", vx, vy, 0.0, 0.0, 0.0, wz)))

    def _begin(self, step: ChaosStep) -> None:
        timeline = self._timeline
        if step.kind == "ask":
            self._operator.ask(step)
            return
        timeline.note(step.what)
        for_ns = round(step.for_s * NS_PER_S)
        if step.kind == "drive":
            self._operator.drive(step.target, for_ns)
        elif step.kind == "steer":
            self._operator.steer(step.value, for_ns)
        elif step.kind == "rogue":
            for at_ns in range(0, for_ns + 1, ROGUE_AGAIN_NS):
                timeline.after(at_ns, lambda: self._send_rogue(step.target))
        elif step.kind == "clock":
            # Until the clock is synchronized with the others again.
            clock, by_ns = self._clocks[step.target], round(step.value * NS_PER_S)
            clock.set(by_ns)
            timeline.after(for_ns, lambda: clock.set(-by_ns))
        elif step.kind == "stall":
            self._stall(step.target, for_ns)
        elif step.kind == "kill":
            self._kill_host(for_ns)
        elif step.kind == "tip":
            self._robot.tip(step.value)
            timeline.after(for_ns, lambda: self._robot.tip(0.0))
        elif step.kind == "unpowered":
            self._robot.set_power(on=False)
            timeline.after(for_ns, lambda: self._robot.set_power(on=True))
        elif step.kind == "robot":
            self._robot.begin(step.target)
            timeline.after(for_ns, lambda: self._robot.end(step.target))
        else:
            faults = self._scene.model_faults if step.kind == "model" else self._network_faults
            faults.append(step)
            timeline.after(for_ns, lambda: faults.remove(step))

    def _send_rogue(self, kind: str) -> None:
        if self._command:
            self._commands.send(rogue_command(self._command, kind))

    def _stall(self, actor: str, for_ns: int) -> None:
        now_ns, before_ns = self._timeline.now_ns, self._stalled_until_ns[actor]
        self._stalled_until_ns[actor] = max(before_ns, now_ns + for_ns)
        self._answers.wait(actor, for_ns)

    def _kill_host(self, for_ns: int) -> None:
        if self._node is None:
            return
        self._node.waiting.clear()  # a dead process ends no request
        self._node = None
        self._answers.forget("host")
        self._timeline.after(for_ns, self._start_host)

    def require_no_error(self, error: Exception | None) -> None:
        """Check that no node has raised an exception."""
        found = ""
        if error is not None:
            place = extract_tb(error.__traceback__)[-1]
            found = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
        self._watch.require("nothing_raises", error is None, found)

    def outcome(self) -> SeedOutcome:
        """Check whether the robot has run again; return the outcome."""
        over_s = end_s(self._steps)
        if not self._timeline.ended and over_s <= self._options.seconds - QUIET_S:
            ran_s = self._ran_ns / NS_PER_S
            self._watch.require("runs_again", ran_s > over_s, f"last at {ran_s:.3f} s")
        period_s = _bundles("lite3_walk")["first"].contract.period_ns * 1e-9
        return SeedOutcome(
            seed=self._seed,
            steps=self._steps,
            broken=self._watch.broken,
            events=[*self._timeline.events],
            digest=self._timeline.digest,
            checked=self._watch.checked,
            modes={name: ticks * period_s for name, ticks in self._ticks_in.items()},
            granted=self._answers.granted,
        )
