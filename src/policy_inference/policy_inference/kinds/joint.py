# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Joint policies: a model that runs in every tick."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from policy_core.bundle.bundle import CONTRACT_FILE, JointBundle
from policy_core.bundle.contract import Artifact
from policy_core.control.controller import Controller
from policy_core.errors import BundleError, Problem
from policy_core.guard.limits import Limits
from policy_core.interfaces import Backend, Tensor
from policy_core.members.joint import joint_controller
from policy_core.native_controller import NativeController
from policy_core.observation.distribution import DistributionWatch, watched_inputs
from policy_core.observation.state import RobotState
from policy_inference.backends.registry import OpenedModels, Options, open_models
from policy_inference.flight.tap import NativeTap, Tap
from policy_inference.kinds.opening import (
    MemberKind,
    OpenedMember,
    OpenedPolicy,
    OpenRequest,
    native_controller,
)

if TYPE_CHECKING:  # a node that only runs a policy compares nothing
    from policy_inference.comparison.limits import Check
    from policy_inference.comparison.open_loop import Difference
    from policy_inference.comparison.rows import Rows

FEWEST_ROWS = 8


class JointKind(MemberKind[JointBundle]):
    """Opens joint policies, runs them on rows, and judges their outputs."""

    bundle = JointBundle
    runs = "runs"

    def inputs(self, bundle: JointBundle, limits: Limits) -> Iterator[str]:
        state = RobotState(bundle.contract, orientation=limits.max_tilt_rad is not None)
        for name in state.inputs:
            external = state.get(f"external:{name}")
            yield name if external is None else f"{name} ({external.size} values)"

    def open(
        self,
        request: OpenRequest,
        options: Options,
        bundle: JointBundle,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedPolicy[JointBundle]:
        _prove_scenes(bundle)
        models = _opened_models(request, options, bundle, limits)
        models.warm_up()
        python_tap = Tap(models.first)
        native = native_controller(request.loop, {"": models.first}, bundle.sha256)
        controller = joint_controller(
            bundle,
            python_tap,
            limits,
            clock,
            make=lambda *arguments: native(*arguments) or Controller(*arguments),
        )
        tap = NativeTap(controller) if isinstance(controller, NativeController) else python_tap
        return OpenedPolicy(
            request=request,
            bundle=bundle,
            limits=limits,
            models=models,
            tap=tap,
            watch=DistributionWatch(watched_inputs(bundle.contract, tap.inputs)),
            controller=controller,
        )

    def open_member(
        self,
        request: OpenRequest,
        options: Options,
        name: str,
        bundle: JointBundle,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedMember:
        from policy_inference.kinds.parity import require_parity

        with ExitStack() as opened:
            models = opened.enter_context(_opened_models(request, options, bundle, limits))
            require_parity(self, bundle, models, self.golden_rows(bundle))
            models.warm_up()
            opened.pop_all()
        return OpenedMember(
            runner=models.first, models=models, close=models.close, recorded=models.first
        )

    def golden_rows(self, bundle: JointBundle) -> Rows:
        """Read the golden rows, which are independent of each other.

        Raises:
            BundleError: There are no golden rows, or a height scan contradicts its scene.
        """
        from policy_inference.comparison.rows import Rows

        _prove_scenes(bundle)
        golden, model = bundle.golden(), bundle.contract.model
        count = len(next(iter(golden.values())))
        return Rows(
            source="golden rows",
            inputs={name: golden[name] for name in model.inputs},
            outputs={name: golden[name] for name in model.outputs},
            breaks=tuple(range(1, count)),
        )

    def require_enough(self, bundle: JointBundle, rows: Rows) -> None:
        flat = [values.reshape(len(rows), -1) for values in rows.inputs.values()]
        different = len(np.unique(np.concatenate(flat, axis=1), axis=0))
        if different < FEWEST_ROWS:
            raise BundleError(
                Problem(
                    file=str(bundle.path / CONTRACT_FILE),
                    key="model.golden",
                    expected=f"at least {FEWEST_ROWS} golden rows that differ",
                    found=str(different),
                    remedy=f"`model_tools complete {bundle.path} --output FOLDER` makes a "
                    "bundle that has them",
                )
            )

    def play(
        self, bundle: JointBundle, models: Mapping[str, Backend], rows: Rows
    ) -> dict[str, Tensor]:
        from policy_inference.comparison.rows import play

        (model,) = models.values()
        return play(model, rows, bundle.contract.state, bundle.initial_state)

    def differences(
        self,
        bundle: JointBundle,
        found: Mapping[str, Tensor],
        expected: Mapping[str, Tensor],
        numbers: npt.NDArray[np.int64] | None = None,
    ) -> tuple[Difference, ...]:
        from policy_inference.comparison.open_loop import joint_differences

        return joint_differences(bundle.contract, found, expected, numbers)

    def checks(
        self,
        bundle: JointBundle,
        backend: str,
        entries: Mapping[str, Artifact],
        differences: tuple[Difference, ...],
        source: str,
    ) -> tuple[Check, ...]:
        """Check the action, then recurrent states, against the artifact's limits."""
        from policy_inference.comparison.limits import open_loop_limits, state_limits
        from policy_inference.comparison.open_loop import judge

        (entry,), (action, *states) = entries.values(), differences
        of_action = open_loop_limits(bundle.contract, backend, entry.precision)
        checks = list(judge(action, source, of_action))
        for state in states:
            limits = state_limits(bundle.contract, backend, entry.precision)
            checks += [
                replace(check, what=f"{check.what} of {state.output}")
                for check in judge(state, source, limits)
            ]
        return tuple(checks)


def _prove_scenes(bundle: JointBundle) -> None:
    if bundle.contract.scenes:
        from policy_core.observation.scan_scene import check_scenes

        check_scenes(bundle)


def _opened_models(
    request: OpenRequest, options: Options, bundle: JointBundle, limits: Limits
) -> OpenedModels:
    return open_models(
        bundle.models,
        request.backends,
        options,
        # After this time, the controller gives up anyway.
        run_timeout_s=limits.longest_gap_ns * 1e-9,
        # Another machine may use half of a tick; the rest is for this one.
        deadline_s=0.5e-9 * bundle.contract.period_ns,
    )
