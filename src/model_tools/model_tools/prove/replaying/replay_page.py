# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One HTML file that shows a flight, what ended it, and whether it was computed right."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

import numpy as np

from model_tools.files.html_page import facts, panel, table, tag, write_page
from model_tools.prove.replaying import flight_plots
from model_tools.prove.replaying.flight import Edge
from model_tools.prove.replaying.replay import Judgement, ReplayedFlight
from model_tools.prove.replaying.replay_report import (
    WHAT,
    counted,
    figures,
    verdict,
)
from model_tools.prove.replaying.shadowing import (
    SHADOW_COLUMNS,
    ShadowedFlight,
    recorded_divergence,
    shadow_line,
    shadow_rows,
)
from model_tools.prove.replaying.stages import TARGET
from policy_inference.comparison.limits import Check
from policy_inference.shadow.divergence import Divergence

_WORDS = (
    "mode",
    "reason",
    "stage",
    "computed again",
    "first difference",
    "figure",
    "where",
    "setting",
    "value",
    "input",
    "limit",
    "",
)


def write_html(found: ReplayedFlight, file: Path, shadow: ShadowedFlight | None = None) -> None:
    """Write the report, with what another policy made of the flight as a shadow."""
    info, flight = found.recording.info, found.flight
    write_page(
        file,
        f"{info.policy}: flight",
        [
            f"<h1>{escape(info.policy)}: {escape(_headline(found))}</h1>",
            f"<p>Recorded on {escape(info.host)} because: {escape(info.reason)}</p>",
            f'<div class="cards">{_what_ran(found)}{_what_happened(found)}{_replayed(found)}</div>',
            panel(flight_plots.overview(flight)),
            "<h2>What happened</h2>",
            panel(table(["s", "tick", "mode", "reason"], list(map(_edge, flight.edges)), _WORDS)),
            *_course(found),
            "<h2>Computed again</h2>",
            f"<p>{escape(found.judgement.value)}: {escape(found.because)}.</p>",
            panel(_stages(found)),
            *_targets(found),
            *_checks(found.checks),
            *_shadows(found, shadow),
            "<h2>Settings</h2>",
            panel(table(["setting", "value"], [[k, v] for k, v in info.settings.items()], _WORDS)),
        ],
    )


def _shadows(found: ReplayedFlight, shadow: ShadowedFlight | None) -> Iterable[str]:
    """Yield the divergence of a shadow that ran in the flight, and of the one that is given."""
    flown = recorded_divergence(found.recording)
    if flown is not None:
        name = found.recording.info.settings.get("shadow.bundle_name", "")
        yield from _shadow(f"Shadow in the flight: {name}", flown)
    if shadow is not None:
        contract = shadow.bundle.contract
        name = f"{contract.name} {contract.version}, {shadow.mode.value}"
        yield from _shadow(f"As a shadow of this flight: {name}", shadow.divergence)


def _shadow(title: str, divergence: Divergence) -> Iterable[str]:
    yield f"<h2>{escape(title)}</h2><p>{escape(shadow_line(divergence))}.</p>"
    yield panel(table(SHADOW_COLUMNS, shadow_rows(divergence), ("joint",)))


def _headline(found: ReplayedFlight) -> str:
    trip, span_s = found.flight.trip, float(found.flight.time_s[-1])
    if trip is None:
        return f"{span_s:.1f} s without a fault"
    return f"{trip.mode.name} at {trip.time_s:.2f} s of {span_s:.1f} s - {trip.reason}"


def _what_ran(found: ReplayedFlight) -> str:
    info = found.recording.info
    return _card(
        "what ran",
        "",
        "good",
        {
            "policy": info.policy,
            "bundle": info.bundle,
            "policy.yaml": f"SHA-256 {info.bundle_sha256[:16]}...",
            "back end": info.backend,
            "on": info.runs_on,
            "host": info.host,
        },
    )


def _what_happened(found: ReplayedFlight) -> str:
    flight, shown = found.flight, figures(found)
    share = {
        name: value for name, value in shown["largest_torque_share"].items() if np.isfinite(value)
    }
    worst = max(share, key=lambda name: share[name], default="")
    rows = {f"in {name}": f"{seconds:.2f} s" for name, seconds in flight.seconds_by_mode.items()}
    rows["largest roll, pitch"] = (
        f"{shown['largest_roll_deg']:.1f}, {shown['largest_pitch_deg']:.1f} degrees"
    )
    if worst:
        rows["largest torque"] = f"{100 * share[worst]:.0f} % of the limit, {worst}"
    ages = shown["largest_age_s"]
    if ages:
        oldest = max(ages, key=lambda name: np.nan_to_num(ages[name]))
        rows["oldest input"] = f"{oldest}, {1e3 * ages[oldest]:.0f} ms"
    rows["tick, p99"] = f"{1e3 * shown['duration_s']['p99']:.2f} ms"
    guard = counted(found.replayer.rules, found.replayer.dropped, found.replayer.coverage.lost)
    rows["guard"] = guard or "changed nothing"
    trip = flight.trip
    kind = "good" if trip is None else "bad"
    return _card("what happened", "no fault" if trip is None else trip.mode.name, kind, rows)


def _replayed(found: ReplayedFlight) -> str:
    stages = found.replayer.stages
    judged = found.judgement is not Judgement.WHAT_IF
    failed = "not the same" if found.differs else "not proven" if found.unproven else "not allowed"
    word = failed if not found else "same" if judged else "what if"
    rows = {
        "with": str(found.bundle.path),
        "back end": f"{found.backend}, {found.runs_on}",
        "judged": found.judgement.value,
        **{
            name: f"{stage.differing} of {stage.judged} ticks differ"
            for name, stage in stages.items()
        },
    }
    kind = "bad" if not found else "good" if judged else "warn"
    return _card("computed again", word, kind, rows, note=verdict(found))


def _card(title: str, word: str, kind: str, rows: dict[str, str], note: str = "") -> str:
    mark = f" {tag(word, kind)}" if word else ""
    text = f"<p><small>{escape(note)}</small></p>" if note else ""
    return f'<div class="card {kind}"><b>{escape(title)}</b>{mark}{facts(rows.items())}{text}</div>'


def _edge(edge: Edge) -> list[str]:
    mark = " (the guard took over)" if edge.trip else ""
    return [f"{edge.time_s:.3f}", str(edge.tick), edge.mode.name, edge.reason + mark]


def _course(found: ReplayedFlight) -> Iterable[str]:
    """Yield the drawings of what was recorded."""
    flight = found.flight
    if np.isfinite(flight.ang_vel_body).any() or np.isfinite(flight.lin_acc_body).any():
        yield "<h2>IMU</h2>" + panel(flight_plots.imu(flight))
    if np.isfinite(flight.velocity).any() or np.isfinite(flight.velocity_command).any():
        yield "<h2>Velocity</h2>" + panel(flight_plots.velocities(flight))
    if np.isfinite(flight.joint_effort).any():
        yield "<h2>Joint torques</h2>" + panel(flight_plots.torques(flight))
    if flight.feet:
        yield "<h2>Foot forces</h2>" + panel(flight_plots.forces(flight))
    part = flight_plots.close_up(flight)
    span = "" if part is flight else f", {part.time_s[0]:.1f} to {part.time_s[-1]:.1f} s"
    yield f"<h2>Joint positions{span}</h2>" + panel(flight_plots.positions(part))
    yield "<h2>Ages and latency</h2>" + panel(flight_plots.times(flight))


def _stages(found: ReplayedFlight) -> str:
    rows = [
        [
            name,
            WHAT[name],
            str(stage.judged),
            str(stage.not_judged),
            str(stage.differing),
            f"{stage.largest:.3g}",
            str(stage.first or ""),
        ]
        for name, stage in found.replayer.stages.items()
    ]
    head = [
        "stage",
        "computed again",
        "judged",
        "not judged",
        "differ",
        "largest",
        "first difference",
    ]
    return table(head, rows, _WORDS)


def _targets(found: ReplayedFlight) -> Iterable[str]:
    """Yield both targets of each joint, where they are not the same."""
    if found.replayer.stages[TARGET].differing:
        yield "<p>Targets of the policy, recorded and computed again:</p>"
        yield panel(flight_plots.targets(found.flight, found.replayer.targets))


def _checks(checks: tuple[Check, ...]) -> Iterable[str]:
    if checks:
        rows = [
            [
                check.what,
                f"{check.value:.3g}",
                check.bound,
                check.where,
                "holds" if check else "fails",
            ]
            for check in checks
        ]
        yield panel(table(["figure", "found", "limit", "where", ""], rows, _WORDS))
