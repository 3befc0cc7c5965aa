# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reports on a comparison, and stores the report with the compared artifacts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.contract_text import keep_report
from model_tools.files.outputs import new_file
from model_tools.files.report_page import write_page
from model_tools.prove.comparison.candidates import OnRows
from model_tools.prove.comparison.compare import Compared
from model_tools.prove.comparison.kinds import DRAWN
from model_tools.prove.comparison.walking import AXES, Walked
from policy_core.bundle.bundle import REPORT_FOLDER, model_sha256
from policy_core.bundle.contract import Artifact
from policy_core.bundle.report_subject import CONTRACT_KEY, contract_sha256
from policy_core.interfaces import F64
from policy_inference.comparison.chunks import PATH
from policy_inference.comparison.limits import judged_by_walking
from policy_inference.comparison.open_loop import Difference
from policy_inference.comparison.plain_json import check_figures, difference_figures
from policy_store.report import (
    Cell,
    Chart,
    Part,
    Plot,
    Report,
    Section,
    Series,
    Table,
    Tone,
    Verdict,
    checks_table,
)
from robot_sim.metrics import velocity_yaw_aligned
from robot_sim.rotation import tilt_rad

_SMOOTHED_S = 0.4  # about one stride, to show the motion of the body rather than single steps


def failures(found: Sequence[Compared]) -> list[str]:
    """Return a line for each exceeded limit: artifact, value, place, limit."""
    return [f"{one.candidate.label}: {check}" for one in found for check in one.checks if not check]


def comparison_report(found: Sequence[Compared]) -> Report:
    reference = found[0].candidate
    is_chunk = reference.bundle.contract.kind == "chunk"
    figures = _chunk_figures if is_chunk else _joint_figures
    return Report(
        title=f"{reference.bundle.contract.name}: {len(found)} artifacts compared",
        values={
            **({"kind": "chunk"} if is_chunk else {}),
            "reference": reference.label,
            "artifacts": [figures(one) for one in found],
        },
        parts=[
            f"{sum(map(bool, found))} of {len(found)} hold their limits; the reference is "
            f"{reference.label}",
            _models(found),
            *_on_rows(found),
            *_walks(found),
            *failures(found),
            *_warnings(found),
            Section(
                title="All limits",
                parts=[checks_table(one.checks, one.candidate.label) for one in found],
                is_folded=True,
            ),
        ],
    )


def record(found: Sequence[Compared], *, force: bool) -> list[Path]:
    """Store the results and the page in the bundle of every artifact but the reference.

    Returns:
        The files with the results.
    """
    others, kept = [one.candidate for one in found[1:]], []
    for one in others:
        if model_sha256(one.bundle.contract, one.backend) is None:
            raise ToolError(
                f"{one.bundle.path}: expected artifacts for {one.backend} (the report "
                "is kept with them), found none; compile them first"
            )
    report = comparison_report(found)
    for one in others:
        folder, name = one.bundle.path, f"comparison_{one.backend}"
        with new_file(folder / REPORT_FOLDER / f"{name}.html", force=force) as growing:
            write_page(report, growing)
            kept.append(
                keep_report(
                    folder,
                    one.backend,
                    f"{name}.json",
                    report.write_json,
                    sha256=one.sha256,
                    force=force,
                )
            )
    return kept


def _head(one: Compared) -> dict[str, Any]:
    candidate = one.candidate
    return {
        "label": candidate.label,
        "bundle": str(candidate.bundle.path),
        "bundle_sha256": candidate.bundle.sha256,
        "backend": candidate.backend,
        "sha256": candidate.sha256,
        CONTRACT_KEY: contract_sha256(candidate.bundle.content),
        "precision": candidate.precision,
        "size_bytes": candidate.size_bytes,
        "holds": bool(one),
    }


def _joint_figures(one: Compared) -> dict[str, Any]:
    entry, [latency] = one.candidate.entry, one.latency.values()
    return {
        **_head(one),
        **{key: getattr(entry, key) for key in ("file", "sha256", "precision", "tool", "made")},
        "latency_s": {"p50": latency.p50_s, "p99": latency.p99_s},
        "open_loop": [
            {
                "rows": rows.source,
                "count": rows.count,
                "left_out": rows.left_out,
                "checks": check_figures(rows.checks),
                "outputs": {each.output: difference_figures(each) for each in rows.differences},
            }
            for rows in one.on_rows
        ],
        "closed_loop": [
            {
                "command": walk.command,
                **{
                    key: getattr(walk.outcome, key)
                    for key in (
                        "survived_s",
                        "error",
                        "tilt_deg",
                        "torque_limit_share",
                        "action_change",
                        "stopped_by",
                    )
                },
            }
            for walk in one.walks
        ],
        "closed_loop_checks": check_figures(one.walking_checks),
        "walk_itself_checks": check_figures(one.alone_checks),
    }


def _chunk_figures(one: Compared) -> dict[str, Any]:
    def graph(key: str, entry: Artifact) -> dict[str, Any]:
        keys = ("file", "sha256", "precision", "target", "tool", "made")
        stated, latency = {name: getattr(entry, name) for name in keys}, one.latency[key]
        return stated | {"latency_s": {"p50": latency.p50_s, "p99": latency.p99_s}}

    def on_rows(rows: OnRows) -> dict[str, Any]:
        chunk, in_rad, *others = rows.differences
        return {
            "rows": rows.source,
            "count": rows.count,
            "judged": rows.judged,
            "checks": check_figures(rows.checks),
            "chunk": difference_figures(chunk),
            "chunk_rad": difference_figures(in_rad),
            "max_abs_degrees": dict(
                zip(in_rad.names, np.degrees(in_rad.max_abs_each).tolist(), strict=True)
            ),
            "features": {
                each.output: difference_figures(each) for each in others if each.output != PATH
            },
            "denoising": {
                name: rmse
                for each in others
                if each.output == PATH
                for name, rmse in zip(each.names, each.rmse_each.tolist(), strict=True)
            },
        }

    return {
        **_head(one),
        "graphs": {
            key.removeprefix("graphs."): graph(key, entry)
            for key, entry in one.candidate.entries.items()
        },
        "rows": list(map(on_rows, one.on_rows)),
    }


def _models(found: Sequence[Compared]) -> Table:
    head = ("artifact", "model", "back end", "precision", "file", "KiB", "p50, ms", "p99, ms")
    rows = [
        (
            one.candidate.label,
            key.removeprefix("graphs."),
            one.candidate.backend,
            entry.precision,
            entry.file,
            one.candidate.size_bytes / 1024,
            1e3 * one.latency[key].p50_s,
            1e3 * one.latency[key].p99_s,
            Verdict.of(one),
        )
        for one in found
        for key, entry in one.candidate.entries.items()
    ]
    return Table(header=(*head, "limits"), rows=rows)


def _on_rows(found: Sequence[Compared]) -> Iterator[Part]:
    for index, first in enumerate(found[0].on_rows):
        entries = [(one.candidate.label, one.on_rows[index]) for one in found]
        others = [(label, rows.action) for label, rows in entries[1:]]
        details: list[Part] = [
            Section(title=f"{label}: by joint", parts=[_by_value(rows)], is_folded=True)
            for label, rows in entries[1:]
        ]
        yield Section(
            title=f"Open loop: {first.title}, {first.count} rows",
            parts=[_outputs(entries), Plot(charts=_errors(others)), *details],
        )


def _outputs(entries: Sequence[tuple[str, OnRows]]) -> Table:
    head = ("artifact", "output", "MAE", "RMSE", "max", "cosine min", "cosine mean", "worst")
    rows: list[tuple[Cell, ...]] = []
    for label, on in entries:
        verdict = Verdict.of(all(on.checks)) if on.judged else Verdict("not judged", Tone.PLAIN)
        rows += [
            (
                label,
                one.output,
                one.mae,
                one.rmse,
                one.max_abs,
                float(one.cosine.min()),
                float(one.cosine.mean()),
                "row {}, {}".format(*one.worst),
                verdict,
            )
            for one in on.differences
        ]
    return Table(header=(*head, "limits"), rows=rows)


def _by_value(on: OnRows) -> Table:
    """Return the errors by joint; for a chunk policy in rad as well as normalized."""
    columns: dict[str, F64] = {}
    for one in on.differences[:2]:
        unit = "" if one is on.action else ", rad"
        if one.names == on.action.names:
            columns |= {
                f"MAE{unit}": one.mae_each,
                f"RMSE{unit}": one.rmse_each,
                f"max{unit}": one.max_abs_each,
                f"cosine{unit}": one.cosine_each,
            }
    return Table(
        header=("joint", *columns),
        rows=list(zip(on.action.names, *(each.tolist() for each in columns.values()), strict=True)),
    )


def _errors(others: Sequence[tuple[str, Difference]]) -> list[Chart]:
    by_value = [
        Series(label=label, kind="bar", y=one.rmse_each, high=one.max_abs_each)
        for label, one in others
    ]
    by_row = [Series(label=label, x=one.rows, y=one.cosine) for label, one in others]
    names = others[0][1].names
    return [
        # Errors of different precisions are orders of magnitude apart.
        Chart(title="error: RMSE, and the largest", series=by_value, names=names, is_log=True),
        Chart(title="cosine of found and expected output", series=by_row, x_label="row"),
    ]


def _walks(found: Sequence[Compared]) -> Iterator[Part]:
    if not found[0].walks:
        return
    head = ("artifact", "command", "lasted, s", "error vx", "error vy", "error yaw rate")
    rows = [
        (
            one.candidate.label,
            walk.outcome.name,
            walk.outcome.survived_s,
            *walk.outcome.error,
            walk.outcome.tilt_deg,
            100.0 * walk.outcome.torque_limit_share,
            walk.outcome.action_change,
        )
        for one in found
        for walk in one.walks
    ]
    verdicts = [
        (
            one.candidate.label,
            Verdict.of(all(one.walking_checks)),
            Verdict.of(all(one.alone_checks), "good", "poor"),
        )
        for one in found
    ]
    yield Section(
        title=f"Closed loop: {found[0].walks[0].outcome.duration_s:g} s each",
        parts=[
            "Commands: vx, vy in m/s, yaw rate in rad/s. Velocities: means over a stride.",
            Plot(charts=_courses(found), columns=len(found[0].walks)),
            Table(
                header=(*head, "tilt, degrees", "torque limit, %", "|action change|"),
                rows=rows,
            ),
            Table(header=("artifact", "limits", "the walk itself"), rows=verdicts),
            Section(
                title="Each walk itself, independent of the reference",
                parts=[checks_table(one.alone_checks, one.candidate.label) for one in found],
                is_folded=True,
            ),
        ],
    )


def _courses(found: Sequence[Compared]) -> list[Chart]:
    """Return velocities, then tilts over time, one chart per command."""
    velocities, tilts = [], []
    for i, first in enumerate(found[0].walks):
        axis, ends_s = int(np.argmax(np.abs(first.command))), [0.0, first.outcome.duration_s]
        commanded = [first.command[axis]] * 2
        speeds = [Series(label="commanded", x=ends_s, y=commanded, tone=Tone.PLAIN)]
        leaning = list[Series]()
        for one in found:
            label, walk = one.candidate.label, one.walks[i]
            time_s = walk.trace.time_s - walk.trace.time_s[0]
            speeds.append(Series(label=label, x=time_s, y=_velocity(walk, axis)))
            tilt_deg = np.degrees(tilt_rad(walk.trace.quat_xyzw))
            leaning.append(Series(label=label, x=time_s, y=tilt_deg))
        command = "({:g}, {:g}, {:g})".format(*first.command)
        title = f"{command}: {AXES[axis]}, {'rad/s' if axis == 2 else 'm/s'}"
        velocities.append(Chart(title=title, series=speeds))
        tilts.append(Chart(title="tilt, degrees", series=leaning, x_label="s"))
    return [*velocities, *tilts]


def _velocity(walk: Walked, axis: int) -> F64:
    time_s, values = walk.trace.time_s, velocity_yaw_aligned(walk.trace)[:, axis]
    period_s = float(np.diff(time_s[:2])[0]) if len(time_s) > 1 else _SMOOTHED_S
    window = np.ones(min(len(values), max(1, round(_SMOOTHED_S / period_s))))
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def _warnings(found: Sequence[Compared]) -> Iterator[str]:
    for one in found:
        for check in one.alone_checks:
            if not check:
                yield f"{one.candidate.label}: the walk itself is poor: {check}"
    coarse = [one.candidate.label for one in found if judged_by_walking(one.candidate.precision)]
    on_rows = found[0].on_rows
    if coarse and on_rows and all(rows.source == DRAWN for rows in on_rows):
        yield (
            f"{', '.join(dict.fromkeys(coarse))}: the golden rows have random images, which are no "
            "fair test of so few bits; compare on training frames: --dataset DATASET (or a "
            "recording)"
        )
