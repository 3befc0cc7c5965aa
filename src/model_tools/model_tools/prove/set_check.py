# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Simulates each transition of a policy set, with pushes, to see whether the robot survives."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from model_tools.prove.evaluation.statistics import wilson
from model_tools.simulation.controlled import ControlledSet
from model_tools.simulation.robot import PUSH_S, SimulatedRobot
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.set_contract import SetContract
from policy_core.errors import BackendError, RefusedError
from policy_core.interfaces import F64, Backend, Mode
from robot_sim.drives import DriveCommand
from robot_sim.faults import TARGETS, Fault, FaultPlan
from robot_sim.rotation import tilt_rad
from robot_sim.walk import walk
from robot_sim.world import Sensors, World

WORLDS = ((1.0, 0), (0.4, 0), (1.0, 20), (0.4, 20))
"""Friction and latency (ms) of successive tries."""
PUSH_N_PER_KG = 5.0
"""Push per kg of the robot's mass: 60 N for a Lite3."""
AFTER_S, GRANTED_WITHIN_S, REACHED_WITHIN_S = 5.0, 5.0, 30.0
"""Time for which the robot is observed after a switch; time limits for granting the switch, and for
reaching the state before it."""
_WALKED_S, _NEW_COMMAND_S = (1.5, 3.5), 1.0


@dataclass(frozen=True, slots=True)
class SetTransition:
    """A transition, or a state's switch to its fallback when a member fails."""

    source: str
    target: str
    is_fallback: bool = False

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}{' (fallback)' if self.is_fallback else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchRow:
    """Outcome of one try.

    Attributes:
        granted: True if the switch was made.
        refusal: Why the switch was not made, or the state before it was not reached.
        failure: Failure after the switch: the robot fell, or the guard stopped it; empty if it did
            not fail.
        tilt_rad: Largest tilt after the switch.
        step_ratio: Largest `step_ratio` of `SetReport` after the switch.
    """

    granted: bool
    refusal: str
    failure: str
    tilt_rad: float
    step_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTransitionResult:
    """Results of all tries of a transition.

    Attributes:
        edge: The transition.
        tries: Number of tries.
        granted: Number of switches that were made.
        failed: Number of switches after which the robot failed.
        fails_at_most: Upper end of the 95 % interval of the failure rate.
        failure: Most frequent failure.
        refusal: Most frequent reason not to switch.
        tilt_rad, step_ratio: Largest values.
        holds: True if the switch was made at least once, and the robot never failed.
    """

    edge: SetTransition
    tries: int
    granted: int
    failed: int
    fails_at_most: float
    failure: str
    refusal: str
    tilt_rad: float
    step_ratio: float
    holds: bool


def find_edges(contract: SetContract) -> list[SetTransition]:
    found = [SetTransition(name, to) for name, state in contract.states.items() for to in state.to]
    return found + [
        SetTransition(name, state.fallback, is_fallback=True)
        for name, state in contract.states.items()
        if state.fallback is not None
    ]


def check_set(
    bundle: SetBundle,
    backends: Mapping[str, Backend],
    robot: SimulatedRobot,
    tries: int,
    shown: Callable[[int, int], None] = lambda *_: None,
) -> list[SetTransitionResult]:
    """Try each transition of a set, and return the results.

    Args:
        bundle: The set; it may contain only joint policies.
        backends: Opened model of each member.
        robot: Robot to simulate.
        tries: Tries per transition, each with new commands and a new push.
        shown: Called before each transition with the number done and the total.
    """
    edges, found = find_edges(bundle.contract), list[SetTransitionResult]()
    for number, edge in enumerate(edges):
        shown(number, len(edges))
        found.append(check_edge(bundle, backends, robot, edge, tries))
    return found


def check_edge(
    bundle: SetBundle,
    backends: Mapping[str, Backend],
    robot: SimulatedRobot,
    edge: SetTransition,
    tries: int,
) -> SetTransitionResult:
    """Try one transition in the `WORLDS` in turn; see `check_set`."""
    rows = [try_switch(bundle, backends, robot, edge, seed) for seed in range(tries)]
    granted = [row for row in rows if row.granted]
    failures = Counter(row.failure for row in granted if row.failure)
    refusals = Counter(row.refusal for row in rows if row.refusal)
    failed = sum(failures.values())
    return SetTransitionResult(
        edge=edge,
        tries=len(rows),
        granted=len(granted),
        failed=failed,
        fails_at_most=wilson(failed, len(granted))[1],
        failure=_most_frequent(failures),
        refusal=_most_frequent(refusals),
        tilt_rad=max((row.tilt_rad for row in granted), default=0.0),
        step_ratio=max((row.step_ratio for row in granted), default=0.0),
        holds=bool(granted) and not failed,
    )


def _most_frequent(texts: Counter[str]) -> str:
    return max(texts, key=lambda text: (texts[text], text), default="")


def try_switch(
    bundle: SetBundle,
    backends: Mapping[str, Backend],
    robot: SimulatedRobot,
    edge: SetTransition,
    seed: int,
) -> SwitchRow:
    friction, latency_ms = WORLDS[seed % len(WORLDS)]
    world = World(robot.body, friction=friction, seed=seed)
    world.latency_ns = latency_ms * 1_000_000
    failing = {name: _FailingBackend(backend) for name, backend in backends.items()}
    switching = _SwitchingRobot(bundle, failing, robot, edge, seed, world)
    walk(
        world,
        switching,
        [],
        duration_s=REACHED_WITHIN_S + GRANTED_WITHIN_S + AFTER_S,
        rate_hz=bundle.contract.rate_hz,
        until=lambda _: switching.is_over,
    )
    return switching.row()


class _FailingBackend:
    """A back end whose runs fail once `fails` is set."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self.fails = backend, False
        self.name, self.details = backend.name, backend.details
        self.inputs, self.outputs = backend.inputs, backend.outputs

    def run(self) -> None:
        if self.fails:
            raise BackendError("failed on purpose, to try the fallback")
        self._backend.run()

    def close(self) -> None:
        self._backend.close()


class _SwitchingRobot(ControlledSet):
    """Goes to the state before a switch, walks, requests the switch, and walks on under a push."""

    def __init__(
        self,
        bundle: SetBundle,
        backends: Mapping[str, _FailingBackend],
        simulated: SimulatedRobot,
        edge: SetTransition,
        seed: int,
        world: World,
    ) -> None:
        super().__init__(bundle, backends, robot=simulated)
        self._contract, self._backends, self._edge = bundle.contract, backends, edge
        self._switch_names = (edge.source, edge.target)
        self._world, self._random = world, np.random.default_rng(seed)
        self._push_n = PUSH_N_PER_KG * sum(body.mass_kg for body in simulated.body.bodies)
        transitions = (
            (name, to) for name, state in bundle.contract.states.items() for to in state.to
        )
        self._next = _next_states(transitions, edge.source)
        ends_itself = bundle.contract.states[edge.source].ends is not None
        self._walks_s = 0.0 if ends_itself else float(self._random.uniform(*_WALKED_S))
        self._command, self._push = np.zeros(3), FaultPlan()
        self._walks_since_s: float | None = None
        self._asked_at_s: float | None = None
        self._switched_at_s: float | None = None
        self._commands_anew_at_s = np.inf
        self._refusal, self._failure = "", ""
        self._tilt_rad = self._step_ratio = 0.0
        self.is_over = False

    def __call__(self, sensors: Sensors, command: F64) -> DriveCommand:
        now_s = sensors.time_ns / 1e9
        drive = super().__call__(sensors, self._command)
        self._push.act(self._world)
        if self._switched_at_s is not None:
            self._watch(sensors, now_s, self._switched_at_s)
        elif self._world.fallen and self._walks_since_s is not None:
            self._end("the robot fell before")
        elif self.controller.mode is Mode.RUN:
            self._go_on(now_s)
        elif self.controller.snapshot().latched:
            self._end(self.controller.snapshot().reason)
        if self._asked_at_s is None and now_s > REACHED_WITHIN_S:
            self._end(self._refusal or self.refusal or f"{self._edge.source} was not reached")
        return drive

    def row(self) -> SwitchRow:
        return SwitchRow(
            granted=self._switched_at_s is not None,
            refusal=self._refusal if self._switched_at_s is None else "",
            failure=self._failure,
            tilt_rad=self._tilt_rad,
            step_ratio=self._step_ratio,
        )

    def _end(self, refusal: str) -> None:
        self.is_over, self._refusal = True, refusal

    def _go_on(self, now_s: float) -> None:
        """Go to the state before the switch, walk there, and request the switch."""
        report = self.policy_set.report
        if report.last[:2] == self._switch_names and self._walks_since_s is not None:
            self._switch(now_s)
        elif report.is_blending:
            return
        elif report.state != self._edge.source:
            self._ask(self._next[report.state])
        elif self._walks_since_s is None:
            self._walks_since_s, self._command = now_s, self._drawn(self._conditioned())
        elif now_s >= self._walks_since_s + self._walks_s:
            self._ask_for_the_switch(now_s)

    def _ask_for_the_switch(self, now_s: float) -> None:
        if self._asked_at_s is None:
            self._asked_at_s = now_s
        if self._edge.is_fallback:
            source, target = (self._contract.states[name] for name in self._switch_names)
            for name in set(source.members) - set(target.members):
                self._backends[name].fails = True
        else:
            self._ask(self._edge.target)
        if now_s > self._asked_at_s + GRANTED_WITHIN_S:
            self._end(self._refusal)

    def _ask(self, state: str) -> None:
        refused = self.policy_set.report.refused
        try:
            self.requests.switch(state)
        except RefusedError as error:
            refused = str(error)
        self._refusal = refused or self._refusal

    def _switch(self, now_s: float) -> None:
        self._switched_at_s = now_s
        stated = self._contract.states[self._edge.source].to.get(self._edge.target)
        blend_s = 0.0 if stated is None else stated.blend_s
        push = Fault(
            kind="push",
            target=str(self._random.choice(TARGETS["push"])),
            start_s=now_s + float(self._random.uniform(0.0, blend_s + 1.0)),
            duration_s=PUSH_S,
            value=self._push_n,
        )
        self._push = FaultPlan([push])
        self._commands_anew_at_s = now_s + blend_s + _NEW_COMMAND_S

    def _watch(self, sensors: Sensors, now_s: float, since_s: float) -> None:
        report = self.policy_set.report
        if report.last[:2] == self._switch_names:
            self._step_ratio = max(self._step_ratio, report.step_ratio)
        self._tilt_rad = max(self._tilt_rad, float(tilt_rad(sensors.quat_xyzw)))
        if now_s >= self._commands_anew_at_s:
            self._command, self._commands_anew_at_s = self._drawn(None), np.inf
        if self._world.fallen:
            self._failure = "it fell"
        elif self.controller.mode is not Mode.RUN:
            self._failure = self.controller.snapshot().reason
        self.is_over = bool(self._failure) or now_s >= since_s + AFTER_S

    def _conditioned(self) -> tuple[float, ...] | None:
        stated = self._contract.states[self._edge.source].to.get(self._edge.target)
        return None if stated is None or self._edge.is_fallback else stated.when.command

    def _drawn(self, largest: tuple[float, ...] | None) -> F64:
        """Return a random velocity command in the trained range, up to `largest` if given."""
        trained = self._contract.velocity_command
        if trained is None:
            return np.zeros(3)
        drawn: F64 = self._random.uniform(trained.min, trained.max)
        return drawn if largest is None else np.clip(drawn, np.negative(largest), largest)


def _next_states(transitions: Iterable[tuple[str, str]], goal: str) -> dict[str, str]:
    """Return, by state, the next state on the shortest path to the goal."""
    known, found, waiting = [*transitions], dict[str, str](), deque([goal])
    while waiting:
        at = waiting.popleft()
        for source, target in known:
            if target == at and source != goal and source not in found:
                found[source] = at
                waiting.append(source)
    return found
