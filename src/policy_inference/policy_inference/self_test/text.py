# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Format a self-test's results as lines for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from policy_inference.kinds.parity import Parity
from policy_inference.self_test.measuring import AtRate, Durations
from policy_inference.self_test.run import SelfTestResult
from policy_inference.self_test.verdict import SelfTestVerdict

_LABEL = 14


def lines(found: SelfTestResult) -> Iterator[str]:
    """Yield the results, starting with a title and ending with the verdict."""
    request, bundle = found.request, found.bundle
    precisions = ", ".join(dict.fromkeys(entry.precision for entry in found.entries.values()))
    yield f"{bundle.contract.name} {bundle.contract.version} on {request.backend}" + (
        f" in {precisions}" if precisions else ""
    )
    for key, text in found.details.items():
        yield _line(key, text)
    if found.parity:
        yield _line("parity", _parity(found.parity))
    if found.back_to_back:
        yield _line("back to back", _durations(found.back_to_back))
    for name, durations in found.graphs.items():
        yield _line("  of which", f"{name}: {_durations(durations)}")
    if found.at_rate:
        yield from _at_rate(
            found.at_rate, *(("chunks", "chunk") if found.graphs else ("ticks", "inference"))
        )
    if found.parity_again:
        yield _line("parity again", _parity(found.parity_again))
    if found.verdict is not None:
        yield from _verdict(found.verdict)
    if found.error:
        yield _line("error", found.error)


def _parity(found: Parity) -> str:
    action = found.differences[0]
    row, joint = action.worst
    return (
        f"{len(found.rows)} {found.source}: MAE {action.mae:.3g}, RMSE {action.rmse:.3g}, "
        f"largest {action.max_abs:.3g} ({joint}, row {row}), "
        f"smallest cosine {action.cosine.min():.4g}"
    )


def _at_rate(found: AtRate, what: str, timed: str) -> Iterator[str]:
    runs = found.runs
    yield _line(
        "at its rate",
        f"{len(runs)} {what} in {found.wall_s:.3g} s, {found.missed} missed",
    )
    yield _line(f"  {timed}", _durations(runs.inference))
    yield _line("  observation", _durations(runs.preprocessing))
    for name, one in found.load.series().items():
        yield _line("device", f"{name} {one.min:g} to {one.max:g}, mean {one.mean:.4g}")
    if found.load.unreadable:
        yield _line("device", found.load.unreadable)
    for name, used in found.usage.items():
        share = f"CPU {100 * used.cpu_s / found.wall_s:.3g} %, " if found.wall_s > 0 else ""
        yield _line(
            "process" if name == "this" else name,
            f"{share}{used.peak_bytes / 2**20:.0f} MiB at most",
        )


def _durations(durations: Durations) -> str:
    figures = ", ".join(
        f"{name} {durations.percentile_s(percent) * 1e3:.3g}"
        for name, percent in (("p50", 50), ("p99", 99), ("p99.9", 99.9), ("max", 100))
    )
    return f"{len(durations)} runs: {figures} ms"


def _verdict(verdict: SelfTestVerdict) -> Iterator[str]:
    for check in verdict.checks:
        if not check:
            yield _line("fails", str(check))
    for text in verdict.missing:
        yield _line("not judged", text)
    for text in verdict.left_out:
        yield _line("left out", text)
    held = sum(map(bool, verdict.checks))
    outcome = "holds" if verdict else "not judged" if all(verdict.checks) else "fails"
    yield _line(
        "verdict",
        f"{outcome}: {held} of {len(verdict.checks)} "
        "limits hold" + (f", {len(verdict.missing)} not judged" if verdict.missing else ""),
    )


def _line(label: str, text: str) -> str:
    return f"{label:<{_LABEL}} {textwrap.indent(text, ' ' * (_LABEL + 1)).lstrip()}"
