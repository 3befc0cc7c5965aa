# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A Python controller and the native one of its plan, which get the very same samples."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from policy_core.bundle.contract import JointContract
from policy_core.bundle.set_contract import SetContract
from policy_core.control.authority import AuthorityRequest, Rest
from policy_core.control.controller import Controller
from policy_core.control_state import ControlState
from policy_core.errors import BackendError, RefusedError
from policy_core.guard.bounds import Rule
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Backend, Mode, Tensor, TensorSpec
from policy_core.members.joint import joint_controller
from policy_core.native import Words
from policy_core.native_words import native_plan
from policy_core.plan import plan_bytes
from policy_core.sets.policy import PolicySet
from testkit.kernel.contracts import MOTION, NOMINAL, bundle_of, clip_of, contract_of
from testkit.kernel.walkers import opened_set, resolved, walkers_bundle

BROKE, BROKE_NUMBER = "the runtime failed", 1
_RULES = tuple(Rule)


class RandomModel:
    """A small network of random weights, which a test lets fail; two of a seed are equal."""

    name = "random"

    def __init__(self, contract: JointContract, seed: int, spend: Callable[[], None]) -> None:
        self.inputs: Mapping[str, Tensor] = _tensors(contract.model.inputs)
        self.outputs: Mapping[str, Tensor] = _tensors(contract.model.outputs)
        self.details: Mapping[str, str] = {}
        self.fails = self.gives_nan = False
        self.gain, self._spend = 1.0, spend
        size = sum(tensor.size for tensor in self.inputs.values())
        random_numbers = np.random.default_rng(seed)
        self._weights = {
            name: (0.05 * random_numbers.normal(size=(tensor.size, size))).astype(np.float32)
            for name, tensor in self.outputs.items()
        }

    def run(self) -> None:
        self._spend()
        if self.fails:
            raise BackendError(BROKE)
        seen = np.concatenate([tensor.reshape(-1) for tensor in self.inputs.values()])
        seen = np.nan_to_num(seen.astype(np.float32))
        for name, tensor in self.outputs.items():
            flat = tensor.reshape(-1)
            flat[:] = self.gain * np.tanh(self._weights[name] @ seen)
            if self.gives_nan:
                flat[0] = math.nan

    def number(self) -> int:
        """Run for the native core: 0, or the number of the error."""
        try:
            self.run()
        except BackendError:
            return BROKE_NUMBER
        return 0

    def close(self) -> None:
        pass


def _tensors(specs: Mapping[str, Any]) -> dict[str, Tensor]:
    return {
        name: TensorSpec(name=name, shape=tuple(spec.shape)).empty() for name, spec in specs.items()
    }


def _python_controller(
    contract: Any,
    members: Mapping[str, JointContract],
    backends: Mapping[str, Backend],
    clock: Callable[[], int],
) -> Controller:
    if isinstance(contract, SetContract):
        return opened_set(walkers_bundle(contract, members), backends, clock)[1]
    limits = limits_in_force(contract, StricterLimits())
    has_clip = contract.motion is not None and contract.motion.clip is not None
    clip = clip_of(40, turn_rad=1.0, step_m=0.01) if has_clip else None
    memory = np.linspace(-0.3, 0.7, 10, dtype=np.float32).reshape(5, 1, 2)
    initial = {"memory": memory} if contract.initial_state else {}
    bundle = bundle_of(contract, clip=clip, initial_state=initial)
    return joint_controller(bundle, backends[""], limits, clock)


class Twins:
    """Both controllers; `tick` raises AssertionError where a bit of targets or state differs."""

    def __init__(
        self, native: Any, contract: Any, seed: int, members: Mapping[str, JointContract] = {}
    ) -> None:
        self._begin(contract, members or {"": contract}, seed)
        backends = {name: python for name, (python, _) in self.models.items()}
        self._open(native, _python_controller(contract, members, backends, self.clock))

    def _open(self, native: Any, python: Controller) -> None:
        """Make the native controller of the plan of a Python one, on the twins of its models."""
        self.python, self.policy_set = python, cast(Any, python.policy)
        plan = plan_bytes(native_plan(python), bytes(32))
        self.words = Words(python, plan)
        assert self.words.number_of(BROKE) == BROKE_NUMBER
        self.native = native.NativeController(
            plan,
            {
                name: (each.inputs, each.outputs, each.number)
                for name, (_, each) in self.models.items()
            },
            self.clock,
        )
        self._flat, self._inputs = self.native.flat(), [*python.inputs]

    def _begin(self, contract: Any, members: Mapping[str, JointContract], seed: int) -> None:
        self.now_ns, self._late_ns = 10_000_000_000, 0
        self.spends_ns, self.slow = 0, ""
        self.contract = contract
        self.models = {
            name: tuple(RandomModel(each, seed + 1000 * i, self._spender(name)) for _ in range(2))
            for i, (name, each) in enumerate(members.items())
        }

    def clock(self) -> int:
        return self.now_ns + self._late_ns

    def let_clock_run(self, passed_ns: int) -> None:
        """Let time pass since the tick began, until the tick ends."""
        self._late_ns += passed_ns

    def _spender(self, name: str) -> Callable[[], None]:
        def spend() -> None:
            if self.slow in ("", name):
                self._late_ns += self.spends_ns

        return spend

    def write(self, field: str, values: F64) -> None:
        place = self.python.state.slices[field]
        self.python.state.flat[place] = self._flat[place] = values

    def is_new(self, name: str, stamp_ns: int | None) -> bool:
        python = self.python.inputs[name].is_new(stamp_ns, self.now_ns)
        assert self.native.is_new(self._inputs.index(name), stamp_ns, self.now_ns) == python
        return python

    def accept(self, name: str, stamp_ns: int | None, ros_now_ns: int) -> None:
        self.python.inputs[name].accept(self.now_ns, stamp_ns, ros_now_ns)
        self.native.accept(self._inputs.index(name), self.now_ns, stamp_ns, ros_now_ns)

    def believe(self, name: str, position: F64, velocity: F64 | None) -> bool:
        """Judge a sample of the joints; reject it where it cannot be true."""
        problem = self.python.joint_check.problem(position, velocity, self.now_ns)
        code, *_ = self.native.judge(position, velocity, self.now_ns)
        assert bool(code) == bool(problem)
        if problem:
            self.python.inputs[name].reject(problem)
            self.native.reject(self._inputs.index(name), self.words.number_of(problem))
        return not problem

    def command(self, velocity: tuple[float, float, float]) -> None:
        taken = self.python.command.set(velocity, self.now_ns)
        assert self.native.set_command(*velocity, self.now_ns) == taken

    def ask(self, name: str, *arguments: Any) -> None:
        """Ask both for what a method of both is called; they grant it, or refuse it."""
        granted = True
        try:
            getattr(self.python, name)(*arguments)
        except RefusedError:
            granted = False
        answer = getattr(self.native, name)(*map(self._number, arguments))
        if isinstance(answer, dict):
            answer = not answer["any"]
        assert answer in (None, granted), name

    def _number(self, argument: Any) -> int:
        if isinstance(argument, Rule):
            return _RULES.index(argument)
        return self.words.number_of(argument)

    def set_authority(self, share: float, rest: Rest, places: Sequence[int]) -> None:
        names = cast(Any, self.python)._run.authority.names
        request = AuthorityRequest(share, rest, tuple(names[place] for place in places))
        granted = True
        try:
            self.python.set_authority(AuthorityRequest.parse(str(request)))
        except RefusedError:
            granted = False
        assert self.native.set_authority(share, int(rest), [*places]) == granted

    def press_estop(self, why: str) -> None:
        self.python.estop(why)
        self.native.press_estop(self.words.number_of(why))

    def switch(self, to: str) -> None:
        granted = True
        try:
            self.policy_set.ask(to)
        except RefusedError:
            granted = False
        code = self.native.ask([*self.policy_set.states].index(to))["code"]
        assert (code == 0) == granted

    def go_back(self) -> None:
        self.policy_set.go_back()
        self.native.go_back()

    def stop_set(self) -> None:
        self.policy_set.stop()
        self.native.stop_set()

    def hand_over(self) -> None:
        """Save the state of the native controller, and go on from it in both."""
        self.go_on_from(self.words.tree(self.native.saved()))

    def go_on_from(self, tree: Mapping[str, Any]) -> None:
        """Go on from a state of a controller of the same contract."""
        self.python.go_on_from(ControlState(tree=tree))
        self.native.restore(self.words.numbers(tree, self.native.saved()))
        require_equal("", self.python.saved(), self.words.tree(self.native.saved()))

    def tick(self) -> None:
        deadline_ns = self.now_ns + self.contract.period_ns
        self._late_ns = 0
        python = self.python.tick(self.now_ns, deadline_ns)
        self._late_ns = 0
        native = self.native.tick(self.now_ns, deadline_ns)
        self._late_ns = 0
        assert (python is None) == (native is None)
        if python is not None:
            mode, block = native
            assert mode == python.mode
            require_equal("targets", python.block, block)
        require_equal("", self.python.saved(), self.words.tree(self.native.saved()))


def require_equal(path: str, python: Any, native: Any) -> None:
    """Raise AssertionError where two states differ in a bit, except in those of a NaN."""
    if isinstance(python, Mapping):
        assert python.keys() == native.keys(), path
        for name, value in python.items():
            require_equal(f"{path}.{name}", value, native[name])
    elif isinstance(python, np.ndarray):
        expected, found = (
            np.asarray(each, np.float64).reshape(python.shape) for each in (python, native)
        )
        differs = (expected.view(np.int64) != found.view(np.int64)) & ~(
            np.isnan(expected) & np.isnan(found)
        )
        assert not differs.any(), (path, np.argwhere(differs)[0], expected, found)
    elif isinstance(python, tuple) and isinstance(native, tuple):
        assert len(python) == len(native), path
        for i, each in enumerate(python):
            require_equal(f"{path}.{i}", each, native[i])
    else:
        assert python == native, (path, python, native)


_WALKER: tuple[Mapping[str, object], ...] = (
    {"term": "base_ang_vel", "scale": 0.25},
    {"term": "projected_gravity"},
    {"term": "velocity_command"},
    {"term": "joint_pos_rel"},
    {"term": "joint_vel", "scale": 0.05, "clip": [-5.0, 5.0]},
    {"term": "last_action"},
)
_ACTIONS: tuple[list[Mapping[str, object]], ...] = (
    [
        {
            "joints": ["hip", "knee", "ankle"],
            "kind": "position",
            "scale": 0.5,
            "offset": "default_position",
            "clip": [-0.8, 0.8],
        }
    ],
    [
        {"joints": ["ankle", "hip"], "kind": "position", "scale": 0.3, "offset": 0.1},
        {"joints": ["knee"], "kind": "velocity", "scale": 2.0},
    ],
    [
        {"joints": ["knee"], "kind": "effort", "scale": 3.0},
        {"joints": ["ankle", "hip"], "kind": "position", "scale": 0.3, "offset": 0.1},
    ],
)
_CHAIN = [
    {"position_m": [0.1, 0.2, 0.3], "joint": "hip", "axis": [0, 1, 1]},
    {"position_m": [0, 0.1, 0], "quat_xyzw": [0.1, 0.2, 0.3, 0.9]},
]


def random_contract(draw: random.Random) -> JointContract:
    """Return a contract with terms, history, bounds, motions and fault behaviour at random."""

    def likely(share: float) -> bool:
        return draw.random() < share

    terms = [*_WALKER]
    changes: dict[str, object] = {
        "safety.on_fault": draw.choice(["damp", "hold_measured", "torque_off"])
    }
    if likely(0.5):
        changes["nominal"] = {**NOMINAL, "target_step": draw.choice([0.02, 0.2])}
    if likely(0.3):
        changes["stand.via"] = [{"position": [0.2, 0.3, -0.3], "duration_s": 0.1}]
    if likely(0.5):
        standing = draw.choice(
            [
                {},
                {"standing": {"below": 0.1, "phase": "zero"}},
                {"standing": {"below": 0.1, "phase": 0.5, "clock": "restarts"}},
                {"standing": {"below": 0.1, "clock": "stops"}},
            ]
        )
        terms.append({"term": "phase", "period_s": 0.6, "offsets": [0.0, 0.5], **standing})
    if likely(0.5):
        anchor = {"anchor": {"body": "trunk", "chain": _CHAIN if likely(0.5) else []}}
        changes["motion"] = {**MOTION, "at_end": draw.choice(["hold", "loop"]), **anchor}
        motions: list[Mapping[str, object]] = [
            {"term": "motion_joint_pos"},
            {"term": "motion_joint_vel", "ahead": 3},
            {"term": "motion_anchor_ori_b"},
            {"term": "motion_anchor_pos_b", "ahead": 2},
        ]
        terms += draw.sample(motions, 2)
    observation: dict[str, object] = {
        "terms": terms,
        "order": draw.choice(["clip_then_scale", "scale_then_clip"]),
    }
    if likely(0.5):
        observation["history"] = {
            "length": draw.choice([2, 5]),
            "layout": draw.choice(["per_term", "per_frame"]),
            "order": draw.choice(["oldest_first", "newest_first"]),
            "init": draw.choice(["zero", "repeat"]),
        }
    if likely(0.3):
        observation["clip"] = draw.choice([1.0, 5.0])
    changes["observations"] = {"obs": observation}
    changes["action.terms"] = draw.choice(_ACTIONS)
    if likely(0.2):  # a hip that turns on and on
        changes["joints.position_min"] = [-20.0, -1.5, -1.5]
        changes["joints.position_max"] = [20.0, 1.5, 1.5]
    if likely(0.4):
        for name in draw.choice([["stiffness", "damping"], ["damping"], ["stiffness"]]):
            changes[f"action.gains.{name}"] = {"output": name, "min": 0.1, "max": [0.4, 2.0, 0.7]}
            changes[f"model.outputs.{name}"] = {"shape": [1, 3]}
    if likely(0.3):
        values = [
            {"name": "height", "min": 0.4, "max": 0.7, "default": 0.65},
            {"name": "lean", "min": -0.2, "max": 0.2, "default": 0.0},
        ]
        terms.append({"term": "external", "topic": "posture", "size": 2, "commanded": values})
    if likely(0.3):
        changes["state"] = [{"input": "memory", "output": "memory_out"}]
        changes["model.inputs.memory"] = changes["model.outputs.memory_out"] = {"shape": [5, 1, 2]}
        changes["initial_state"] = {"file": "initial_state.npz", "sha256": "0" * 64}
    return contract_of(changes)


def random_set(draw: random.Random) -> tuple[SetContract, dict[str, JointContract]]:
    """Return a set of three walkers with conditions, blends and fallbacks at random."""
    fault = draw.choice(["damp", "hold_measured"])

    def member(name: str) -> JointContract:
        terms = [*_WALKER]
        changes: dict[str, object] = {"name": name, "safety.on_fault": fault}
        changes["nominal"] = {**NOMINAL, "target_step": draw.choice([0.05, 0.2])}
        if draw.random() < 0.5:
            terms.append({"term": "phase", "period_s": 0.6, "offsets": [0.0, 0.5]})
        if draw.random() < 0.3:
            changes["motion"] = dict(MOTION)
            terms.append({"term": "motion_joint_pos"})
        if draw.random() < 0.3:
            changes |= {"joints.stiffness": 50.0, "joints.damping": 2.0}
        changes["observations"] = {"obs": {"terms": terms}}
        return contract_of(changes)

    def transition() -> dict[str, object]:
        when: dict[str, object] = {}
        if draw.random() < 0.3:
            when["pose"] = draw.choice(["stand", "first_target"])
            when["pose_within"] = draw.choice([0.2, 0.5])
        for key, values in (
            ("joint_speed", (0.1, 0.3)),
            ("tilt_rad", (0.1,)),
            ("body_rate_rad_s", (2.0,)),
            ("command", ([0.5, 0.5, 0.5],)),
            ("time_in_state_s", (0.3,)),
        ):
            if draw.random() < 0.2:
                when[key] = draw.choice(values)
        waits = {"otherwise": "wait", "timeout_s": 0.3} if draw.random() < 0.5 else {}
        return {"blend_s": draw.choice([0.0, 0.1, 0.3]), "when": when, **waits}

    def fallback(*states: str) -> dict[str, object]:
        return {"fallback": draw.choice(states)} if draw.random() < 0.5 else {}

    members = {name: member(name) for name in ("walk", "crouch", "bow")}
    ends = {"ends": {"after_s": 0.8, "to": "crouch"}} if draw.random() < 0.5 else {}
    raw = {
        "schema_version": 1,
        "kind": "set",
        "name": "gaits",
        "version": "1.0.0",
        "members": {name: {"bundle": f"../{name}", "sha256": "0" * 64} for name in members},
        "initial": "walk",
        "states": {
            "walk": {
                "members": ["walk"],
                "stand": True,
                "to": {"crouch": transition(), "bow": transition()},
            },
            "crouch": {
                "members": ["crouch"],
                "way_back": "walk",
                "to": {"walk": transition(), "bow": transition()},
                **fallback("walk"),
            },
            "bow": {
                "members": ["bow"],
                "way_back": "crouch",
                "to": {"walk": transition(), "crouch": transition()},
                **fallback("walk", "crouch"),
                **ends,
            },
        },
    }
    contract, problems = resolved(raw, members)
    assert contract is not None, problems
    return contract, members


def random_plan(made: JointContract | tuple[SetContract, dict[str, JointContract]]) -> bytes:
    """Return the plan of a random contract or set."""
    return plan_bytes(unasked_controller(made).plan(), bytes(32))


def unasked_controller(
    made: JointContract | tuple[SetContract, dict[str, JointContract]],
) -> Controller:
    """Return a controller that no test lets tick."""
    contract, members = made if isinstance(made, tuple) else (made, {"": made})
    backends = {name: RandomModel(each, 0, lambda: None) for name, each in members.items()}
    return _python_controller(contract, members, backends, lambda: 0)


class RandomRobot:
    """Moves twins through samples, requests and faults at random.

    Attributes:
        modes: Modes in which they have been.
        rules: Rules that have latched a fault or begun a HOLD.
    """

    def __init__(self, twins: Twins, seed: int) -> None:
        self._twins, self._draw = twins, random.Random(seed)
        self._noise = np.random.default_rng(seed)
        self._position: F64 = twins.contract.joints.default_position.copy()
        self._wall_ns, self._silent = 1_700_000_000_000_000_000, dict[str, int]()
        self.modes, self.rules = set[Mode](), set[Rule]()

    def live(self, ticks: int) -> None:
        for _ in range(ticks):
            self._pass_time()
            self._break_models()
            for name in self._twins.python.inputs:
                self._send(name)
            self._ask()
            if self._happens(0.02):
                self._twins.hand_over()
            self._twins.tick()
            self.modes.add(self._twins.python.mode)
            if trip := self._twins.python.latest_tick.trip:
                self.rules.add(trip.rule)

    def go_on_from(self, other: RandomRobot) -> None:
        """Go on in the life of another robot of the same contract, with the state as it is kept."""
        text, arrays = other._twins.python.control_state().encoded()
        self._twins.now_ns, self._wall_ns = other._twins.now_ns, other._wall_ns
        self._twins.go_on_from(ControlState.decoded(text, arrays).tree)

    def _happens(self, share: float) -> bool:
        return self._draw.random() < share

    def _pass_time(self) -> None:
        period_ns = self._twins.contract.period_ns
        gap_ns = period_ns
        if self._happens(0.004):
            gap_ns = self._draw.choice([-period_ns, 10 * period_ns, 40 * period_ns])
        self._twins.now_ns += gap_ns
        if self._happens(0.01):
            self._wall_ns += self._draw.choice([-1, 1]) * self._draw.randint(1, 2_000_000_000)

    def _break_models(self) -> None:
        twins, draw = self._twins, self._draw
        for python, native in twins.models.values():
            python.fails = native.fails = self._happens(0.8 if python.fails else 0.01)
            python.gives_nan = native.gives_nan = self._happens(0.001)
            python.gain = native.gain = draw.choice([1.0, 1.0, 1.0, 3.0])
        twins.spends_ns = 2 * twins.contract.period_ns if self._happens(0.01) else 0
        twins.slow = draw.choice(["", *twins.models])

    def _send(self, name: str) -> None:
        twins = self._twins
        if self._silent.get(name, 0) > 0:
            self._silent[name] -= 1
            return
        if self._happens(0.004):
            self._silent[name] = self._draw.choice([2, 5, 30])
            return
        now_ns = twins.now_ns + self._wall_ns
        if name == "cmd_vel":
            if self._happens(0.6):
                self._send_command()
                twins.accept(name, None, now_ns)
            return
        stamp_ns = now_ns - self._draw.randint(0, 3_000_000)
        if self._happens(0.01):
            stamp_ns -= 500_000_000
        if not twins.is_new(name, stamp_ns):
            return
        if name == "joint_states":
            if not self._send_joints(name):
                return
        elif name == "imu/data":
            self._send_imu()
        elif name == "odom":
            twins.write("pos_world", self._noise.normal(size=3))
        elif name in getattr(twins.contract, "commanded", ()):
            values = self._noise.normal(size=twins.contract.external_sizes[name])
            twins.write(f"external:{name}", values if self._happens(0.97) else values * math.nan)
        else:
            self._send_other(name)
        twins.accept(name, stamp_ns, now_ns)

    def _send_other(self, name: str) -> None:
        """Send what only one kind of robot has."""

    def _send_command(self) -> None:
        if self._happens(0.3):
            self._twins.command((0.0, 0.0, 0.0))
        elif self._happens(0.01):
            self._twins.command((math.nan, 0.0, 0.0))
        else:
            vx, vy, wz = self._noise.uniform(-1.2, 1.2, 3).tolist()
            self._twins.command((vx, vy, wz))

    def _send_joints(self, name: str) -> bool:
        twins, noise = self._twins, self._noise
        targets, joints = twins.python.latest_tick.targets, self._position.size
        if targets is not None and twins.python.mode is not Mode.DAMP:
            step = np.clip(targets.position - self._position, -0.1, 0.1)
            self._position = self._position + step * (targets.stiffness > 0.0)
        if self._happens(0.01):
            self._position = self._position + 0.5 * noise.normal(size=joints)
        position = self._position + 0.002 * noise.normal(size=joints)
        if self._happens(0.01):
            position = position + self._draw.choice([0.1, 1.0, 5.0]) * noise.normal(size=joints)
        velocity = 0.1 * noise.normal(size=joints)
        if self._happens(0.003):
            velocity[0] = self._draw.choice([math.nan, 500.0])
        if self._happens(0.003):
            position[1] = math.nan
        is_used = "joint_vel" in twins.python.state.slices
        if not twins.believe(name, position, velocity if is_used else None):
            return False
        twins.write("joint_pos", position)
        if is_used:
            twins.write("joint_vel", velocity)
        return True

    def _send_imu(self) -> None:
        quat = np.array([0.0, 0.0, 0.0, 1.0]) + 0.05 * self._noise.normal(size=4)
        if self._happens(0.004):
            quat = np.array([0.8, 0.0, 0.0, 0.3])
        self._twins.write("quat_xyzw", quat)
        self._twins.write("ang_vel_body", self._noise.normal(size=3))

    def _ask(self) -> None:
        twins, draw, mode = self._twins, self._draw, self._twins.python.mode
        if mode is Mode.DAMP and self._happens(0.1):
            twins.ask("reset")
            twins.ask("stand")
        if mode is Mode.READY and self._happens(0.3):
            twins.ask("run")
        if isinstance(twins.policy_set, PolicySet):
            self._ask_set(mode)
        if self._happens(0.004):
            twins.ask("damp", "asked for")
        if self._happens(0.002):
            twins.ask("fade_command")
        if self._happens(0.02):
            share = draw.choice([0.0, 1.0, 1.0, draw.random(), math.nan])
            joints = range(self._position.size)
            twins.set_authority(
                share, draw.choice([*Rest]), draw.sample(joints, draw.choice([1, len(joints)]))
            )
        if self._happens(0.002):
            twins.ask("fault", Rule.TRIAL, "a trial has ended")
        if self._happens(0.003):
            twins.press_estop("the operator pressed it")
        if self._happens(0.003):
            twins.ask("driver_stopped", "the driver stopped")

    def _ask_set(self, mode: Mode) -> None:
        twins = self._twins
        if mode is Mode.RUN and self._happens(0.1):
            twins.switch(self._draw.choice([*twins.contract.states]))
        if self._happens(0.01):
            twins.go_back()
        if mode not in (Mode.RUN, Mode.HOLD):
            twins.stop_set()
