# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A judged rollout on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_tools.comparison.artifacts import Candidate
from model_tools.comparison.report import VERDICT, number
from model_tools.local_loop.judged import Judged
from model_tools.local_loop.loop import Rollout

LISTED = 8
_COLOURS = {True: "green", False: "bold red"}


def show(judged: Judged) -> None:
    """Print the table."""
    table = Table(show_header=False, box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(judged):
        table.add_row(name, value)
    # Of any width where nobody looks, so that a log keeps whole lines.
    console = Console()
    Console(width=None if console.is_terminal else 200).print(table, highlight=False)


def _lines(judged: Judged) -> Iterator[tuple[str, str]]:
    rollout, latency = judged.rollout, judged.latency
    yield "environment", escape(judged.environment)
    yield "model", escape(_artifact(judged.model))
    yield "compared with", escape(_reference(judged))
    yield "observations", _observations(judged.model)
    yield "steps", str(len(rollout.reward))
    yield "episodes", _episodes(rollout)
    yield "return", _returns(rollout)
    yield from _figures(judged)
    yield "latency", f"p50 {latency.p50_s * 1e6:.1f} us, p99 {latency.p99_s * 1e6:.1f} us"


def _artifact(model: Candidate) -> str:
    return (f"{model.bundle.path}, back end {model.backend}: {model.entry.file} "
            f"({model.entry.precision})")


def _reference(judged: Judged) -> str:
    model, reference = judged.model, judged.reference
    if (model.backend, model.entry.sha256) != (reference.backend, reference.entry.sha256):
        return _artifact(reference)
    return ("the same file in a session of its own, which shows only that it is deterministic; "
            "--reference names another bundle")


def _observations(model: Candidate) -> str:
    """Say what was done to each observation that the environment gave."""
    said = []
    for name, observation in model.bundle.contract.observations.items():
        statistics = observation.normalisation
        bounds = (observation.clip, "normalised by " + statistics.file if statistics else None,
                  statistics.clip if statistics else None)
        done = [f"within ±{part:g}" if isinstance(part, float) else part
                for part in bounds if part is not None]
        said.append(f"{name}: {', '.join(done) or 'as given'}")
    return escape("; ".join(said))


def _episodes(rollout: Rollout) -> str:
    lengths = np.bincount(rollout.episode)
    last = "" if rollout.ended[-1] else ", the last not ended"
    return f"{len(lengths)} of {_list(list(map(str, lengths)))} steps{last}"


def _returns(rollout: Rollout) -> str:
    returns = np.bincount(rollout.episode, weights=rollout.reward)
    whole = returns[: rollout.ended.sum()]
    mean = f"; mean of those that ended {number(float(whole.mean()))}" if len(whole) else ""
    return _list([number(one) for one in returns]) + mean


def _list(entries: Sequence[str]) -> str:
    return ", ".join(entries[:LISTED]) + (", ..." if len(entries) > LISTED else "")


def _figures(judged: Judged) -> Iterator[tuple[str, str]]:
    found, checks = judged.difference, {check.what: check for check in judged.checks}
    step, joint = found.worst
    where = f" at step {step}, action {found.names.index(joint)} ({joint})"
    for what, value, place in (
        ("largest error", found.max_abs, escape(where)), ("mean absolute error", found.mae, ""),
        ("RMSE", found.rmse, ""), ("smallest cosine", float(found.cosine.min()), ""),
    ):  # fmt: skip
        check = checks.get(what)
        yield what, number(value) + place + (
            "" if check is None else
            f", {check.bound}: [{_COLOURS[bool(check)]}]{VERDICT[bool(check)]}[/]")
