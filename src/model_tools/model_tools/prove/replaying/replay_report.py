# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Report on a replay: what happened in the flight, and whether it was computed correctly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from model_tools.prove.replaying.flight_charts import flight_sections, overview, targets_plot
from model_tools.prove.replaying.replay import Judgement, ReplayedFlight
from model_tools.prove.replaying.shadowing import (
    ShadowedFlight,
    recorded_divergence,
    shadow_figures,
    shadow_parts,
)
from model_tools.prove.replaying.stages import (
    COMMAND,
    GUARD,
    INPUTS,
    OUTPUTS,
    STATE,
    TARGET,
)
from policy_inference.comparison.plain_json import check_figures
from policy_store.report import (
    Cell,
    Facts,
    Part,
    Report,
    Section,
    Table,
    Tone,
    Verdict,
    checks_table,
    plain,
)

_OF_STAGE = (
    "judged",
    "not_judged",
    "differing",
    "largest",
    "mean",
    "tolerance",
    "first",
    "worst",
)
_COMPUTED = {
    "state": "sensors' messages and own past -> state",
    "inputs": "state -> model's inputs",
    "outputs": "inputs -> model's outputs",
    "target": "outputs -> target within bounds",
    "command": "target -> joint command",
    "guard": "state and ages -> mode",
}


def replay_report(found: ReplayedFlight, shadow: ShadowedFlight | None = None) -> Report:
    """Return the report on a replay and, if there was one, on a different policy as a shadow."""
    info, flight = found.recording.info, found.flight
    settings = Table(header=("setting", "value"), rows=list(info.settings.items()))
    edges = [
        (f"{one.time_s:.3f}", one.tick, one.mode.name, one.reason, "the guard" if one.trip else "")
        for one in flight.edges
    ]
    return Report(
        title=f"{info.policy}: {_headline(found)}",
        values=plain(_values(found), 9)
        | ({} if shadow is None else {"shadow": shadow_figures(shadow)}),
        digits=17,  # a shadow's figures can then be compared exactly with a node's
        parts=[
            _flown(found),
            overview(flight),
            Table(header=("s", "tick", "mode", "reason", "took over"), rows=edges),
            *flight_sections(flight),
            Section(title="Recomputed", parts=list(_replayed(found))),
            *_shadows(found, shadow),
            Section(title="Settings", parts=[settings], is_folded=True),
            verdict(found),
        ],
    )


def verdict(found: ReplayedFlight) -> str:
    if found.differs:
        beyond = next((str(check) for check in found.checks if not check), found.first_judged)
        more = "".join(f"; {each}" for each in found.broken)
        return f"not the same commands: {beyond}{more} ({compared(found)})"
    if found.broken:
        return f"not allowed by the contract: {'; '.join(found.broken)} ({compared(found)})"
    if found.unproven:
        return f"not proven: {'; '.join(found.unproven)} ({compared(found)})"
    if found.judgement is Judgement.WHAT_IF:
        command = found.replayer.stages[COMMAND]
        return (
            f"a different policy: the command differs in {command.differing} of {command.judged} "
            f"ticks that could be compared, of {len(found.flight.time_s)} in total"
        )
    exact = found.judgement is Judgement.EXACT
    again = "bit for bit" if exact else "within the limits of its precision"
    rested = "" if found.replayer.coverage.run else "; the policy did not run"
    return f"the replay gave the same commands, {again}{rested} ({compared(found)})"


def compared(found: ReplayedFlight) -> str:
    """Describe what was compared, and in how many ticks."""
    coverage, stages = found.replayer.coverage, found.replayer.stages
    others = [f"{name} {stages[name].judged}" for name in (COMMAND, GUARD)]
    of_run = (STATE, INPUTS, OUTPUTS, TARGET)
    policy = [f"{name} {stages[name].judged}" for name in of_run if name in stages]
    text = (
        f"{coverage.ticks} ticks, {coverage.run} of them in RUN; compared: "
        f"{', '.join(others + policy)}"
    )
    if coverage.lost:
        text += f"; {coverage.lost} ticks are missing"
    if coverage.run and coverage.never_sensed:
        text += f"; without messages for {', '.join(coverage.never_sensed)}"
    return text


def _headline(found: ReplayedFlight) -> str:
    trip, span_s = found.flight.trip, float(found.flight.time_s[-1])
    if trip is None:
        return f"{span_s:.1f} s without a fault"
    return f"{trip.mode.name} at {trip.time_s:.2f} s of {span_s:.1f} s - {trip.reason}"


def _flown(found: ReplayedFlight) -> Facts:
    info, flight, shown = found.recording.info, found.flight, figures(found)
    rows: list[tuple[str, Cell]] = [
        ("recording", str(found.recording.path)),
        ("policy", info.policy),
        ("bundle", f"{info.bundle}, SHA-256 {info.bundle_sha256[:16]}..."),
        ("back end", f"{info.backend} on {info.runs_on}"),
        ("host", info.host),
        ("recorded because", info.reason),
        ("ticks", len(flight.time_s)),
        *((f"in {name}, s", seconds) for name, seconds in flight.seconds_by_mode.items()),
        ("largest roll, degrees", shown["largest_roll_deg"]),
        ("largest pitch, degrees", shown["largest_pitch_deg"]),
        ("tick, p99, ms", 1e3 * shown["duration_s"]["p99"]),
        ("guard", counted(found) or "changed nothing"),
        *((f"unreadable messages, {name}", n) for name, n in found.replayer.unreadable.items()),
    ]
    if torque := _find_largest(shown["largest_torque_share"]):
        rows.append((f"largest torque, % of the limit, {torque[0]}", 100 * torque[1]))
    if age := _find_largest(shown["largest_age_s"]):
        rows.append((f"oldest input, ms, {age[0]}", 1e3 * age[1]))
    trip = flight.trip
    word = Verdict("no fault", Tone.GOOD) if trip is None else Verdict(trip.mode.name, Tone.BAD)
    return Facts(title="flight", rows=rows, verdict=word)


def _find_largest(values: dict[str, float]) -> tuple[str, float] | None:
    known = {name: value for name, value in values.items() if np.isfinite(value)}
    return max(known.items(), key=lambda item: item[1], default=None)


def _replayed(found: ReplayedFlight) -> Iterator[Part]:
    judged = found.judgement is not Judgement.WHAT_IF
    failed = "not the same" if found.differs else "not proven" if found.unproven else "not allowed"
    tone = Tone.BAD if not found else Tone.GOOD if judged else Tone.WARN
    word = failed if not found else "same" if judged else "what if"
    rows: list[tuple[str, Cell]] = [
        ("with", str(found.bundle.path)),
        ("back end", f"{found.backend} on {found.runs_on}"),
        ("judged", f"{found.judgement.value} ({found.because})"),
    ]
    if found.tightened:
        rows.append(("tightened", "; ".join(found.tightened)))
    if found.first:
        within = " (within the limits)" if found.judgement is Judgement.LIMITS and found else ""
        rows.append(("first difference", f"{found.first}{within}"))
    yield Facts(title="recomputed", rows=rows, verdict=Verdict(word, tone))
    yield Table(
        header=("stage", "recomputed", "judged", "not judged", "differ", "largest", "mean"),
        rows=[
            (
                name,
                _COMPUTED[name],
                stage.judged,
                stage.not_judged,
                stage.differing,
                stage.largest,
                stage.mean,
            )
            for name, stage in found.replayer.stages.items()
        ],
    )
    if found.replayer.stages[TARGET].differing:
        yield targets_plot(found.flight, found.replayer.targets)
    yield checks_table(found.checks)


def _shadows(found: ReplayedFlight, shadow: ShadowedFlight | None) -> Iterator[Section]:
    flown = recorded_divergence(found.recording)
    if flown is not None:
        name = found.recording.info.settings.get("shadow.bundle_name", "")
        yield Section(title=f"Shadow in the flight: {name}", parts=shadow_parts(flown))
    if shadow is not None:
        contract = shadow.bundle.contract
        yield Section(
            title=f"As a shadow: {contract.name} {contract.version}, {shadow.mode.value}",
            parts=[
                *shadow_parts(shadow.divergence),
                *(f"contract: {one}" for one in shadow.differences),
            ],
        )


def counted(found: ReplayedFlight) -> str:
    """Describe the guard's actions and the lost ticks; may be empty."""
    replayer, lost = found.replayer, found.replayer.coverage.lost
    said = [f"{rule} in {count} ticks" for rule, count in replayer.rules.items()]
    said += [f"answer dropped in {count} ticks ({why})" for why, count in replayer.dropped.items()]
    return "; ".join(said + ([f"{lost} ticks are not in the recording"] if lost else []))


def _values(found: ReplayedFlight) -> dict[str, Any]:
    info, flight, replayer = found.recording.info, found.flight, found.replayer
    return {
        "recording": str(found.recording.path),
        "reason": info.reason,
        "policy": info.bundle_name,
        "version": info.bundle_version,
        "bundle_sha256": info.bundle_sha256,
        "backend": info.backend,
        "runs_on": info.runs_on,
        "host": info.host,
        "begins_ns": next(iter(found.recording.ticks())).stamp_ns,
        "settings": dict(info.settings),
        "ticks": len(found.flight.time_s),
        "seconds_by_mode": flight.seconds_by_mode,
        "timeline": [{**asdict(edge), "mode": edge.mode.name} for edge in flight.edges],
        "replayed": {
            "bundle": str(found.bundle.path),
            "bundle_sha256": found.bundle.sha256,
            "backend": found.backend,
            "runs_on": found.runs_on,
            "judged": found.judgement.name.lower(),
            "because": found.because,
            "unproven": found.unproven,
            "compared": compared(found),
            "broken_limits": list(found.broken),
            "tightened": list(found.tightened),
            "same": bool(found) if found.judgement is not Judgement.WHAT_IF else None,
            "first_difference": found.first,
            "stages": {
                name: {key: getattr(stage, key) for key in _OF_STAGE}
                for name, stage in replayer.stages.items()
            },
            "checks": check_figures(found.checks),
        },
        "guard": dict(replayer.rules),
        "dropped": dict(replayer.dropped),
        "unreadable_messages": dict(replayer.unreadable),
        "lost_ticks": replayer.coverage.lost,
        "figures": figures(found),
    }


def figures(found: ReplayedFlight) -> dict[str, Any]:
    """Return the flight's largest values, and percentiles of tick durations; NaN if unknown."""
    flight = found.flight
    roll, pitch = np.degrees(flight.rpy_rad[:, 0]), np.degrees(flight.rpy_rad[:, 1])
    share = np.abs(flight.joint_effort) / flight.effort_limit
    return {
        "largest_roll_deg": _largest(roll),
        "largest_pitch_deg": _largest(pitch),
        "largest_torque_share": dict(zip(flight.joints, map(_largest, share.T), strict=True)),
        "largest_foot_force_n": dict(zip(flight.feet, map(_largest, flight.forces.T), strict=True)),
        "largest_age_s": {name: _largest(ages) for name, ages in flight.ages_s.items()},
        "duration_s": {
            "p50": np.percentile(flight.duration_s, 50.0),
            "p99": np.percentile(flight.duration_s, 99.0),
            "max": _largest(flight.duration_s),
        },
    }


def _largest(values: Any) -> float:
    known = np.abs(values)[np.isfinite(values)]
    return float(known.max()) if known.size else float("nan")
