# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Demonstrations of the reach task by the scripted expert, in LeRobot's units."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robot_sim.arm_expert import ReachExpert, cube_top, minimum_jerk, solve
from robot_sim.arm_figures import SO101
from robot_sim.arm_world import JOINTS, ArmSensors, ArmWorld, arm_command
from robot_sim.driven import NS_PER_S
from tools.train_arm.scenes import CAMERAS

RATE_HZ, STAY_S = 30, 1.5
TASK = "Move the gripper's tip over the red cube."
FIRST_SEED = 100_000
"""First seed of the demonstrations; evaluation episodes have smaller seeds."""
_ASTRAY_SHARE, _ASTRAY_M = 0.4, 0.05
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """One demonstration, at `RATE_HZ`.

    Attributes:
        state: Measured positions [frames, 6], degrees, gripper 0 to 100.
        action: Commanded positions [frames, 6], in the same units.
        cube: Center of the cube [frames, 3], m.
        images: Images by camera, uint8 [frames, 3, height, width], RGB.
    """

    state: Array
    action: Array
    cube: Array
    images: dict[str, npt.NDArray[np.uint8]]


def to_policy(position_rad: npt.ArrayLike) -> Array:
    """Convert positions [..., 6] from rad to degrees, and the gripper's (last) to 0 to 100."""
    rad = np.asarray(position_rad, dtype=np.float64)
    units = np.rad2deg(rad)
    units[..., -1] = (
        100.0 * (rad[..., -1] - SO101.lower_rad[-1]) / (SO101.upper_rad[-1] - SO101.lower_rad[-1])
    )
    return units.astype(np.float32)


def to_rad(units: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return positions [..., 6] in rad: the inverse of `to_policy`."""
    values = np.asarray(units, dtype=np.float64)
    rad = np.deg2rad(values)
    rad[..., -1] = SO101.lower_rad[-1] + values[..., -1] / 100.0 * (
        SO101.upper_rad[-1] - SO101.lower_rad[-1]
    )
    return rad


def demonstrations(count: int) -> Iterator[Demonstration]:
    """Yield episodes of the expert, some of which start after a wrong movement."""
    with closing(ArmWorld()) as world:
        for seed in range(FIRST_SEED, FIRST_SEED + count):
            random = np.random.default_rng(seed)
            world.reset(seed=seed)
            if random.random() < _ASTRAY_SHARE:
                _go_astray(world, random)
            yield _demonstrate(world)


def advance_period(world: ArmWorld, command_rad: npt.ArrayLike) -> None:
    """Command positions [6], rad, and advance by one period of the policy."""
    world.apply(arm_command(command_rad))
    world.advance(world.steps_per_s // RATE_HZ)


def _demonstrate(world: ArmWorld) -> Demonstration:
    """Record the expert from the current state of the world."""
    expert, began_ns = ReachExpert(world), world.time_ns
    rows: list[tuple[ArmSensors, npt.NDArray[np.float64]]] = []
    shots: dict[str, list[npt.NDArray[np.uint8]]] = {name: [] for name in CAMERAS}
    while world.time_ns - began_ns < (expert.duration_s + STAY_S) * NS_PER_S:
        target = expert.target(world.time_ns)
        rows.append((world.sense(), target))
        for name in CAMERAS:
            shots[name].append(world.render(name).transpose(2, 0, 1))
        advance_period(world, target)
    return Demonstration(
        state=to_policy([sensed.joint_pos for sensed, _ in rows]),
        action=to_policy([target for _, target in rows]),
        cube=np.array([sensed.cube_world for sensed, _ in rows], np.float32),
        images={name: np.array(shot) for name, shot in shots.items()},
    )


def _go_astray(world: ArmWorld, random: np.random.Generator) -> None:
    """Move part of the way to a point beside the cube, since a policy must learn to recover."""
    sensed = world.sense()
    offset = [*random.uniform(-_ASTRAY_M, _ASTRAY_M, 2), random.uniform(0.0, _ASTRAY_M)]
    beside = cube_top(sensed) + np.array(offset)
    start = sensed.joint_pos
    goal = solve(world.model, _within_reach(beside), start_rad=start)
    part, periods = random.uniform(0.2, 1.0), round(RATE_HZ * random.uniform(1.0, 2.0))
    for period in range(1, periods + 1):
        command = start + part * minimum_jerk(period / periods) * (goal - start)
        command[: JOINTS - 2] += random.normal(0.0, 0.01, JOINTS - 2)
        advance_period(world, np.clip(command, SO101.lower_rad, SO101.upper_rad))


def _within_reach(point: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the point, or a nearer one at which the expert can still point its gripper down."""
    distance_m = float(np.hypot(*point[:2]))
    inside = point.copy()
    inside[:2] *= min(1.0, 0.29 / distance_m)
    return inside
