# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Report on an evaluation: rates, differences and factors with intervals, and the worst trials.

Nothing in the report depends on when or where the trials ran.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.prove.evaluation.evaluate import Evaluated, succeeded
from model_tools.prove.evaluation.plan import ARM, FactorRange, shown_value
from model_tools.prove.evaluation.statistics import mcnemar, wilson
from model_tools.prove.evaluation.summary import holds, summarise, worst
from model_tools.prove.evaluation.trials import (
    DIGITS,
    TrialRow,
    TrialTask,
    make_ground,
    repeat_reach,
    repeat_walk,
    shown_conditions,
)
from model_tools.simulation.arm import arm_image_size
from model_tools.simulation.robot import SimulatedRobot
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_store.report import (
    Cell,
    Chart,
    Media,
    Part,
    Plot,
    Report,
    Section,
    Series,
    Table,
    Verdict,
)
from robot_sim.arm_render import write_episodes
from robot_sim.errors import SimError
from robot_sim.render import write_video

VIDEO_S = 4.0
"""Length of a video, s; it shows the end of a trial."""
_RATE_HZ, _WIDTH, _HEIGHT = 6.0, 320, 176
"""Rate and size of a video. Without a GPU, rendering an image takes one core 0.1 s."""
UNITS = {
    "survived_s": "time on its feet in RUN, s",
    "error_vx": "error of vx, m/s",
    "error_vy": "error of vy, m/s",
    "error_wz": "error of the yaw rate, rad/s",
    "tilt_deg": "largest tilt, degrees",
    "torque_rms_nm": "torque of the drives, root mean square, N m",
    "power_w": "mechanical power of the drives, W",
    "energy_j": "work of the drives, J",
    "torque_limit_share": "share of samples at the torque limit",
    "action_change": "mean |change of the output per tick|",
    "altered_share": "share of ticks that the guard altered",
    "estimate_rmse_mps": "estimated velocity: error, root mean square, m/s",
    "estimate_p95_mps": "estimated velocity: error not exceeded in 95 % of samples, m/s",
    "estimate_nees": "estimated velocity: squared error over its variance, mean",
    "estimate_height_rmse_m": "estimated height: error, root mean square, m",
    "took_s": "duration of the reach, s",
    "closest_m": "smallest distance between tip and goal, m",
    "signal": "share of trials with the success signal",
    "signal_false_positive": "share of failed trials with the signal",
    "signal_false_negative": "share of successful trials without the signal",
}


def evaluation_report(
    found: Evaluated,
    videos: int,
    on_video: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Return the report on an evaluation, with videos of its worst trials.

    Args:
        found: The trials.
        videos: Number of worst trials to run again for a video; if this machine cannot render, the
            report states why.
        on_video: Called with the number of finished videos, and the total.

    Raises:
        PolicyError: A trial to be shown does not run here.
    """
    summary = summarise(found)
    return Report(
        title=f"Evaluation on {found.plan.robot}",
        values=summary,
        digits=DIGITS,
        parts=[
            results_table(found),
            *_sentences(found),
            "95 % intervals: Wilson's for rates, bootstrapped for means. Policies are compared "
            "under the same conditions and seeds.",
            *_differences(summary["differences"]),
            *_factors(found, summary["policies"]),
            *_estimates(found),
            Section(title="Figures", parts=[_figures(summary["policies"])]),
            Section(
                title="The worst trials",
                parts=[
                    _worst_table(found, worst(found, 10)),
                    *_videos(found, worst(found, videos), on_video),
                ],
            ),
        ],
    )


def results_table(found: Evaluated) -> Table:
    required, rows = found.plan.required_success, list[tuple[Cell, ...]]()
    for policy in found.policies:
        successes, trials = found.successes(policy)
        low, high = wilson(successes, trials)
        rate = 100.0 * successes / trials if trials else None
        judged = () if required is None else (required, Verdict.of(low >= required))
        rows.append((policy.label, trials, successes, rate, 100.0 * low, 100.0 * high, *judged))
    head = ("policy", "trials", "succeeded", "rate, %", "from, %", "to, %")
    return Table(header=head if required is None else (*head, "required", "verdict"), rows=rows)


def _sentences(found: Evaluated) -> Iterator[str]:
    first = found.policies[0]
    for other in found.policies[1:]:
        better, worse, pairs = found.discordant(first, other)
        yield (
            f"{first.label} against {other.label}: {pairs} pairs, {better} to {worse}, "
            f"p = {mcnemar(better, worse):.3g} (McNemar)"
        )
    if not holds(found):
        yield from missing_results(found)


def missing_results(found: Evaluated) -> Iterator[str]:
    """Yield the reasons that trials have no result, each reason once."""
    reasons = (found.not_done.get(task.key) for task in found.tasks)
    yield from (f"trials without a result: {one}" for one in dict.fromkeys(reasons) if one)


def _differences(differences: Sequence[dict[str, Any]]) -> Iterator[Part]:
    for each in differences:
        needed = each["pairs_needed"]
        yield Section(
            title=f"{each['policy']} against {each['against']}",
            parts=[
                "No difference was seen that more pairs could confirm."
                if needed is None
                else f"A difference of this size needs {needed} pairs.",
                Table(
                    header=("figure", "mean difference", "low", "high", "pairs"),
                    rows=[
                        (UNITS.get(name, name), *values.values())
                        for name, values in each["figures"].items()
                        if values["measured"]
                    ],
                ),
            ],
        )


def _factors(found: Evaluated, policies: Sequence[dict[str, Any]]) -> Iterator[Part]:
    if not found.plan.varied:
        return
    charts, rows = list[Chart](), list[tuple[Cell, ...]]()
    for name in found.plan.varied:
        series = list[Series]()
        for policy in policies:
            rates = policy["by_factor"][name]
            shares = [
                (
                    100.0 * rate["successes"] / max(1, rate["trials"]),
                    100.0 * rate["success_low"],
                    100.0 * rate["success_high"],
                )
                for rate in rates.values()
            ]
            rows += [
                (policy["policy"], name, value, rate["trials"], *share)
                for (value, rate), share in zip(rates.items(), shares, strict=True)
            ]
            share, low, high = zip(*shares, strict=True)
            series.append(
                Series(label=policy["policy"], kind="points", y=share, low=low, high=high)
            )
        names = list(policies[0]["by_factor"][name])
        charts.append(Chart(title=f"{name}: success, %", series=series, names=names))
    head = ("policy", "factor", "value", "trials", "rate, %", "from, %", "to, %")
    yield Section(
        title="Success by factor",
        parts=[
            Plot(charts=charts, columns=min(2, len(charts))),
            Section(title="As a table", parts=[Table(header=head, rows=rows)], is_folded=True),
        ],
    )


def _estimates(found: Evaluated) -> Iterator[Part]:
    """Show the error of the base velocity estimator under each condition."""
    names = [
        name
        for name in found.plan.varied
        if not isinstance(getattr(found.plan.factors, name), FactorRange)
    ]
    rows = list[tuple[Cell, ...]]()
    for policy in found.policies:
        groups = dict[tuple[str, ...], list[TrialRow]]()
        for row in found.trial_rows(policy):
            if row.figures.get("estimate_rmse_mps") is not None:
                where = tuple(shown_value(row.conditions[name]) for name in names)
                groups.setdefault(where, []).append(row)
        for where, trials in groups.items():
            rmse, p95, nees = (
                [row.figures[f"estimate_{name}"] or 0.0 for row in trials]
                for name in ("rmse_mps", "p95_mps", "nees")
            )
            rms = float(np.sqrt(np.mean(np.square(rmse))))
            rows.append(
                (policy.label, *where, len(trials), rms, max(rmse), max(p95), float(np.mean(nees)))
            )
    if rows:
        figures = ("RMSE, m/s", "worst RMSE, m/s", "worst 95 %, m/s", "NEES per axis")
        table = Table(header=("policy", *names, "trials", *figures), rows=rows)
        yield Section(title="Estimated velocity of the base", parts=[table])


def _figures(policies: Sequence[dict[str, Any]]) -> Table:
    return Table(
        header=("figure", "policy", "mean", "low", "high", "trials"),
        rows=[
            (UNITS.get(name, name), policy["policy"], *policy["figures"][name].values())
            for name in policies[0]["figures"]
            for policy in policies
            if policy["figures"].get(name, {}).get("measured")
        ],
    )


def _worst_table(found: Evaluated, tasks: Sequence[TrialTask]) -> Table:
    names = [name for name in UNITS if tasks and name in found.rows[tasks[0].key].figures][:5]
    return Table(
        header=("policy", "trial", "ended", *names),
        rows=[
            (
                task.policy.label,
                shown_conditions(task, found.plan.varied),
                _ended(found, task),
                *(found.rows[task.key].figures[name] for name in names),
            )
            for task in tasks
        ],
    )


def _ended(found: Evaluated, task: TrialTask) -> str:
    row = found.rows[task.key]
    if succeeded(row, found.plan.success):
        return "succeeded"
    return row.stopped_by or ("beyond the limits" if row.held else "not reached")


def _videos(
    found: Evaluated, tasks: Sequence[TrialTask], on_video: Callable[[int, int], None]
) -> Iterator[Part]:
    for number, task in enumerate(tasks):
        on_video(number, len(tasks))
        title = (
            f"{task.policy.label}: {shown_conditions(task, found.plan.varied)}: "
            f"{_ended(found, task)}"
        )
        try:
            yield Media(title=title, content=_video(task), mime="video/mp4")
        except SimError as error:
            yield f"No videos: {error}"
            return
    on_video(len(tasks), len(tasks))


def _video(task: TrialTask) -> bytes:
    """Run a trial again, and return its end as H.264 in MP4.

    Raises:
        SimError: Neither EGL nor OSMesa works on this machine.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trial.mp4"
        if task.robot == ARM:
            outcome = repeat_reach(task)
            bundle = load_bundle(task.policy.folder, kind=ChunkBundle)
            write_episodes(outcome.trace, file, image_size=arm_image_size(bundle))
        else:
            _, trace = repeat_walk(task)
            end = trace.rows(
                slice(int(np.searchsorted(trace.time_s, trace.time_s[-1] - VIDEO_S)), None)
            )
            write_video(
                end,
                file,
                robot=SimulatedRobot(figures=task.robot).body,
                rate_hz=_RATE_HZ,
                width=_WIDTH,
                height=_HEIGHT,
                ground=make_ground(task),
            )
        return file.read_bytes()
