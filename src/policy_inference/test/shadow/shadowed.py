# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot whose controller runs a model that depends on all that it is given, and its shadow."""

from __future__ import annotations

import numpy as np

from policy_core.bundle.contract import JointContract
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Mode, ShadowMode
from policy_inference.flight.ring import ShadowAnswer
from policy_inference.shadow.joint_shadow import JointShadow
from policy_inference.shadow.shadowed_member import ShadowQuestion
from testkit.edits import Edits
from testkit.kernel.contracts import DEFAULT, TERMS_OF_A_WALKER, bundle_of, contract_of
from testkit.kernel.robots import Robot, ScriptedBackend

STEPS = {"nominal": {"source": "a test", "ticks": 1, "target_step": 50.0, "effort_demand": 9000.0}}

HISTORY = {
    "observations": {
        "obs": {"terms": list(TERMS_OF_A_WALKER), "history": {"length": 4, "init": "repeat"}}
    }
}
PHASE = {
    "observations": {"obs": {"terms": [*TERMS_OF_A_WALKER, {"term": "phase", "period_s": 0.7}]}}
}


class Thinking(ScriptedBackend):
    """Answers with a function of each input value; `rounds` is the step that outputs come in."""

    def __init__(self, contract: JointContract, rounds: float = 0.0, gain: float = 1.0) -> None:
        super().__init__(contract)
        self.rounds, self.gain = rounds, gain
        self.seen: list[F64] = []
        self.during_run = self._think

    def _think(self) -> None:
        flat = np.concatenate([array.astype(np.float64).ravel() for array in self.inputs.values()])
        self.seen.append(flat)
        for number, out in enumerate(self.outputs.values()):
            weights = np.sin(np.arange(out.size * flat.size) + number).reshape(out.size, -1)
            values = self.gain * np.tanh(weights @ flat / 4.0)
            if self.rounds:
                values = np.round(values / self.rounds) * self.rounds
            out[...] = values.reshape(out.shape)


class Shadowed:
    """The robot, and a shadow that is handed its ticks as a node does it."""

    def __init__(
        self,
        changes: Edits | None = None,
        mode: ShadowMode = ShadowMode.FOLLOWED,
        shadow: Edits | None = None,
        rounds: float = 0.0,
        gain: float = 1.0,
    ) -> None:
        changes = {**STEPS, **(changes or {})}
        self.robot = Robot(changes)
        self.active = Thinking(self.robot.contract)
        contract = contract_of(changes if shadow is None else {**STEPS, **shadow})
        self.backend = Thinking(contract, rounds, gain)
        self.robot.backend.during_run = self._think
        state = self.robot.controller.state
        self.shadow = JointShadow(
            bundle_of(contract),
            self.backend,
            limits_in_force(contract, StricterLimits()),
            self.robot.contract,
            {name: state[name].size for name in state.slices},
            mode,
        )
        self.answers = list[ShadowAnswer]()
        self.late = False
        self._random, self._lost, self._begins, self._tick = np.random.default_rng(1), 0, False, 0

    def _think(self) -> None:
        for name, array in self.robot.backend.inputs.items():
            self.active.inputs[name][...] = array
        self.active.run()
        self.robot.backend.answers = {**self.active.outputs}

    def runs(self) -> Shadowed:
        """Stand up and ask for RUN; no tick yet."""
        self.robot.stand().controller.run()
        return self

    def runs_again(self) -> None:
        """Begin another run, in which there are no ticks yet."""
        self.robot.controller.damp()
        self.robot.controller.reset()
        self.robot.tick(joint_pos=DEFAULT, joint_vel=(0.0,) * 3)
        self.runs()

    def tick(self, count: int = 1, *, lost: bool = False, silent: tuple[str, ...] = ()) -> None:
        """Tick with other sensor values, and ask the shadow, unless the tick is lost to it."""
        for _ in range(count):
            self.robot.tick(
                {
                    "joint_pos": self._random.uniform(-0.4, 0.4, 3).tolist(),
                    "joint_vel": self._random.uniform(-1.0, 1.0, 3).tolist(),
                    "ang_vel_body": self._random.uniform(-1.0, 1.0, 3).tolist(),
                },
                silent=silent,
            )
            self._tick += 1
            controller = self.robot.controller
            if controller.latest_tick.mode is not Mode.RUN:
                continue
            run = controller.latest_tick
            if run.begins:
                self._begins, self._lost = True, 0
            if lost:
                self._lost += 1
                continue
            self.answers.append(
                self.shadow.answer(
                    self._tick,
                    ShadowQuestion(controller.state.flat, run.target, self._begins, self._lost),
                    late=self.late,
                )
            )
            self._begins, self._lost = False, 0


def outcome_names(answers: list[ShadowAnswer]) -> list[str]:
    return [answer.outcome.name for answer in answers]
