# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The course of the demo of a policy set: rounds of random switches, then a member that fails."""

import logging
import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.bundle.bundle import SetBundle
from policy_core.bundle.load import load_bundle
from robot_operator.nodes.client import Operator
from robot_sim.demo.processes import Processes
from robot_sim.demo.sets.failing import FAILS_ABOVE_MPS, FORWARD_MPS, failing_set
from robot_sim.errors import SimError
from robot_sim.trace import Trace

_NODE = "policy_set_node"
_LARGEST = (0.6, 0.4, 0.7)
"""Of the commands: m/s, m/s, rad/s."""
_AFTER_S = (0.6, 1.8)
"""Shortest and longest time from a new command to the request of a switch."""
_PUSH_EVERY_S, _PUSH_S, _PUSH_N = 5.0, 0.1, 60.0
_SIDES = ("front", "rear", "left", "right")
_STANDS_UP_S, _LONGEST_SWITCH_S = 6.0, 4.0
_ANSWERED_WITHIN_S = 60.0
_SPEED = 5.0
"""Simulated seconds per second at most, so that the operator keeps up with the robot."""
_log = logging.getLogger("robot_sim_demo")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDemoOptions:
    """What the demo is to do.

    Attributes:
        bundle: Folder of a set, or name of an installed one.
        backend: Back ends in order of preference, comma-separated.
        switches: How many, in all rounds together.
        seed: Of all that is random.
    """

    bundle: str
    backend: str
    switches: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundConditions:
    """Where a round takes place."""

    friction: float
    latency_s: float


ROUNDS = (
    RoundConditions(friction=1.0, latency_s=0.0),
    RoundConditions(friction=0.4, latency_s=0.01),
    RoundConditions(friction=1.0, latency_s=0.02),
    RoundConditions(friction=0.4, latency_s=0.02),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchEvent:
    """What came of a request, or a switch that nothing asked for.

    Attributes:
        at_s: Simulated time at which it was there.
        ended_s: When the blend had ended.
        state: That commanded afterwards.
        why: In the words of the node.
        granted: Whether the state was entered.
        step_ratio: Largest step of a target in it, as a share of the largest in a healthy run.
    """

    at_s: float
    ended_s: float
    state: str
    why: str
    granted: bool
    step_ratio: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SwitchRound:
    """A round, and what came of it.

    Attributes:
        name: For people.
        conditions: Where it took place.
        trace: Ground truth of the simulator.
        initial: State in which it began.
        events: In their order.
        pushes_s: When the robot was pushed.
        status: The last one in RUN, or of the fault that ended it.
        recording: Folder of the flight recording.
    """

    name: str
    conditions: RoundConditions
    trace: Trace
    initial: str
    events: tuple[SwitchEvent, ...]
    pushes_s: tuple[float, ...]
    status: Any
    recording: Path | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SetDemoResult:
    """What the demo did.

    Attributes:
        bundle: The set.
        rounds: Those of random switches.
        failing: The round in which a member fails; `failed` is its state.
        failed: State whose member fails.
        wall_s: Time that all of it took.
    """

    bundle: SetBundle
    rounds: tuple[SwitchRound, ...]
    failing: SwitchRound
    failed: str
    wall_s: float


def perform(output: Path, options: SetDemoOptions) -> SetDemoResult:
    """Run all rounds.

    Raises:
        PolicyError: The set cannot be loaded, or a node refused.
        SimError: A node ended, or the set has no state with a fallback.
    """
    began_s = time.monotonic()
    bundle = load_bundle(options.bundle, kind=SetBundle)
    random = np.random.default_rng(options.seed)
    rounds = []
    for number, conditions in enumerate(ROUNDS):
        switches = (options.switches + len(ROUNDS) - 1 - number) // len(ROUNDS)
        if not switches:
            break
        stage = RoundStage(output / f"round_{number + 1}", bundle, conditions, options.backend)
        rounds.append(stage.run(lambda at, n=switches: _switches(at, bundle, n, random), random))
    failed = next(
        (name for name, state in bundle.contract.states.items() if state.fallback is not None), None
    )
    if failed is None:
        raise SimError(f"{bundle.path}: expected a state with a fallback, found none")
    folder = _emptied(output / "failing")
    broken = failing_set(bundle, bundle.contract.states[failed].members[0], folder / "bundles")
    stage = RoundStage(folder / "round", broken, ROUNDS[0], options.backend)
    failing = stage.run(lambda at: _fail(at, broken, failed), None)
    return SetDemoResult(
        bundle=bundle,
        rounds=tuple(rounds),
        failing=failing,
        failed=failed,
        wall_s=time.monotonic() - began_s,
    )


class SwitchLog:
    """Asks for switches of a robot that runs, and notes what comes of them."""

    def __init__(self, operator: Operator) -> None:
        """Ask by this operator."""
        self.operator, self.events = operator, list[SwitchEvent]()

    @property
    def report(self) -> Any:
        """The newest policy_msgs/SetStatus."""
        return self.operator.status.policy_set[0]

    @property
    def runs(self) -> bool:
        """Whether a policy commands the robot."""
        return self.operator.mode in ("RUN", "HOLD")

    @property
    def now_s(self) -> float:
        """Simulated time."""
        return self.operator.now_ns * 1e-9

    def ask(self, state: str) -> None:
        """Ask for a switch, and return when it has ended, or was not granted."""
        before, began_s = self.report.switches, self.now_s
        granted, message = self.operator.switch(state)
        if not granted:
            self._refused(message)
            return
        self.operator.wait_until(
            lambda: (
                self.report.switches > before
                or bool(self.report.refused and not self.report.asked)
                or self.now_s > began_s + _LONGEST_SWITCH_S
                or not self.runs
            ),
            f"the switch to {state}",
            _ANSWERED_WITHIN_S,
        )
        if self.report.switches > before:
            self.settle()
        else:
            self._refused(self.report.refused)

    def follow_back(self, before: int) -> None:
        """Note the switches of the way back to standing until it ends; `before` were made."""
        while True:
            self.operator.wait_until(
                partial(self._has_gone_on, before), "the way back", _ANSWERED_WITHIN_S
            )
            if self.report.switches == before:
                return
            before = self.report.switches
            self.settle()

    def _has_gone_on(self, before: int) -> bool:
        return self.report.switches > before or not self.runs

    def settle(self) -> None:
        """Note the last switch, once it has ended."""
        at_s, before = self.now_s, self.report
        self.operator.wait_until(
            lambda: not self.report.blending or not self.runs, "the blend", _ANSWERED_WITHIN_S
        )
        self.events.append(
            SwitchEvent(
                at_s=at_s,
                ended_s=self.now_s,
                state=before.last_to,
                why=before.last_reason,
                granted=True,
                step_ratio=self.report.last_step_ratio,
            )
        )

    def _refused(self, why: str) -> None:
        now_s, state = self.now_s, self.report.state
        self.events.append(
            SwitchEvent(at_s=now_s, ended_s=now_s, state=state, why=why, granted=False)
        )


class RoundStage:
    """A simulated robot and a policy node, for one round."""

    def __init__(
        self, folder: Path, bundle: SetBundle, conditions: RoundConditions, backend: str
    ) -> None:
        """Prepare a round whose files come into a folder, which is emptied."""
        self._folder, self._bundle = _emptied(folder), bundle
        self._conditions, self._backend = conditions, backend

    def run(self, act: Any, random: np.random.Generator | None) -> SwitchRound:
        """Let the robot stand up, act, go back and lie down.

        Args:
            act: Takes the `SwitchLog` of the robot that runs.
            random: Draws the pushes; None: there are none.

        Raises:
            SimError: A node ended, or refused.
        """
        folder, conditions = self._folder, self._conditions
        name = f"friction {conditions.friction:g}, latency {1e3 * conditions.latency_s:g} ms"
        _log.info("%s", name if random is not None else f"{name}: a member fails")
        pushes = [] if random is None else _pushes(random)
        with Processes() as nodes:
            nodes.start(
                "sim_node",
                {
                    "trace_file": str(folder / "trace.npz"),
                    "lockstep": True,
                    "lockstep_speed": _SPEED,
                    "friction": conditions.friction,
                    "latency_s": conditions.latency_s,
                    "faults": [text for _, text in pushes] or [""],
                },
                folder / "sim_node.log",
            )
            nodes.start(
                _NODE,
                {
                    "bundle": str(self._bundle.path),
                    "backend": self._backend,
                    "use_sim_time": True,
                    "status_rate_hz": 20.0,
                    "flight.folder": str(folder / "flights"),
                },
                folder / f"{_NODE}.log",
            )
            with Operator(policy_node=_NODE, use_sim_time=True, watch=nodes.check) as operator:
                operator.wait_for_robot()
                operator.record_run(True)
                operator.stand_up()
                log = SwitchLog(operator)
                initial = log.report.state
                act(log)
                status = self._end(log)
        trace = Trace.load(folder / "trace.npz")
        recordings = sorted(folder.glob("flights/*-run*"))
        return SwitchRound(
            name=name,
            conditions=conditions,
            trace=trace,
            initial=initial,
            events=tuple(log.events),
            pushes_s=tuple(at_s for at_s, _ in pushes if at_s < trace.time_s[-1]),
            status=status,
            recording=recordings[0] if recordings else None,
        )

    def _end(self, log: SwitchLog) -> Any:
        """Stand up by the way back and lie down; return the status before."""
        operator, before = log.operator, log.report.switches
        operator.move()
        operator.wait(1.0)
        status = operator.status
        if log.runs:
            operator.request("stand")
            log.follow_back(before)
            if operator.mode != "DAMP":
                operator.wait_for_mode("READY")
        operator.record_run(False)
        operator.demand("damp")
        operator.wait_for_mode("DAMP")
        operator.let_go()
        operator.wait(1.0)
        return operator.status if operator.status.latched else status


def _switches(log: SwitchLog, bundle: SetBundle, count: int, random: np.random.Generator) -> None:
    """Walk by random commands, and ask for random switches."""
    states = bundle.contract.states
    for _ in range(count):
        vx, vy, wz = random.uniform(-1.0, 1.0, 3) * _LARGEST
        log.operator.move(float(vx), float(vy), float(wz))
        log.operator.wait(float(random.uniform(*_AFTER_S)))
        if not log.runs:
            _log.info("the policy node left RUN: %s", log.operator.status.reason)
            return
        log.ask(str(random.choice([*states[log.report.state].to])))


def _fail(log: SwitchLog, bundle: SetBundle, failed: str) -> None:
    """Let a member fail as it enters, and once it commands."""
    for state in _way_to(bundle, log.report.state, failed)[:-1]:
        log.ask(state)
    log.operator.move(FAILS_ABOVE_MPS + 0.1)
    log.operator.wait(2.0)
    log.ask(failed)
    log.operator.move(FORWARD_MPS)
    log.operator.wait(1.0)
    log.ask(failed)
    fallbacks = log.report.fallbacks
    log.operator.move(FAILS_ABOVE_MPS + 0.1)
    log.operator.wait_until(
        lambda: log.report.fallbacks > fallbacks or not log.runs, "the fallback", _ANSWERED_WITHIN_S
    )
    if log.runs:
        log.settle()
        log.operator.wait(2.0)


def _way_to(bundle: SetBundle, begin: str, end: str) -> list[str]:
    """Return the states on a shortest way, without the first.

    Raises:
        SimError: There is none.
    """
    ways = [[begin]]
    for way in ways:
        if way[-1] == end:
            return way[1:]
        known = {state for each in ways for state in each}
        ways += [[*way, to] for to in bundle.contract.states[way[-1]].to if to not in known]
    raise SimError(f"{bundle.path}: expected a way from {begin} to {end}, found none")


def _pushes(random: np.random.Generator) -> list[tuple[float, str]]:
    """Return times and texts of pushes, for an hour."""
    found = []
    for begin_s in np.arange(_STANDS_UP_S + 2.0, 3600.0, _PUSH_EVERY_S):
        at_s = float(np.round(begin_s + random.uniform(0.0, _PUSH_EVERY_S - 1.0), 2))
        side = random.choice(_SIDES)
        found.append((at_s, f"push:{side}@{at_s}+{_PUSH_S}={_PUSH_N}"))
    return found


def _emptied(folder: Path) -> Path:
    """Return a folder without the files of an earlier demo."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
