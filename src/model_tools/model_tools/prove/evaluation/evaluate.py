# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the missing trials of a plan, and no more than the answer needs."""

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
from model_tools.prove.evaluation.statistics import mcnemar, wilson
from model_tools.prove.evaluation.trials import EvaluatedPolicy, TrialRow, TrialTask, trial_tasks
from model_tools.simulation.arm import arm_image_size
from model_tools.simulation.robot import SimulatedRobot
from policy_core.bundle.bundle import AnyBundle, model_sha256
from policy_inference.backends.registry import Options

ROWS = "trials.jsonl"
_LIMITED = ("tilt_deg", "torque_limit_share", "altered_share", "estimate_rmse_mps")
_LOOKS = 8
"""Number of interim analyses, if trials may stop early."""
_SIGNIFICANCE = 0.05
"""Significance level, shared by the interim analyses (Bonferroni), so that repeated looks prove
nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """Results of an evaluation.

    Attributes:
        plan: The plan.
        policies: Policies in the order of the command; the first is compared with the others.
        tasks: The trials that count: all of the plan, or those before an early stop.
        rows: Result of each, by key.
        not_done: Reasons of missing results, by key.
    """

    plan: Plan
    policies: tuple[EvaluatedPolicy, ...]
    tasks: tuple[TrialTask, ...]
    rows: Mapping[str, TrialRow]
    not_done: Mapping[str, str]

    @property
    def stopped_early(self) -> bool:
        return len(self.tasks) < len(self.plan) * len(self.policies)

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
        """Count the pairs: only the first succeeded, only the second succeeded, all."""
        limits, pairs = self.plan.success, self.pairs(first, second)
        each = [(succeeded(one, limits), succeeded(other, limits)) for one, other in pairs]
        return each.count((True, False)), each.count((False, True)), len(each)


Watch = Callable[[Evaluated], None]


def succeeded(row: TrialRow, limits: Success) -> bool:
    """Return whether a trial survived within the limits of the plan."""
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
            "expected policies that differ, found a bundle that is named twice; a comparison with "
            "itself proves nothing"
        )
    if plan.stop_early and plan.required_success is None and len(found) == 1:
        raise ToolError(
            "stop_early: expected something to decide, found one policy and no required_success; "
            "set required_success, or name a second bundle"
        )
    if len({one.label for one in found}) == len(found):
        return found
    return [dataclasses.replace(one, label=f"{one.folder.name}: {one.label}") for one in found]


def _require_robot(plan: Plan, bundle: AnyBundle) -> None:
    if bundle.contract.kind != plan.kind:
        raise ToolError(
            f"{bundle.path}: expected a {plan.kind} policy, since the plan's robot is "
            f"{plan.robot}, found another kind of policy"
        )
    if plan.reaches:
        arm_image_size(bundle)
    else:
        SimulatedRobot(figures=plan.robot).require(bundle.contract)


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
    watch: Watch = lambda _: None,
) -> Evaluated:
    """Run the trials of a plan that the store does not have.

    The results do not depend on the number of processes and machines: the plan and its results, in
    plan order, decide which trials count, not the order of arrival.

    Args:
        plan: The plan.
        policies: Policies to try.
        store: Results so far; stores each new one at once.
        pool: Runs the trials.
        watch: Called with the state of the evaluation at the start and after each trial.
    """
    tasks = tuple(trial_tasks(plan, [*policies]))
    rows = {task.key: row for task in tasks if (row := store.rows.get(task.key)) is not None}
    not_done = dict[str, str]()

    def found(count: int = len(tasks)) -> Evaluated:
        return Evaluated(
            plan=plan,
            policies=tuple(policies),
            tasks=tasks[:count],
            rows=rows,
            not_done=not_done,
        )

    looks = _looks(plan, len(policies)) if plan.stop_early else []
    watch(found())
    certain = _certain_after(looks, found)
    if certain is not None:
        return found(certain)
    with closing(pool.run(task for task in tasks if task.key not in rows)) as results:
        for task, result in results:
            if isinstance(result, NotDone):
                not_done[task.key] = result.reason
            else:
                store.keep(result, succeeded=succeeded(result, plan.success))
                rows[task.key] = result
            watch(found())
            certain = _certain_after(looks, found)
            if certain is not None:
                return found(certain)
    return found()


def _looks(plan: Plan, policies: int) -> list[int]:
    """Return the trial counts of the interim analyses: whole seeds, evenly spaced."""
    of_a_seed = len(plan.combinations) * policies
    seeds = sorted({plan.seeds * look // _LOOKS for look in range(1, _LOOKS)} - {0})
    return [seed * of_a_seed for seed in seeds]


def _certain_after(looks: list[int], found: Callable[[int], Evaluated]) -> int | None:
    """Return the number of trials after which the answer was certain; None: not yet.

    Removes analyses from the list whose trials are complete and do not decide.
    """
    while looks:
        so_far = found(looks[0])
        if not all(task.key in so_far.rows or task.key in so_far.not_done for task in so_far.tasks):
            return None
        if _is_certain(so_far):
            return looks[0]
        del looks[0]
    return None


def _is_certain(found: Evaluated) -> bool:
    """Return whether the trials so far decide the question, at the significance of one analysis."""
    plan, first = found.plan, found.policies[0]
    significance = _SIGNIFICANCE / _LOOKS
    if plan.required_success is not None:
        for policy in found.policies:
            low, high = wilson(*found.successes(policy), 1.0 - significance)
            if low < plan.required_success <= high:
                return False
    for other in found.policies[1:]:
        better, worse, _ = found.discordant(first, other)
        if mcnemar(better, worse) >= significance:
            return False
    return True


class TrialStore:
    """Results of trials as JSON lines, in order of arrival; only this process writes them."""

    def __init__(self, file: BinaryIO, rows: dict[str, TrialRow]) -> None:
        self._file, self.rows = file, rows

    def keep(self, row: TrialRow, *, succeeded: bool) -> None:
        """Write a result to disk at once.

        Args:
            row: The result.
            succeeded: Its verdict, written for readers of the file; not read again here.
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
                f"{path}: expected a file that no other evaluation writes, found one that does; "
                "wait for it, or name another --output"
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
