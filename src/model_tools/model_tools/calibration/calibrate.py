# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From sources to a file of rows to calibrate with, and the report on what they cover."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model_tools.calibration import outputs
from model_tools.calibration.collect import Progress, Selection, collect
from model_tools.calibration.collection import Collection
from model_tools.calibration.measure import measure
from model_tools.calibration.motion import MotionOf
from model_tools.calibration.report import HTML_FILE, JSON_FILE, Calibrated, write_json
from model_tools.calibration.source import Source
from model_tools.calibration.verdict import judge
from model_tools.errors import ToolError
from model_tools.files import new_file, new_folder
from policy_inference.bundle.load import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a user asks for.

    Attributes:
        selection: Which rows.
        batch: Rows in memory while they are collected.
        output: File, or folder for the formats that are one.
        form: One of the formats in `outputs`; None where the name says it.
        report: Folder for the report; None for none.
        force: Whether what is there may be replaced.
        allow_poor: Whether rows are written that will not do.
    """

    selection: Selection
    batch: int
    output: Path
    form: str | None = None
    report: Path | None = None
    force: bool = False
    allow_poor: bool = False


def calibrate(
    bundle: Bundle, sources: Iterable[Source], request: Request, progress: Progress,
    show: Callable[[Calibrated], object],
) -> None:  # fmt: skip
    """Collect rows, report on them, and write them if they will do.

    Args:
        bundle: Of the policy.
        sources: Of rows, one after another; opened after the outputs, since that may take long.
        request: What is asked for.
        progress: Is told how many rows were seen.
        show: Gets what was found, before rows that will not do are refused.

    Raises:
        ToolError: There is no row, one does not fit, or they will not do; or an output cannot be
            written.
        PolicyError: As the sources.
        OSError: A file cannot be read or written.
    """
    form = outputs.format_of(request.output, request.form, bundle.contract)
    with _output(request, form) as place, Collection(place.parent, request.batch) as rows:
        with _report(request) as folder:
            opened, motion = list(sources), MotionOf(bundle)
            name = ", ".join(source.name for source in opened)
            collect(opened, request.selection, rows, progress, motion.watch)
            if not len(rows):
                raise ToolError(f"{name}: expected rows to calibrate with, found none; see --from, "
                                "--to and --every")
            coverage = measure(bundle, rows, motion.found())
            found = Calibrated(name=name, bundle=bundle, coverage=coverage, verdict=judge(coverage))
            if folder is not None:
                # Takes as long to import as a thousand rows take to make.
                from model_tools.calibration.html import write_html

                write_json(found, folder / JSON_FILE)
                write_html(found, folder / HTML_FILE)
        show(found)
        if not found.verdict and not request.allow_poor:
            raise ToolError(f"{name}: expected rows that will do to calibrate with, found: "
                            f"{'; '.join(found.verdict.problems)}; --allow-poor writes them "
                            "nevertheless")
        outputs.write(rows, bundle.contract, form, place, _provenance(found, request))


def _output(request: Request, form: str) -> AbstractContextManager[Path]:
    if form in outputs.FILES:
        return new_file(request.output, force=request.force)
    return new_folder(request.output, marker=outputs.MARKER, owned=outputs.OWNED,
                      force=request.force)


def _report(request: Request) -> AbstractContextManager[Path | None]:
    if request.report is None:
        return nullcontext()
    return new_folder(request.report, marker=JSON_FILE, owned=(JSON_FILE, HTML_FILE),
                      force=request.force)


def _provenance(found: Calibrated, request: Request) -> dict[str, Any]:
    contract, verdict = found.bundle.contract, found.verdict
    return {
        "by": "model_tools calibrate", "source": found.name, "bundle": contract.name,
        "bundle_version": contract.version,
        "bundle_sha256": found.bundle.sha256, "rows": found.coverage.rows,
        "selection": asdict(request.selection),
        "verdict": {"will_do": bool(verdict), "problems": verdict.problems,
                    "warnings": verdict.warnings},
    }  # fmt: skip
