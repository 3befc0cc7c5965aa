# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The page on an evaluation: rates with intervals, differences, factors, the worst trials to see.

Nothing in it depends on when or where the trials ran.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from model_tools.files.drawing import COLOURS, GREY, STYLE, figure, svg
from model_tools.files.html_page import facts, panel, table, tag, write_page
from model_tools.prove.evaluation.evaluate import Evaluated, succeeded
from model_tools.prove.evaluation.plan import ARM
from model_tools.prove.evaluation.summary import holds, summary_of, worst
from model_tools.prove.evaluation.trials import (
    EvaluatedPolicy,
    TrialTask,
    ground_of,
    repeat_reach,
    repeat_walk,
    shown_conditions,
)
from model_tools.simulation.arm import arm_image_size
from model_tools.simulation.robot import SimulatedRobot
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from robot_sim.arm_render import write_episodes
from robot_sim.errors import SimError
from robot_sim.render import frames
from robot_sim.video import write_frames

VIDEO_S = 4.0
"""Length of a video: the end of a trial is what is of interest."""
_RATE_HZ, _WIDTH, _HEIGHT = 6.0, 320, 176
"""Of a video: an image takes 0.1 s of a core where no GPU renders."""
_WORDS = ("policy", "against", "figure", "factor", "value", "trial", "ended", "why")
_UNITS = {
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
    "took_s": "time of the reach, s",
    "closest_m": "smallest distance of tip and goal, m",
}


def write_evaluation_page(
    found: Evaluated,
    file: Path,
    videos: int,
    on_video: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write the page.

    Args:
        found: What was found.
        file: To write.
        videos: How many of the worst trials are run once more and shown; a machine that cannot
            render shows none, and the page says why.
        on_video: Called with the number of videos that are done, and of all.
    """
    summary = summary_of(found)
    shown = worst(found, videos)
    write_page(
        file,
        f"Evaluation on {found.plan.robot}",
        [
            f"<h1>Evaluation on {escape(found.plan.robot)}</h1>",
            f"<p>{_counts(found)} Intervals are of 95 %: Wilson's for rates, bootstrapped for "
            "means. Policies are compared under the same conditions and seeds.</p>",
            f'<div class="cards">{"".join(map(_card, summary["policies"]))}</div>',
            *_not_done(found),
            *_differences(summary["differences"]),
            *_factors(found, summary["policies"]),
            *_figures(summary["policies"]),
            "<h2>The worst trials</h2>",
            panel(_worst_table(found, worst(found, 10))),
            *_videos(found, shown, on_video),
        ],
    )


def _counts(found: Evaluated) -> str:
    trials = f"{len(found.tasks)} trials of {found.plan.trial_s:g} s."
    early = " It stopped early, since the answer was certain." if found.stopped_early else ""
    required = found.plan.required_success
    if required is None:
        return trials + early
    verdict = tag("holds", "good") if holds(found) else tag("does not hold", "bad")
    return f"{trials}{early} Required rate of success: {required:g} {verdict}."


def _card(policy: dict[str, Any]) -> str:
    needed = policy["trials_needed"]
    rows = [
        ("succeeded", f"{policy['successes']} of {policy['trials']}"),
        ("rate", _share(policy)),
        (f"trials for ± {100 * needed['half_width']:g} %", f"{needed['trials']}"),
        ("bundle", policy["bundle_sha256"][:12]),
    ]
    return f'<div class="card plain"><b>{escape(policy["policy"])}</b>{facts(rows)}</div>'


def _share(rate: dict[str, Any]) -> str:
    if not rate["trials"]:
        return "-"
    share = 100.0 * rate["successes"] / rate["trials"]
    return f"{share:.1f} % ({100 * rate['success_low']:.1f} to {100 * rate['success_high']:.1f})"


def _not_done(found: Evaluated) -> Iterable[str]:
    missing = [task for task in found.tasks if task.key in found.not_done]
    if missing:
        yield f"<h2>{len(missing)} trials without a result</h2>"
        rows = [
            [task.policy.label, shown_conditions(task, found.plan.varied), found.not_done[task.key]]
            for task in missing[:50]
        ]
        yield panel(table(["policy", "trial", "why"], rows, _WORDS))


def _differences(differences: Sequence[dict[str, Any]]) -> Iterable[str]:
    for each in differences:
        yield f"<h2>{escape(each['policy'])} against {escape(each['against'])}</h2>"
        p, needed = each["p_mcnemar"], each["pairs_needed"]
        kind = "good" if p < 0.05 else "warn"
        yield (
            f"<p>{each['pairs']} pairs: only the first succeeded in "
            f"{each['only_policy_succeeded']}, only the second in "
            f"{each['only_against_succeeded']}; exact test of McNemar: "
            f"{tag(f'p = {p:.3g}', kind)}. "
            + (
                "Nothing was seen that more pairs could show.</p>"
                if needed is None
                else f"A difference of this size needs {needed} pairs.</p>"
            )
        )
        rows = [
            [_UNITS.get(name, name), *_interval(values)]
            for name, values in each["figures"].items()
            if values["measured"]
        ]
        yield panel(table(["figure", "mean difference", "low", "high", "pairs"], rows, _WORDS))


def _interval(values: dict[str, Any]) -> list[str]:
    return [*(f"{values[name]:.3g}" for name in ("mean", "low", "high")), f"{values['measured']}"]


def _factors(found: Evaluated, policies: Sequence[dict[str, Any]]) -> Iterable[str]:
    if not found.plan.varied:
        return
    yield "<h2>Success by factor</h2>"
    yield panel(_drawn(found.plan.varied, policies))
    rows = [
        [
            policy["policy"],
            name,
            value,
            f"{rate['trials']}",
            _share(rate),
        ]
        for policy in policies
        for name, values in policy["by_factor"].items()
        for value, rate in values.items()
    ]
    head = ["policy", "factor", "value", "trials", "rate of success"]
    yield f"<details><summary>As a table</summary>{panel(table(head, rows, _WORDS))}</details>"


def _drawn(names: Sequence[str], policies: Sequence[dict[str, Any]]) -> str:
    """Return a drawing of the rate of success by the value of each factor."""
    with mpl.rc_context(STYLE):
        columns = 2 if len(names) > 1 else 1
        lines = -(-len(names) // columns)
        drawing, axes = figure(lines, columns)
        for number, (name, place) in enumerate(zip(names, axes, strict=False)):
            values = list(policies[0]["by_factor"][name])
            for index, policy in enumerate(policies):
                rates = [policy["by_factor"][name][value] for value in values]
                centre = np.array([r["successes"] / max(1, r["trials"]) for r in rates])
                low = centre - [r["success_low"] for r in rates]
                high = np.array([r["success_high"] for r in rates]) - centre
                at = np.arange(len(values)) + 0.12 * (index - (len(policies) - 1) / 2.0)
                place.errorbar(
                    at,
                    100.0 * centre,
                    yerr=100.0 * np.maximum([low, high], 0.0),
                    fmt="o",
                    markersize=4,
                    capsize=3,
                    color=COLOURS[index % len(COLOURS)],
                    label=policy["policy"] if number == 0 else None,
                )
            place.set_title(name)
            place.set_xticks(range(len(values)), values)
            place.tick_params(labelbottom=True)
            place.set_xlim(-0.5, len(values) - 0.5)
            place.set_ylim(-5.0, 105.0)
            place.axhline(100.0, color=GREY, linewidth=0.6)
            place.set_ylabel("success, %")
        for place in axes[len(names) :]:
            place.set_visible(False)
        return svg(drawing, axes, "factors")


def _figures(policies: Sequence[dict[str, Any]]) -> Iterable[str]:
    yield "<h2>Figures</h2>"
    rows = [
        [_UNITS.get(name, name), policy["policy"], *_interval(policy["figures"][name])]
        for name in policies[0]["figures"]
        for policy in policies
        if policy["figures"].get(name, {}).get("measured")
    ]
    yield panel(table(["figure", "policy", "mean", "low", "high", "trials"], rows, _WORDS))


def _worst_table(found: Evaluated, tasks: Sequence[TrialTask]) -> str:
    names = [name for name in _UNITS if tasks and name in found.rows[tasks[0].key].figures]
    names = names[:5]
    rows = [
        [
            task.policy.label,
            shown_conditions(task, found.plan.varied),
            _ended(found, task),
            *(
                "-" if (value := found.rows[task.key].figures[name]) is None else f"{value:.3g}"
                for name in names
            ),
        ]
        for task in tasks
    ]
    return table(["policy", "trial", "ended", *names], rows, _WORDS)


def _ended(found: Evaluated, task: TrialTask) -> str:
    row = found.rows[task.key]
    if succeeded(row, found.plan.success):
        return "succeeded"
    return row.stopped_by or ("beyond the limits" if row.held else "not reached")


def _videos(
    found: Evaluated, tasks: Sequence[TrialTask], on_video: Callable[[int, int], None]
) -> Iterable[str]:
    for number, task in enumerate(tasks):
        on_video(number, len(tasks))
        title = (
            f"{task.policy.label}: {shown_conditions(task, found.plan.varied)}: "
            f"{_ended(found, task)}"
        )
        try:
            content = base64.b64encode(_video(task)).decode()
        except SimError as error:
            yield f"<p>No videos: {escape(str(error))}</p>"
            return
        yield (
            f"<h3>{escape(title)}</h3>"
            '<video controls muted loop playsinline style="max-width:100%" '
            f'src="data:video/mp4;base64,{content}"></video>'
        )
    on_video(len(tasks), len(tasks))


def _video(task: TrialTask) -> bytes:
    """Run a trial once more, and return its end as H.264 in MP4."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trial.mp4"
        if task.robot == ARM:
            outcome = repeat_reach(task)
            write_episodes(outcome.trace, file, image_size=_image_size(task.policy))
        else:
            _, trace = repeat_walk(task)
            end = trace.rows(
                slice(int(np.searchsorted(trace.time_s, trace.time_s[-1] - VIDEO_S)), None)
            )
            write_frames(
                frames(
                    end,
                    robot=SimulatedRobot(figures=task.robot).body,
                    rate_hz=_RATE_HZ,
                    width=_WIDTH,
                    height=_HEIGHT,
                    ground=ground_of(task),
                ),
                file,
                total=0,
                rate_hz=_RATE_HZ,
                width=_WIDTH,
                height=_HEIGHT,
            )
        return file.read_bytes()


def _image_size(policy: EvaluatedPolicy) -> tuple[int, int]:
    return arm_image_size(load_bundle(policy.folder, kind=ChunkBundle))
