# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the trials of a plan that have no result yet."""

from __future__ import annotations

import dataclasses
import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from model_tools.errors import ToolError
from model_tools.prove.comparison.candidates import candidate
from model_tools.prove.evaluation.plan import Plan, Success
from model_tools.prove.evaluation.pool import NotDone, TaskPool
from model_tools.prove.evaluation.trials import EvaluatedPolicy, TrialRow, TrialTask, trial_tasks
from model_tools.simulation.arm import arm_image_size
from model_tools.simulation.robot import SimulatedRobot
from policy_core.bundle.bundle import AnyBundle, model_sha256
from policy_inference.backends.registry import Options

ROWS = "trials.jsonl"
_LIMITED = ("tilt_deg", "torque_limit_share", "altered_share", "estimate_rmse_mps")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """Results of an evaluation.

    Attributes:
        plan: The plan.
        policies: Policies in command-line order; the first is compared with the others.
        tasks: All trials of the plan.
        rows: Result of each trial, by key.
        not_done: Reasons for missing results, by key.
    """

    plan: Plan
    policies: tuple[EvaluatedPolicy, ...]
    tasks: tuple[TrialTask, ...]
    rows: Mapping[str, TrialRow]
    not_done: Mapping[str, str]

    def trial_rows(self, policy: EvaluatedPolicy) -> list[TrialRow]:
        keys = (task.key for task in self.tasks if task.policy is policy)
        return [self.rows[key] for key in keys if key in self.rows]

    def successes(self, policy: EvaluatedPolicy) -> tuple[int, int]:
        rows = self.trial_rows(policy)
        return sum(succeeded(row, self.plan.success) for row in rows), len(rows)

    def pairs(
        self, first: EvaluatedPolicy, second: EvaluatedPolicy
    ) -> list[tuple[TrialRow, TrialRow]]:
        """Return the results of two policies under the same conditions and seed."""
        return [
            (self.rows[one.key], self.rows[other.key])
            for one, other in zip(
                (task for task in self.tasks if task.policy is first),
                (task for task in self.tasks if task.policy is second),
                strict=True,
            )
            if one.key in self.rows and other.key in self.rows
        ]

    def discordant(self, first: EvaluatedPolicy, second: EvaluatedPolicy) -> tuple[int, int, int]:
        """Count the pairs in which only the first, or only the second, succeeded, and all pairs."""
        limits, pairs = self.plan.success, self.pairs(first, second)
        each = [(succeeded(one, limits), succeeded(other, limits)) for one, other in pairs]
        return each.count((True, False)), each.count((False, True)), len(each)


Progress = Callable[[int, int | None], None]


def succeeded(row: TrialRow, limits: Success) -> bool:
    """Return whether the robot survived a trial within the plan's limits."""
    if not row.held:
        return False
    bounds = dict.fromkeys(("error_vx", "error_vy", "error_wz"), limits.error)
    bounds |= {name: getattr(limits, name) for name in _LIMITED}
    return all(
        (value := row.figures[name]) is not None and value <= bound
        for name, bound in bounds.items()
        if bound is not None
    )


def evaluated_policies(
    plan: Plan, bundles: Sequence[AnyBundle], options: Options
) -> list[EvaluatedPolicy]:
    """Return the policies to evaluate: each bundle on each back end of the plan."""
    found = list[EvaluatedPolicy]()
    for bundle in bundles:
        _require_robot(plan, bundle)
        found += [_evaluated(bundle, each, options) for each in dict.fromkeys(plan.backends)]
    if len({(one.sha256, one.backend) for one in found}) < len(found):
        raise ToolError(
            "expected different policies, found a bundle listed twice; a comparison with itself "
            "proves nothing"
        )
    if len({one.label for one in found}) == len(found):
        return found
    return [dataclasses.replace(one, label=f"{one.folder.name}: {one.label}") for one in found]


def _require_robot(plan: Plan, bundle: AnyBundle) -> None:
    if bundle.contract.kind != plan.kind:
        raise ToolError(
            f"{bundle.path}: expected a {plan.kind} policy (the plan's robot is "
            f"{plan.robot}), found a different kind of policy"
        )
    if plan.reaches:
        arm_image_size(bundle)
        return
    SimulatedRobot(figures=plan.robot).require(bundle.contract)
    has_term = any(term.term == "base_lin_vel" for term in bundle.contract.terms)
    if plan.factors.velocity_error_mps != (0.0,) and not has_term:
        raise ToolError(
            f"{bundle.path}: expected a policy that observes base_lin_vel (the error is added to "
            "this term), found a policy without it"
        )


def _evaluated(bundle: AnyBundle, backend: str, options: Options) -> EvaluatedPolicy:
    one, contract = candidate(bundle, backend, options), bundle.contract
    return EvaluatedPolicy(
        label=f"{contract.name} {contract.version}, {one.label} on {backend}",
        folder=bundle.path.resolve(),
        sha256=bundle.sha256,
        backend=backend,
        model_sha256=model_sha256(contract, backend) or one.sha256,
        options=dict(one.options),
    )


def evaluate(
    plan: Plan,
    policies: Sequence[EvaluatedPolicy],
    store: TrialStore,
    pool: TaskPool[TrialTask, TrialRow],
    progress: Progress = lambda done, total: None,
) -> Evaluated:
    """Run the trials of a plan whose results the store does not have.

    The results do not depend on the number of processes and machines, or on the order in which
    results arrive.

    Args:
        plan: The plan.
        policies: Policies to try.
        store: Store with the results so far; writes each new result immediately.
        pool: Runs the trials.
        progress: Called with the number of finished trials, and the total.
    """
    tasks = tuple(trial_tasks(plan, [*policies]))
    rows = {task.key: row for task in tasks if (row := store.rows.get(task.key)) is not None}
    not_done = dict[str, str]()
    found = Evaluated(
        plan=plan, policies=tuple(policies), tasks=tasks, rows=rows, not_done=not_done
    )
    missing = [task for task in tasks if task.key not in rows]
    progress(len(rows), len(tasks))
    with closing(pool.run(missing)) as results:
        for task, result in results:
            if isinstance(result, NotDone):
                not_done[task.key] = result.reason
            else:
                store.keep(result, succeeded=succeeded(result, plan.success))
                rows[task.key] = result
            progress(len(rows) + len(not_done), len(tasks))
    return found


class TrialStore:
    """Results of trials as JSON lines, in order of arrival; only this process writes them."""

    def __init__(self, file: BinaryIO, rows: dict[str, TrialRow]) -> None:
        self._file, self.rows = file, rows

    def keep(self, row: TrialRow, *, succeeded: bool) -> None:
        """Write a result to disk immediately.

        Args:
            row: The result.
            succeeded: Verdict on the result, written for readers of the file; never read back here.
        """
        line = json.dumps(dataclasses.asdict(row) | {"succeeded": succeeded}, allow_nan=False)
        self._file.write(f"{line}\n".encode())
        self._file.flush()
        self.rows[row.key] = row


@contextmanager
def trial_store(folder: Path) -> Iterator[TrialStore]:
    """Open the results in a folder, creating it if needed.

    An incomplete last line is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ROWS
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ToolError(
                f"{path}: expected a file that no other evaluation is writing, found one in use; "
                "wait until that evaluation has ended, or choose another --output"
            ) from error
        file.seek(0)
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        file.truncate(len(whole))
        rows = [_row(line, f"{path}:{number}") for number, line in enumerate(whole.splitlines(), 1)]
        yield TrialStore(file, {row.key: row for row in rows})


def _row(line: bytes, where: str) -> TrialRow:
    try:
        values: dict[str, Any] = json.loads(line)
        del values["succeeded"]  # may be from a different plan
        return TrialRow(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise ToolError(
            f"{where}: expected the result of a trial, found: {error!r}; remove the line"
        ) from error
