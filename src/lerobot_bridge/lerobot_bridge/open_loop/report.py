# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The report on a replayed dataset: errors per joint, recorded and predicted actions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lerobot_bridge.open_loop.figures import Lag, PredictionErrors
from lerobot_bridge.open_loop.predict import Predicted
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.contract import Artifact
from policy_core.errors import plural
from policy_store.report import (
    Chart,
    Facts,
    Note,
    Plot,
    Report,
    Section,
    Series,
    Table,
    Tone,
    Verdict,
)

_DRAWN = 12
"""Maximum number of episodes to plot (those with the largest errors), which keeps the page small.
"""
_UNITS = {
    "radians": "rad",
    "degrees": "deg",
    "range_m100_100": "-100..100",
    "range_0_100": "0..100",
}
_UNMEASURED = "-: recorded or predicted values of the joint do not change"
_CLEARLY = 0.8
"""A shift is significant if it reduces the error to this fraction or less."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replayed:
    """A dataset that was replayed.

    Attributes:
        dataset: Folder of the dataset.
        bundle: The policy.
        backend: Name of the back end.
        artifacts: Artifacts that the back end opened, by graph.
        every: Number of frames from one chunk to the next.
        episodes: All episodes that were compared.
        each: Errors of each episode.
        all: Errors of all episodes together.
        left_out: Number of frames not compared because a person drove.
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
        return sum(int(one.compared.sum()) for one in self.episodes)


def open_loop_report(found: Replayed) -> Report:
    contract = found.bundle.contract
    precisions = ", ".join(dict.fromkeys(one.precision for one in found.artifacts))
    facts = Facts(
        title=contract.name,
        rows=[
            ("version", contract.version),
            ("back end", f"{found.backend}, {precisions}"),
            ("chunk", f"{contract.chunk.size} steps, a new chunk every {found.every} steps"),
            ("rate, Hz", contract.rate_hz),
        ],
    )
    step = Chart(
        title="mean error by step of the chunk, in standard deviations of the actions",
        series=[Series(label="", y=found.all.by_step)],
        x_label="step",
    )
    return Report(
        title=f"{contract.name} against {found.dataset.resolve().name}",
        values=_values(found),
        parts=[
            facts,
            _joints(found.all),
            *_sentences(found),
            *(Note(Verdict("beyond the limits", Tone.WARN), line) for line in found.all.strange),
            *([Plot(charts=[step], row_in=1.8)] if found.every > 1 else []),
            Section(title="Mean error by episode", parts=[_episodes(found)], is_folded=True),
            *_courses(found),
        ],
    )


def _joints(figures: PredictionErrors) -> Table:
    header = ("joint", "unit", "mean", "p95", "max", "correlation", "mean rad", "p95 rad")
    return Table(
        header=(*header, "max rad", "worst at"),
        rows=[
            (
                one.name,
                _UNITS[one.unit],
                one.error.mean,
                one.error.p95,
                one.error.largest,
                one.correlation,
                one.error_rad.mean,
                one.error_rad.p95,
                one.error_rad.largest,
                "{}, frame {}".format(*one.worst),
            )
            for one in figures.joints
        ],
    )


def _episodes(found: Replayed) -> Table:
    names = [joint.name for joint in found.all.joints]
    return Table(
        header=("episode", "task", "frames", *names, "lag, frames"),
        rows=[
            (
                one.episode.index,
                "; ".join(one.episode.tasks),
                int(one.compared.sum()),
                *(joint.error.mean for joint in figures.joints),
                None if figures.lag is None else figures.lag.frames,
            )
            for one, figures in zip(found.episodes, found.each, strict=True)
        ],
    )


def _courses(found: Replayed) -> Iterator[Section]:
    """Yield the recorded and predicted actions of the episodes with the largest errors."""
    worst = sorted(zip(found.episodes, found.each, strict=True), key=_error, reverse=True)
    for one, figures in worst[:_DRAWN]:
        times_s = np.arange(len(one.actions)) / found.bundle.contract.rate_hz
        begins = list(one.begins)
        charts = []
        for i, joint in enumerate(figures.joints):
            predicted = one.predicted[:, i]
            series = [
                Series(label="recorded", x=times_s, y=one.actions[:, i], tone=Tone.PLAIN),
                Series(label="predicted", x=times_s, y=predicted),
            ]
            if len(begins) < len(one.actions):
                begun = Series(
                    label="chunk begins", kind="points", x=times_s[begins], y=predicted[begins]
                )
                series.append(begun)
            title = f"{joint.name}, {_UNITS[joint.unit]}"
            charts.append(Chart(title=title, series=series, x_label="s"))
        yield Section(
            title=f"episode {one.episode.index}: {'; '.join(one.episode.tasks)}",
            parts=[Plot(charts=charts, columns=min(2, len(charts)), row_in=2.0)],
            is_folded=True,
        )


def _error(pair: tuple[Predicted, PredictionErrors]) -> float:
    """Return the error by which episodes are sorted, in rad, the unit common to all joints."""
    return sum(joint.error_rad.mean for joint in pair[1].joints)


def _sentences(found: Replayed) -> list[str]:
    lag, fps = found.all.lag, found.bundle.contract.rate_hz
    count = len(found.episodes)
    said = [
        f"{plural(count, 'episode')}, {found.frames} frames, a chunk every "
        f"{plural(found.every, 'frame')}"
    ]
    if found.left_out:
        said[0] += f"; left out: {found.left_out} frames in which a person drove"
    if lag is None:
        said.append("no joint moves by more than 0.05 rad: errors and delays mean little")
    elif not _is_shifted(lag):
        said.append(
            "predicted actions are neither early nor late: mean error "
            f"{_number(lag.error_unshifted)} standard deviations of the actions"
        )
    else:
        when = "later" if lag.frames > 0 else "earlier"
        said.append(
            f"predicted actions best match those recorded {abs(lag.frames)} frames {when} "
            f"({abs(lag.frames) / fps:.3g} s): mean error {_number(lag.error)} instead of "
            f"{_number(lag.error_unshifted)} standard deviations of the actions"
        )
    # by the error that the sentence before states
    if lag is not None and (
        (lag.error if _is_shifted(lag) else lag.error_unshifted) >= lag.error_of_mean
    ):
        said.append(
            "the predicted actions do not follow the recorded ones: the constant mean of the "
            f"recorded actions would have an error of {_number(lag.error_of_mean)}; are cameras "
            "swapped, or is the dataset for another task or robot?"
        )
    if any(math.isnan(one.correlation) for one in found.all.joints):
        said.append(_UNMEASURED)
    return said


def _is_shifted(lag: Lag) -> bool:
    return lag.frames != 0 and lag.error <= _CLEARLY * lag.error_unshifted


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-"


def _values(found: Replayed) -> dict[str, Any]:
    contract = found.bundle.contract
    return {
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
    }


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
