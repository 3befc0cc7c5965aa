# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Drive the simulated robot with the real controller, in lockstep and without ROS.

`robot_sim.walk.walk` accepts a `ControlledPolicy`. The guard, modes and observations are the same
as on a real robot; only the topics are left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from model_tools.errors import ToolError
from model_tools.simulation.estimated import VelocityError, watched_by_contract
from model_tools.simulation.robot import LITE3, SimulatedRobot
from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import JointBundle, list_policies
from policy_core.bundle.contract import JointContract
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.state_fields import COMMAND, STATE_FIELDS
from policy_core.control.controller import Controller
from policy_core.errors import PolicyError, RefusedError, RobotError
from policy_core.guard.bounds import Rule
from policy_core.guard.limits import Limits, StricterLimits, limits_in_force
from policy_core.interfaces import F64, Backend, JointTargets, Mode, Tensor, row_shape
from policy_core.members.joint import joint_controller
from policy_core.observation.state import EXTERNAL, StateVector
from policy_core.sets.controller import (
    SensedState,
    SetRequests,
    make_policy_set,
    set_controller,
    set_inputs,
)
from policy_core.sets.policy import PolicySet
from policy_inference.messages.pose import Pose
from policy_inference.messages.readers import JointOrder
from policy_inference.perception import FROZEN_AFTER_M, make_scans
from robot_sim.drives import DriveCommand
from robot_sim.mapper import FRAME, Mapper
from robot_sim.world import Sensors

VALID_FOR_NS = 100_000_000
_log = logging.getLogger("model_tools")
_ALTERING = (Rule.TARGET_STEP, Rule.EFFORT, Rule.POSITION_LIMIT)
_SIMULATED = [(field, field.simulated) for field in STATE_FIELDS.values() if field.simulated]
_INPUTS = tuple(dict.fromkeys([*(field.topic.name for field, _ in _SIMULATED), COMMAND]))


class SelfOperated:
    """Operator that requests stand and run as soon as allowed.

    Attributes:
        refusal: Reason why the last request was refused; empty if it was granted.
    """

    def __init__(self) -> None:
        """Begin without a request."""
        self._has_stood, self.refusal = False, ""

    def operate(self, controller: Controller) -> None:
        """Request stand or run if it is time; call this before each tick."""
        try:
            if not self._has_stood:
                controller.stand()
                self._has_stood = True
            elif controller.mode is Mode.READY:
                controller.run()
            self.refusal = ""
        except RefusedError as error:
            self.refusal = str(error)


class ControlledRobot(SelfOperated):
    """A simulated robot under its controller, with the signature of `robot_sim.walk.Policy`.

    After a fault, it stays in DAMP, like a real robot.

    Attributes:
        controller: The controller.
        targets: Targets from the controller's last tick.
        altered_ticks: Number of ticks in which the guard changed a target to bound its step, its
            torque or its position.
        estimated: Estimator of the base velocity; None if no contract requires one; replaceable
            before the first tick. If it gets no sensor values between ticks, it uses those at the
            ticks.
    """

    def __init__(
        self,
        bundle: JointBundle | SetBundle,
        make_controller: Callable[[Limits, Callable[[], int]], Controller],
        stricter_limits: StricterLimits | None,
        robot: SimulatedRobot,
        mapper: Mapper | None,
    ) -> None:
        """Connect a bundle to a controller on simulated time.

        Args:
            bundle: A bundle with a valid contract.
            make_controller: Returns the bundle's controller for given limits and a given clock.
            stricter_limits: Operating limits; if absent, only the contract's limits apply.
            robot: The simulated robot.
            mapper: Maps the ground, for height scans; level ground if absent.
        """
        super().__init__()
        contract = bundle.contract
        robot.require(contract)
        limits = limits_in_force(contract, stricter_limits or StricterLimits())
        self._now_ns = 0
        self.controller = make_controller(limits, lambda: self._now_ns)
        contracts = [policy.contract for policy in list_policies(bundle)]
        self._ground = SeenGround(contracts, self.controller, mapper or Mapper())
        foreign = sorted(set(self.controller.inputs) - {*_INPUTS, *self._ground.topics})
        if foreign:
            raise PolicyError(
                f"{bundle.path}: expected only inputs from [{', '.join(_INPUTS)}], found "
                f"{', '.join(foreign)}; the simulated robot does not provide them"
            )
        self._names, self._period_ns = contract.joints.on_robot(), contract.period_ns
        self._robot = SensedRobot(self._names, self.controller.state)
        self.targets: JointTargets | None = None
        estimated = (each for each in contracts if each.estimation is not None)
        self.estimated = watched_by_contract(next(estimated, None))
        self._is_estimated = self.estimated is not None
        stated = [each for each in contracts if isinstance(each, JointContract)]
        for key in [key for each in stated for key in each.unstated_sources]:
            _log.warning(
                "%s: %s: expected estimator or measured, found none: the simulated robot's true "
                "velocity is used, which a real robot does not know",
                bundle.path,
                key,
            )
        self.velocity_error: VelocityError | None = None
        self.altered_ticks, self._alterations = 0, 0

    def __call__(self, sensors: Sensors, command: F64) -> DriveCommand:
        """Sense, act as the operator, and tick the controller.

        Args:
            sensors: Sensor values of the robot.
            command: Velocity command [3]: m/s, m/s, rad/s.

        Returns:
            The command to the drives.
        """
        self._now_ns = now_ns = sensors.time_ns
        self._robot.write(sensors)
        self._estimate(sensors)
        vx, vy, wz = command.tolist()
        self.controller.command.set((vx, vy, wz), now_ns)
        for name, entry in self.controller.inputs.items():
            if name not in self._ground.topics:
                entry.accept(now_ns, now_ns or None, now_ns)
        self._ground.look(sensors)
        self.operate(self.controller)
        self.targets = targets = self.controller.tick(now_ns, now_ns + self._period_ns)
        self._count_alterations()
        if targets is None:
            raise PolicyError("the controller has no targets yet: its fault behavior needs a pose")
        return drive_command(self._names, targets)

    def _estimate(self, sensors: Sensors) -> None:
        """Replace the odometry velocity with the estimate, and add the error under test."""
        if self.estimated is not None:
            self.estimated.watch(sensors)
            if self._is_estimated:
                self.controller.state["lin_vel_body"][:] = self.estimated.estimator.lin_vel_body
        if self.velocity_error is not None:
            velocity = self.controller.state["lin_vel_body"]
            velocity += self.velocity_error.at(sensors.time_ns)

    def _count_alterations(self) -> None:
        counters = self.controller.snapshot().counters
        alterations = sum(counters[rule.value] for rule in _ALTERING)
        self.altered_ticks += alterations != self._alterations
        self._alterations = alterations


class ControlledPolicy(ControlledRobot):
    """A joint policy under its controller."""

    def __init__(
        self,
        bundle: JointBundle,
        backend: Backend,
        stricter_limits: StricterLimits | None = None,
        robot: SimulatedRobot = LITE3,
        mapper: Mapper | None = None,
    ) -> None:
        """Connect the bundle to a controller on simulated time.

        Args:
            bundle: A bundle with a valid contract.
            backend: Opened back end of the bundle, which the caller closes.
            stricter_limits: Operating limits; if absent, only the contract's limits apply.
            robot: The simulated robot.
            mapper: See `ControlledRobot`.
        """

        def make_controller(limits: Limits, clock: Callable[[], int]) -> Controller:
            return joint_controller(bundle, backend, limits, clock)

        super().__init__(bundle, make_controller, stricter_limits, robot, mapper)


class ControlledSet(ControlledRobot):
    """A policy set under its controller.

    Attributes:
        policy_set: The set that the controller runs.
        requests: Accepts requests to the set, between two ticks.
    """

    def __init__(
        self,
        bundle: SetBundle,
        backends: Mapping[str, Backend],
        stricter_limits: StricterLimits | None = None,
        robot: SimulatedRobot = LITE3,
        mapper: Mapper | None = None,
    ) -> None:
        """Connect the set to a controller on simulated time.

        Args:
            bundle: Bundle of the set.
            backends: Opened model of each member, which the caller closes.
            stricter_limits: Operating limits; if absent, only the contract's limits apply.
            robot: The simulated robot.
            mapper: See `ControlledRobot`.
        """
        self.policy_set: PolicySet

        def make_controller(limits: Limits, clock: Callable[[], int]) -> Controller:
            contract, state = bundle.contract, SensedState(bundle.contract, limits)
            inputs = set_inputs(contract, state, limits)
            self.policy_set = make_policy_set(bundle, backends, state, inputs, clock)
            return set_controller(contract, self.policy_set, state, inputs, limits, clock)

        joint_members(bundle)
        super().__init__(bundle, make_controller, stricter_limits, robot, mapper)
        self.requests = SetRequests(bundle.contract, self.controller, self.policy_set)

    def __call__(self, sensors: Sensors, command: F64) -> DriveCommand:
        """Tick like `ControlledRobot`; then continue a return to standing (`SetRequests.tick`)."""
        drive = super().__call__(sensors, command)
        self.requests.tick(self._now_ns)
        return drive


def joint_members(bundle: SetBundle) -> dict[str, JointBundle]:
    """Return the members of a set; raise unless all are joint policies."""
    found = bundle.select_members(JointBundle)
    if others := [name for name in bundle.members if name not in found]:
        raise ToolError(
            f"{bundle.file}: expected only joint policies, found {others[0]}, a chunk policy; the "
            "set runs in policy_set_node, and cannot be simulated without it"
        )
    return found


class SeenGround:
    """Writes the height scans that contracts require, as `perception_node` publishes them.

    Attributes:
        topics: Topics of the scans.
    """

    def __init__(
        self, contracts: Sequence[AnyContract], controller: Controller, mapper: Mapper
    ) -> None:
        """Start without a map."""
        self._controller, self._mapper = controller, mapper
        self._sources = make_scans(contracts, FROZEN_AFTER_M)
        self.topics = {source.topic for source in self._sources}

    def look(self, sensors: Sensors) -> None:
        """Update the map if one is due, and scan it from the current pose."""
        if not self._sources:
            return
        now_ns, made = sensors.time_ns, self._mapper.look(sensors)
        pose = Pose(
            stamp_ns=now_ns,
            frame=FRAME,
            position=sensors.pos_world,
            quat_xyzw=sensors.quat_xyzw,
        )
        for source in self._sources:
            if made is not None:
                source.take(made.elevation, FRAME, made.time_ns)
            entry = self._controller.inputs[source.topic]
            try:
                values = source.see(pose, now_ns)
            except RobotError as error:
                entry.reject(str(error))
                continue
            self._controller.state[f"{EXTERNAL}{source.topic}"][:] = values
            entry.accept(now_ns, now_ns or None, now_ns)


class SensedRobot:
    """Writes the simulated robot's sensor values to the fields that a contract needs."""

    def __init__(self, names: tuple[str, ...], state: StateVector) -> None:
        """Map joints by name; `names` are the robot's names, in the contract's order."""
        self._order = JointOrder(names)
        self._needed = [
            (field.size == "joints", simulated, state[field.name])
            for field, simulated in _SIMULATED
            if field.name in state.slices
        ]

    def write(self, sensors: Sensors) -> None:
        """Copy all sensor values."""
        for is_per_joint, simulated, out in self._needed:
            values = simulated(sensors)
            if is_per_joint:
                self._order.take(sensors.joint_names, values, out)
            else:
                out[:] = values


def drive_command(names: tuple[str, ...], targets: JointTargets) -> DriveCommand:
    """Return a copy of a tick's targets as a command to the simulated drives."""
    position, velocity, effort, stiffness, damping, effort_limit = targets.block.copy()
    return DriveCommand(
        joint_names=names,
        position=position,
        velocity=velocity,
        effort=effort,
        stiffness=stiffness,
        damping=damping,
        effort_limit=effort_limit,
        valid_for_ns=VALID_FOR_NS,
    )


class RecordingBackend:
    """A back end that forwards every call and keeps a copy of the tensors of each run."""

    def __init__(self, backend: Backend) -> None:
        """Wrap an opened back end, which the caller closes."""
        self._backend = backend
        self.name, self.details = backend.name, backend.details
        self.inputs, self.outputs = backend.inputs, backend.outputs
        self._rows: list[dict[str, Tensor]] = []

    def run(self) -> None:
        """Run the wrapped back end, and keep its inputs and outputs."""
        row = {name: array.copy() for name, array in self.inputs.items()}
        self._backend.run()
        self._rows.append(row | {name: array.copy() for name, array in self.outputs.items()})

    @property
    def runs(self) -> int:
        """Number of runs so far."""
        return len(self._rows)

    def close(self) -> None:
        """Close the wrapped back end."""
        self._backend.close()

    def recorded(self) -> dict[str, Tensor]:
        """Return the tensors of all runs so far, by name [runs, *shape without the batch axis]."""
        names = self._rows[0] if self._rows else ()
        return {
            name: np.stack([row[name].reshape(row_shape(row[name].shape)) for row in self._rows])
            for name in names
        }
