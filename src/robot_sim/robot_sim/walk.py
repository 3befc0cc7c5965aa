# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A closed loop of policy and world, for measurements, in lockstep and without ROS."""

from collections.abc import Callable, Sequence

import numpy as np

from robot_sim.errors import SimError
from robot_sim.faults import FaultPlan
from robot_sim.figures import Array
from robot_sim.trace import Trace, TraceRecorder
from robot_sim.world import NS_PER_S, DriveCommand, Sensors, WalkingWorld, World

Policy = Callable[[Sensors, Array], DriveCommand]
Schedule = Sequence[tuple[float, tuple[float, float, float]]]
WATCHED_EACH_NS = 2_000_000
"""Period at which `watch` receives the sensors: as fast as a robot's own bus."""


def evenly_timed(
    commands: Sequence[Sequence[float]], *, each_s: float, first_s: float = 0.0
) -> Schedule:
    """Return a schedule of commands (vx, vy, wz), from `first_s` on, each lasting `each_s`."""
    return [(first_s + each_s * i, (vx, vy, wz)) for i, (vx, vy, wz) in enumerate(commands)]


def fallen(world: WalkingWorld) -> bool:
    """Return whether the robot is down: tilted by more than 60 degrees, or its base too low."""
    return world.fallen


def walk(
    world: WalkingWorld,
    policy: Policy,
    schedule: Schedule,
    *,
    duration_s: float,
    rate_hz: float = 50.0,
    faults: FaultPlan | None = None,
    until: Callable[[WalkingWorld], bool] | None = fallen,
    watch: Callable[[Sensors], object] | None = None,
) -> Trace:
    """Let a policy drive the robot.

    Args:
        world: The robot, in its initial state.
        policy: Takes the sensors and the velocity command [3] (m/s, m/s, rad/s) and returns a
            command for the drives. It is not called while a fault drops a stream, since a
            controller does not run without its inputs.
        schedule: Pairs of a time since the start (s) and the command from then on, in order. Before
            the first, the command is zero.
        duration_s: Duration of the walk.
        rate_hz: Policy calls per second.
        faults: Faults, timed on the world's clock; for a `World` only.
        until: Called in every tick, after the policy; returns True if the tick is to be the last.
        watch: Called with the fault-free sensors every 2 ms; a tick is then a multiple of 2 ms.

    Returns:
        The ground truth of every tick.
    """
    times_s = [time_s for time_s, _ in schedule]
    if times_s != sorted(times_s):
        raise SimError(f"schedule: expected ascending times, found {times_s}")
    recorder, start_ns, plan = TraceRecorder(), world.time_ns, faults or FaultPlan()
    if plan.faults and not isinstance(world, World):
        raise SimError(
            f"faults: expected none for a robot from a model file, found {len(plan.faults)}"
        )
    for _ in range(round(duration_s * rate_hz)):
        sensors = world.sense()
        command = _command_at(schedule, (world.time_ns - start_ns) / NS_PER_S)
        if isinstance(world, World):
            plan.act(world)
        seen = plan.apply(sensors).merged()
        drive = policy(seen, command) if seen is not None else None
        if drive is not None:
            world.apply(drive)
        recorder.append(sensors, command=command, target=_target(drive, world))
        last = until is not None and until(world)
        _step(world, round(NS_PER_S / rate_hz), watch)
        if last:
            break
    return recorder.trace()


def _step(world: WalkingWorld, period_ns: int, watch: Callable[[Sensors], object] | None) -> None:
    if watch is None:
        world.step(period_ns)
        return
    steps, rest_ns = divmod(period_ns, WATCHED_EACH_NS)
    if rest_ns:
        raise SimError(
            f"rate_hz: expected a tick period that is a multiple of 2 ms, found "
            f"{period_ns / 1e6:g} ms"
        )
    for _ in range(steps):
        world.step(WATCHED_EACH_NS)
        watch(world.sense())


def _command_at(schedule: Schedule, time_s: float) -> Array:
    due = [command for start_s, command in schedule if start_s <= time_s]
    return np.array(due[-1] if due else (0.0, 0.0, 0.0))


def _target(drive: DriveCommand | None, world: WalkingWorld) -> Array | None:
    """Return the position targets in the robot's order."""
    if drive is None:
        return None
    order = [drive.joint_names.index(name) for name in world.joint_names]
    return np.asarray(drive.position)[order]
