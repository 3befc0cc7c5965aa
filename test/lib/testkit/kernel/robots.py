# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot in simulated time around a controller whose backend returns what a test sets."""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from policy_core.bundle.contract import JointContract
from policy_core.errors import BackendError
from policy_core.guard.bounds import Rule
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, JointTargets, Mode, OnFault, Tensor
from policy_core.members.joint import joint_controller
from testkit.kernel.contracts import DEFAULT, bundle_of, contract_of, quat_xyzw
from testkit.kernel.cores import maker

MS = 1_000_000
PERIOD_NS = 20 * MS
BOTH = ("joint_states", "imu/data")
STALE_AFTER = 2
"""Silent ticks after which the next one finds the state older than two periods."""
Fields = Mapping[str, Sequence[float]]
UPRIGHT = (0.0, 0.0, 0.0, 1.0)
TILTED = quat_xyzw(0.0, 1.2, 0.0)


class ScriptedBackend:
    """A back end without model: `answers` are its outputs, `during_run` happens in each run."""

    name = "scripted"

    def __init__(self, contract: JointContract) -> None:
        model = contract.model
        self.inputs: Mapping[str, Tensor] = {spec.name: spec.empty() for spec in model.input_specs}
        self.outputs: Mapping[str, Tensor] = {
            spec.name: spec.empty() for spec in model.output_specs
        }
        self.details: Mapping[str, str] = {}
        self.answers: dict[str, npt.ArrayLike] = {}
        self.during_run: Callable[[], None] = lambda: None
        self.runs = 0

    def run(self) -> None:
        self.runs += 1
        self.during_run()
        for name, answer in self.answers.items():
            self.outputs[name][...] = answer

    def close(self) -> None:
        self.answers.clear()


class Targets(SimpleNamespace):
    """Copies of the arrays of JointTargets, which the next tick overwrites."""

    position: F64
    velocity: F64
    effort: F64
    stiffness: F64
    damping: F64
    effort_limit: F64

    @classmethod
    def copied(cls, targets: JointTargets) -> "Targets":
        return cls(**{name: getattr(targets, name).copy() for name in cls.__annotations__})

    def torque(self, position: Sequence[float] | F64, velocity: float = 0.0) -> F64:
        """Return what a drive at this state makes of the targets, N·m."""
        demand: F64 = (
            self.stiffness * (self.position - position)
            + self.damping * (self.velocity - velocity)
            + self.effort
        )
        return np.clip(demand, -self.effort_limit, self.effort_limit)


class Robot:
    """Feeds a controller with sensors, one tick of simulated time after the other."""

    def __init__(
        self,
        changes: Mapping[str, object] | None = None,
        stricter_limits: StricterLimits | None = None,
    ) -> None:
        self.contract = contract_of(changes)
        self.backend = ScriptedBackend(self.contract)
        self.now_ns = 1_000_000_000
        self.read_after_ns = 0
        """Time from the beginning of a tick until the controller reads its clock."""
        limits = limits_in_force(self.contract, stricter_limits or StricterLimits())
        self.controller = joint_controller(
            bundle_of(self.contract),
            self.backend,
            limits,
            lambda: self.now_ns + self.read_after_ns,
            make=maker({"": self.backend}),
        )
        self.sensed: dict[str, Sequence[float]] = {
            "joint_pos": DEFAULT,
            "joint_vel": (0.0,) * 3,
            "quat_xyzw": UPRIGHT,
            "ang_vel_body": (0.0,) * 3,
            "lin_vel_body": (0.0,) * 3,
        }

    def is_in(self, mode: Mode) -> bool:
        return self.controller.mode is mode

    @property
    def reason(self) -> str:
        return self.controller.snapshot().reason

    def count(self, rule: Rule) -> int:
        return self.controller.snapshot().counters[rule.value]

    def observed(self) -> F64:
        return self.backend.inputs["obs"].astype(np.float64).ravel()

    def sense(
        self,
        sensed: Fields | None = None,
        *,
        silent: Collection[str] = (),
        **fields: Sequence[float],
    ) -> None:
        self.sensed.update({**(sensed or {}), **fields})
        for field, values in self.sensed.items():
            if (view := self.controller.state.get(field)) is not None:
                view[:] = values
        for name, entry in self.controller.inputs.items():
            if name not in {*silent, "cmd_vel"}:
                entry.accept(self.now_ns)

    def tick(
        self,
        sensed: Fields | None = None,
        *,
        silent: Collection[str] = (),
        **fields: Sequence[float],
    ) -> Targets | None:
        self.now_ns += PERIOD_NS
        self.sense(sensed, silent=silent, **fields)
        targets = self.controller.tick(self.now_ns, self.now_ns + PERIOD_NS)
        return None if targets is None else Targets.copied(targets)

    def tick_again(self) -> Targets:
        """Tick at the same time with the same messages; there must be targets."""
        targets = self.controller.tick(self.now_ns, self.now_ns + PERIOD_NS)
        assert targets is not None
        return Targets.copied(targets)

    def commanded(self, *, silent: Collection[str] = (), **fields: Sequence[float]) -> Targets:
        """Tick; there must be targets."""
        targets = self.tick(fields, silent=silent)
        assert targets is not None
        return targets

    def stand(self) -> "Robot":
        """Stand up until READY, in the stand pose at the end."""
        self.tick()
        self.controller.stand()
        for _ in range(11):
            self.tick()
        assert self.is_in(Mode.READY)
        return self

    def run(self, ticks: int = 1) -> "Robot":
        self.stand().controller.run()
        for _ in range(ticks):
            self.tick()
        assert self.is_in(Mode.RUN)
        return self

    def answer(self, *action: float) -> None:
        self.backend.answers["actions"] = action

    def takes(self, duration_ns: int) -> None:

        def pass_time() -> None:
            self.now_ns += duration_ns

        self.backend.during_run = pass_time


def assert_safe(targets: Targets | None, on_fault: OnFault = OnFault.DAMP) -> None:
    """Check that the targets are those of a fault."""
    assert targets is not None
    zero = np.zeros_like(targets.position)
    np.testing.assert_array_equal(targets.velocity, zero)
    np.testing.assert_array_equal(targets.effort, zero)
    if on_fault is not OnFault.HOLD_MEASURED:
        np.testing.assert_array_equal(targets.stiffness, zero)
        np.testing.assert_array_equal(
            targets.damping, zero + (5.0 if on_fault is OnFault.DAMP else 0.0)
        )


def assert_latched(robot: Robot, rule: Rule) -> None:
    """Check that this rule latched once and holds against good messages."""
    snapshot = robot.controller.snapshot()
    assert (snapshot.mode, snapshot.latched) == (Mode.DAMP, True)
    assert snapshot.reason.startswith(f"{rule.value}: ")
    assert snapshot.counters[rule.value] == 1
    for _ in range(3):
        assert_safe(robot.tick())
    assert robot.is_in(Mode.DAMP)


def silence_inputs(robot: Robot, ticks: int, *inputs: str) -> Targets:
    """Tick without new messages of these inputs; return the last targets."""
    for _ in range(ticks):
        targets = robot.commanded(silent=inputs or BOTH)
    return targets


def fail() -> None:
    raise BackendError("scripted: the device is gone")
