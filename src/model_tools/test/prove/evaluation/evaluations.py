# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluations without a simulator: trials whose results are known."""

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from model_tools.prove.evaluation.evaluate import Evaluated, evaluate, trial_store
from model_tools.prove.evaluation.plan import Plan
from model_tools.prove.evaluation.pool import NotDone, Results
from model_tools.prove.evaluation.trials import EvaluatedPolicy, TrialRow, TrialTask

Judge = Callable[[TrialTask], bool]


def absent(label: str) -> EvaluatedPolicy:
    return EvaluatedPolicy(
        label=label,
        folder=Path(label),
        sha256=f"sha256 of {label}",
        backend="onnx",
        model_sha256="",
        options={},
    )


def plan(**given: Any) -> Plan:
    return Plan(**{"robot": "lite3", "seeds": 4, **given})


def row(task: TrialTask, good: bool) -> TrialRow:
    return TrialRow(
        key=task.key,
        policy=task.policy.label,
        seed=task.seed,
        conditions=task.conditions,
        held=good,
        figures={
            "survived_s": 20.0 if good else task.seed / 100.0,
            "error_vx": 0.1 * (task.seed % 3),
            "error_vy": 0.0,
            "error_wz": 0.0 if good else None,
            "tilt_deg": 5.0 + task.seed,
        },
        stopped_by="" if good else "fell",
    )


class OrderedPool:
    """Gives known results, as workers do that are differently fast."""

    def __init__(self, good: Judge, *, ahead: int = 1) -> None:
        """Take the tasks from `ahead` of them in any order."""
        self._good, self._ahead = good, ahead
        self.done = list[TrialTask]()

    def run(self, tasks: Iterable[TrialTask]) -> Results[TrialTask, TrialRow]:
        """Yield results; seed 1000 has none."""
        waiting, running, draws = iter(tasks), list[TrialTask](), random.Random(self._ahead)
        while True:
            while len(running) < self._ahead and (task := next(waiting, None)) is not None:
                running.append(task)
            if not running:
                return
            task = running.pop(draws.randrange(len(running)))
            self.done.append(task)
            good = self._good(task)
            yield task, NotDone("no reason") if task.seed == 1000 else row(task, good)


def evaluated(
    folder: Path, planned: Plan, pool: OrderedPool, labels: Iterable[str] = ("first",)
) -> Evaluated:
    with trial_store(folder) as store:
        return evaluate(planned, [absent(label) for label in labels], store, pool)


def lines(folder: Path) -> Iterator[str]:
    yield from (folder / "trials.jsonl").read_text("utf-8").splitlines()
