# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The schedule of a seed: requests from the robot's operator, and faults in all parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

PAIRS = ("robot-driver", "driver-host", "operator-host", "operator-driver")
"""Pairs of actors with a network between them."""
QUIET_S = 15.0
"""Time at the end without faults or other requests, within which the robot must run again."""
_NETWORK = {
    "loss": (0.02, 0.9),
    "delay": (0.002, 0.4),
    "duplicate": (0.02, 0.5),
    "reorder": (0.02, 0.5),
    "corrupt": (0.01, 0.3),
    "partition": (0.0, 0.0),
    "slow": (0.02, 0.3),
}
"""Faults between two actors, and the ranges of their values: shares or times in s."""
_SLOW_TO_SHOW = ("deaf:command", "bias:joint_states.effort=15.0")
"""Faults that a driver detects only from torques over a longer time; drawn twice as often."""
_ROBOT = (
    "drop:joint_states",
    "drop:imu",
    "freeze:joint_states",
    "freeze:imu",
    "nan:joint_states.position",
    "nan:joint_states.velocity",
    "nan:imu.orientation",
    "nan:imu.angular_velocity",
    "zero:imu.orientation",
    "bias:imu.angular_velocity=0.6",
    "noise:joint_states.position=0.05",
    "bias:joint_states.position=0.4",
    "bias:joint_states.position=0.05",
    "bias:joint_states.position=1.2",
    "bias:joint_states.position=1.7",
    "bias:joint_states.velocity=60.0",
    "bias:joint_states.velocity=182.0",
    "bias:joint_states.velocity=275.0",
    "zero:joint_states.effort",
    "occupied:host",
    "stuck:FL_Knee_joint",
    "restart:host",
    "silent:state",
    *_SLOW_TO_SHOW * 2,
    "length:state",
    "forged:state=3",
    "foreign:state",
)
"""Faults of the robot and its motion host, written as in `robot_sim`."""
_MODEL = ("error", "nan", "infinite", "wild", "wild", "slow", "estop")
"""A model's faults; with `estop`, the e-stop is pressed while the model runs."""
_ASKED = ("take_control", "release_control", "stand", "run", "damp", "reset", "estop", "load")
STATES = ("walk", "crouch", "swim")
"""States that `switch` may request; its value is the index. The last one does not exist."""
FALLS_BACK = "lite3_crouch"
"""Policy in the set whose state has a fallback."""
LOADS = ("same", "limits", "missing")
"""Bundles that `load` may request; its value is the index."""
RESTS = {"stand_leg": 0, "freeze_leg": 1, "disable_leg": 2}
"""Requests that set the authority over one leg and the source of the rest of that leg's command."""
_DIAL = ("more_authority", "less_authority", "authority", *RESTS)
_KEYS = ("up", "down", "left", "right", "comma", "full_stop", "space")
_SPEEDS = (-1e9, -3.0, 0.7, 3.0, float("nan"))
"""Speeds that a script commands on all axes, m/s and rad/s."""
ROGUES = (
    "copy",
    "far",
    "back",
    "position",
    "start",
    "stiffer",
    "push",
    "negative",
    "gains",
    "effort",
    "nan",
    "limit",
    "expired",
    "forever",
    "stiff_damp",
    "weak",
    "limp",
    "slack",
)
"""Commands from a second sender of `joint_command`; see `scenario.rogue_command`."""
_LASTS_S, _LONGEST_S = (0.02, 0.05, 0.1, 0.15, 0.3, 0.6, 2.0), 4.0
_ASKED_MEANWHILE = 0.25
"""Share of faults and of second senders during which a request is made."""
_AGAIN_S = 2.5
"""Time after which an operator that has released control takes it again."""
_COMPUTERS = ("host", "driver")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosStep:
    """A request or a fault.

    Attributes:
        at_s: Time at which the step begins.
        kind: `ask`, `drive`, `steer`, `rogue`, or the kind of a fault.
        target: Target of the fault, or the request.
        for_s: Duration of a fault.
        value: A share, a time in s, or a value that the kind defines.
    """

    at_s: float
    kind: str
    target: str = ""
    for_s: float = 0.0
    value: float = 0.0

    @property
    def what(self) -> str:
        """The step without its time."""
        value = f"{self.value:g}" if self.value else ""
        lasts = f"for {self.for_s:g} s" if self.for_s else ""
        return " ".join(filter(None, (self.kind, self.target, value, lasts)))

    def __str__(self) -> str:
        return f"{self.at_s:7.3f} s  {self.what}"


def runs_set(seed: int) -> bool:
    """Return whether a seed's node runs a set rather than a single policy."""
    return seed % 4 == 1


def draw_steps(seed: int, seconds: float) -> tuple[ChaosStep, ...]:
    """Return, in order, a seed's faults, and its requests besides those of the operator.

    On its own, the operator takes control, has the robot stand up and run, and starts over after a
    fault.
    """
    chance, steps = Random(f"steps {seed}"), list[ChaosStep]()
    begin_s = chance.choice([0.0, 4.5])
    seconds -= min(QUIET_S + _LONGEST_S, 0.5 * seconds)  # so that all of them have ended
    for _ in range(round(chance.choice([0.0, 0.1, 0.3, 0.6]) * seconds)):
        steps.append(fault := _draw_fault(chance, chance.uniform(begin_s, seconds)))
        if chance.random() < _ASKED_MEANWHILE:
            steps.append(_draw_request(chance, fault.at_s + chance.uniform(0.0, fault.for_s)))
        if fault.kind == "robot" and chance.random() < _ASKED_MEANWHILE:
            steps.append(_released_before(fault.at_s))
    for _ in range(round(chance.choice([0.0, 0.1, 0.3]) * seconds)):
        steps.append(_draw_request(chance, chance.uniform(begin_s, seconds)))
    for _ in range(round(0.1 * seconds)):
        at_s, key = round(chance.uniform(0.0, seconds), 3), chance.choice(_KEYS)
        steps.append(ChaosStep(at_s=at_s, kind="drive", target=key, for_s=1.0))
    for _ in range(round(0.05 * seconds)):
        at_s, value = round(chance.uniform(0.0, seconds), 3), chance.choice(_SPEEDS)
        steps.append(ChaosStep(at_s=at_s, kind="steer", for_s=1.0, value=value))
    if runs_set(seed):
        for _ in range(round(0.5 * seconds)):
            at_s, state = round(chance.uniform(begin_s, seconds), 3), chance.randrange(len(STATES))
            steps.append(ChaosStep(at_s=at_s, kind="ask", target="switch", value=state))
        for _ in range(round(chance.choice([0.0, 0.1]) * seconds)):
            at_s, for_s = round(chance.uniform(begin_s, seconds), 3), chance.choice(_LASTS_S)
            steps.append(_draw_model_fault(chance, at_s, for_s, f"{FALLS_BACK}:"))
    for _ in range(round(chance.choice([0.0, 0.05, 0.2]) * seconds)):
        at_s, target = round(chance.uniform(begin_s, seconds), 3), chance.choice(ROGUES)
        for_s = chance.choice([0.0, 0.0, 0.6, 2.0])
        steps.append(ChaosStep(at_s=at_s, kind="rogue", target=target, for_s=for_s))
        if chance.random() < _ASKED_MEANWHILE:
            steps.append(_released_before(at_s))
    return tuple(sorted(steps, key=lambda step: step.at_s))


def end_s(steps: Sequence[ChaosStep]) -> float:
    """Return the time at which the last fault ends; 0 without steps."""
    return max([step.at_s + step.for_s for step in steps], default=0.0)


def _released_before(at_s: float) -> ChaosStep:
    """Return a request after which the operator takes control again at about this time."""
    before_s = round(max(0.0, at_s - _AGAIN_S), 3)
    return ChaosStep(at_s=before_s, kind="ask", target="release_control")


def _draw_request(chance: Random, at_s: float) -> ChaosStep:
    at_s, what = round(at_s, 3), chance.random()
    if what < 0.35:
        share = chance.choice([0.0, 0.3, 1.0, 1.7, float("nan")])
        return ChaosStep(at_s=at_s, kind="ask", target=chance.choice(_DIAL), value=share)
    if what < 0.5:
        return ChaosStep(at_s=at_s, kind="ask", target="load", value=chance.randrange(len(LOADS)))
    return ChaosStep(at_s=at_s, kind="ask", target=chance.choice(_ASKED))


def _draw_fault(chance: Random, at_s: float) -> ChaosStep:
    at_s, for_s = round(at_s, 3), chance.choice(_LASTS_S)
    what = chance.random()
    if what < 0.35:
        kind = chance.choice([*_NETWORK])
        value = round(chance.uniform(*_NETWORK[kind]), 3)
        return ChaosStep(
            at_s=at_s, kind=kind, target=chance.choice(PAIRS), for_s=for_s, value=value
        )
    if what < 0.55:
        target = chance.choice(_ROBOT)
        for_s = _LONGEST_S if target in _SLOW_TO_SHOW else for_s
        return ChaosStep(at_s=at_s, kind="robot", target=target, for_s=for_s)
    if what < 0.75:
        return _draw_model_fault(chance, at_s, for_s)
    if what < 0.85:
        value = chance.choice([-3600.0, -1.0, -0.1, -0.07, -0.03, 0.03, 0.07, 0.1, 1.0, 3600.0])
        target = chance.choice(_COMPUTERS)
        return ChaosStep(at_s=at_s, kind="clock", target=target, for_s=for_s, value=value)
    if what < 0.9:
        return ChaosStep(at_s=at_s, kind="unpowered", for_s=for_s)
    if what < 0.94:
        return ChaosStep(at_s=at_s, kind="stall", target=chance.choice(_COMPUTERS), for_s=for_s)
    if what < 0.97:
        return ChaosStep(at_s=at_s, kind="kill", target="host", for_s=for_s)
    return ChaosStep(at_s=at_s, kind="tip", for_s=for_s, value=chance.choice([0.8, 1.2, 3.0]))


def _draw_model_fault(chance: Random, at_s: float, for_s: float, policy: str = "") -> ChaosStep:
    value, what = round(chance.uniform(0.005, 0.2), 3), chance.choice(_MODEL)
    return ChaosStep(at_s=at_s, kind="model", target=policy + what, for_s=for_s, value=value)


def shrunk(
    steps: Sequence[ChaosStep], still_breaks: Callable[[Sequence[ChaosStep]], bool]
) -> tuple[ChaosStep, ...]:
    """Return a minimal schedule that still breaks the invariant: no step can be left out.

    Args:
        steps: Steps that break an invariant.
        still_breaks: Runs steps; returns whether they break the same invariant.
    """
    kept, size = tuple(steps), max(1, len(steps) // 2)
    while True:
        at, before = len(kept), len(kept)
        while at > 0:
            fewer = kept[: max(0, at - size)] + kept[at:]
            if still_breaks(fewer):
                kept = fewer
            at -= size
        if size == 1 and len(kept) == before:
            return kept
        size = max(1, size // 2)
