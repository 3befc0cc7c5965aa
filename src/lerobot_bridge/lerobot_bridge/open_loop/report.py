# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a replay of a dataset: a table and sentences on the terminal, and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from lerobot_bridge.open_loop.figures import JointErrors, PredictionErrors
from lerobot_bridge.open_loop.predict import Predicted
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.contract import Artifact
from policy_inference.comparison.plain_json import plain

DIGITS = 6
WORDS = ("joint", "unit", "episode", "task")
"""Heads of columns with words."""
UNITS = {"radians": "rad", "degrees": "deg", "range_m100_100": "-100..100", "range_0_100": "0..100"}
"""Units of joints, as tables write them."""
_HEAD = (
    "joint",
    "unit",
    "mean",
    "p95",
    "max",
    "max rad",
    "correlation",
    "mean rad",
    "p95 rad",
    "worst at",
)
_NARROW = _HEAD.index("mean rad")
"""Columns for which a terminal has room."""
UNMEASURED = "-: recorded or predicted values of the joint do not change"
_CLEARLY = 0.8
"""Largest share of the error that a significant shift leaves."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replayed:
    """A dataset that was replayed.

    Attributes:
        dataset: Its folder.
        bundle: The policy.
        backend: Name of the back end.
        artifacts: Artifacts that it opened, by graph.
        every: Frames from chunk to chunk.
        episodes: All that were compared.
        each: Errors of each of them.
        all: Errors of all together.
        left_out: Number of frames that were not compared, because a person drove.
    """

    dataset: Path
    bundle: ChunkBundle
    backend: str
    artifacts: Sequence[Artifact]
    every: int
    episodes: Sequence[Predicted]
    each: Sequence[PredictionErrors]
    all: PredictionErrors
    left_out: int

    @property
    def frames(self) -> int:
        """Number of frames that were compared."""
        return sum(int(one.compared.sum()) for one in self.episodes)


def number(value: float) -> str:
    """Return a figure as tables show it; a dash where it could not be measured."""
    return f"{value:.3g}" if math.isfinite(value) else "-"


def joint_rows(figures: PredictionErrors) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return head and rows of the table of joints."""
    return _HEAD, [_row(one) for one in figures.joints]


def table(found: Replayed) -> Table:
    """Return the errors by joint."""
    head, rows = joint_rows(found.all)
    shown = Table()
    for name in head[:_NARROW]:
        shown.add_column(name, justify="left" if name in WORDS else "right")
    for row in rows:
        shown.add_row(*row[:_NARROW])
    return shown


def sentences(found: Replayed) -> list[str]:
    """Return the results as sentences, then the suspicious values."""
    lag, fps = found.all.lag, found.bundle.contract.rate_hz
    said = [f"{len(found.episodes)} episodes, {found.frames} frames, a chunk every {found.every}"]
    if found.left_out:
        said[0] += f"; left out: {found.left_out} frames in which a person drove"
    if lag is None:
        said.append("no joint moves by more than 0.05 rad: neither errors nor a delay say much")
    elif lag.error > _CLEARLY * lag.error_unshifted or lag.frames == 0:
        said.append(
            "predicted actions are neither early nor late: mean error "
            f"{number(lag.error_unshifted)} standard deviations of the actions"
        )
    else:
        when = "later" if lag.frames > 0 else "earlier"
        said.append(
            f"predicted actions fit best those recorded {abs(lag.frames)} frames {when} "
            f"({abs(lag.frames) / fps:.3g} s): mean error {number(lag.error)} instead of "
            f"{number(lag.error_unshifted)} standard deviations of the actions"
        )
    if lag is not None and lag.error >= lag.error_of_mean:
        said.append(
            "the predicted actions do not follow the recorded ones: the mean of these would have "
            f"an error of {number(lag.error_of_mean)}; are cameras swapped, or is the dataset of "
            "another task or robot?"
        )
    if any(math.isnan(one.correlation) for one in found.all.joints):
        said.append(UNMEASURED)
    return [*said, *found.all.strange]


def document(found: Replayed) -> dict[str, Any]:
    """Return all figures in the types of JSON; what could not be measured is null."""
    contract = found.bundle.contract
    rounded: dict[str, Any] = plain(
        {
            "dataset": str(found.dataset),
            "bundle": str(found.bundle.path),
            "bundle_sha256": found.bundle.sha256,
            "policy": contract.name,
            "version": contract.version,
            "backend": found.backend,
            "precisions": [one.precision for one in found.artifacts],
            "every": found.every,
            "rate_hz": contract.rate_hz,
            "frames": found.frames,
            "frames_left_out": found.left_out,
            **_figures(found.all),
            "episodes": [
                {
                    "episode": one.episode.index,
                    "tasks": list(one.episode.tasks),
                    "frames": int(one.compared.sum()),
                    "chunks": len(one.begins),
                    **_figures(figures),
                }
                for one, figures in zip(found.episodes, found.each, strict=True)
            ],
        },
        DIGITS,
    )
    return rounded


def _row(one: JointErrors) -> list[str]:
    figures = (
        one.error.mean,
        one.error.p95,
        one.error.largest,
        one.error_rad.largest,
        one.correlation,
        one.error_rad.mean,
        one.error_rad.p95,
    )
    episode, frame = one.worst
    return [one.name, UNITS[one.unit], *map(number, figures), f"{episode}, frame {frame}"]


def _figures(figures: PredictionErrors) -> dict[str, Any]:
    return {
        "joints": {
            one.name: {
                "unit": one.unit,
                "error": asdict(one.error),
                "error_rad": asdict(one.error_rad),
                "correlation": one.correlation,
                "worst": {"episode": one.worst[0], "frame": one.worst[1]},
            }
            for one in figures.joints
        },
        "lag": asdict(figures.lag) if figures.lag else None,
        "error_by_step": figures.by_step.tolist(),
        "strange": list(figures.strange),
    }
