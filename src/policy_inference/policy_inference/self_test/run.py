# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The complete test of a back end, step by step; results before a failed step are kept."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from policy_core.bundle.bundle import Bundle
from policy_core.bundle.contract import Artifact
from policy_core.bundle.load import load_bundle
from policy_core.errors import BackendError, PolicyError
from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import (
    OpenedModels,
    artifacts_for,
    available,
    loaded,
    open_models,
)
from policy_inference.comparison.rows import Rows
from policy_inference.kinds.kinds import find_kind
from policy_inference.kinds.opening import B, MemberKind
from policy_inference.kinds.parity import Parity, check_opening, parity
from policy_inference.self_test.measuring import AtRate, Clock, Durations
from policy_inference.self_test.trial import TRIALS, Trial, at_rate, back_to_back
from policy_inference.self_test.verdict import Measured, SelfTestVerdict, judged

_log = logging.getLogger("policy_inference")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestRequest:
    """A test request: the model in a bundle folder, a back end, and a duration."""

    folder: Path
    backend: str
    options: Mapping[str, str] = field(default_factory=dict)
    duration_s: float = 10.0


@dataclass(slots=True, kw_only=True, eq=False)
class SelfTestResult:
    """Test results; those not reached because a step failed are None or empty.

    Attributes:
        request: The request.
        bundle: The bundle.
        entries: Opened artifacts, by contract key of the model.
        details: Details that the back end reported on opening.
        parity: The outputs on the golden rows.
        back_to_back: Runs without a pause; for a chunk policy, whole chunks.
        graphs: Durations of a chunk policy's graphs, and the time outside them, in the same chunks.
        at_rate: Ticks at the policy's rate; for a chunk policy, chunks at the rate at which it
            needs them.
        parity_again: The outputs on the golden rows after all runs.
        verdict: Verdict on the results.
        error: Reason why the test ended early.
        trace: Traceback of an unexpected error.
    """

    request: SelfTestRequest
    bundle: Bundle
    entries: Mapping[str, Artifact] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
    parity: Parity | None = None
    back_to_back: Durations | None = None
    graphs: Mapping[str, Durations] = field(default_factory=dict)
    at_rate: AtRate | None = None
    parity_again: Parity | None = None
    verdict: SelfTestVerdict | None = None
    error: str = ""
    trace: str = ""

    def __bool__(self) -> bool:
        """Return True if everything was measured and judged, and is within the limits."""
        return bool(self.verdict)


def self_test(request: SelfTestRequest, clock: Clock | None = None) -> SelfTestResult:
    """Test a back end; a failure ends the test, and is reported in the result.

    Args:
        request: The request.
        clock: Clock for all durations; the machine's own if absent.
    """
    clock = clock or Clock()
    bundle = load_bundle(request.folder)
    found = SelfTestResult(request=request, bundle=bundle)
    try:
        _test(found, clock)
    except (PolicyError, OSError) as error:
        found.error = str(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the report goes to a developer
        found.error, found.trace = f"{type(error).__name__}: {error}", traceback.format_exc()
    return found


def _test(found: SelfTestResult, clock: Clock) -> None:
    request, bundle, name = found.request, found.bundle, found.request.backend
    found.entries = entries = {
        key: entry for key, (entry, _) in artifacts_for(bundle, name).items()
    }
    cls: type[BackendBase] = loaded(available()[name], BackendError)
    kind = find_kind(bundle)
    check_opening(bundle, name, request.options)
    with open_models(bundle.models, [name], {name: request.options}) as models:
        models.warm_up()
        found.details = {
            str(name): str(text)
            for model in models.values()
            for name, text in model.details.items()
        }
        rows = kind.golden_rows(bundle)
        trial = TRIALS[type(bundle)](bundle, models, rows, clock)
        measured = _measured(found, kind, bundle, trial, models, rows, clock)
    found.verdict = judged(kind, bundle, trial, cls, name, entries, measured)


def _measured(
    found: SelfTestResult,
    kind: MemberKind[B],
    bundle: B,
    trial: Trial,
    models: OpenedModels,
    rows: Rows,
    clock: Clock,
) -> Measured:
    """Measure step by step; store each result immediately, since the next step may fail."""
    duration_s = found.request.duration_s
    _log.info("golden rows ...")
    found.parity = same = parity(kind, bundle, models, rows)
    _log.info("%s without a pause, %g s at most ...", kind.runs, duration_s)
    quick = back_to_back(trial, duration_s, clock)
    found.back_to_back = quick.inference
    if quick.graphs:
        found.graphs = {**quick.graphs, "preprocessing": quick.preprocessing}
    _log.info("%g s at %g Hz ...", duration_s, 1e9 / trial.interval_ns)
    found.at_rate = rate = at_rate(trial, duration_s, clock)
    runs = len(rows) + len(quick) + trial.warm_up_ticks + len(rate.runs)
    _log.info("golden rows again ...")
    found.parity_again = again = parity(kind, bundle, models, rows, after_runs=runs)
    return Measured(parity=(same, again), back_to_back=quick, at_rate=rate)
