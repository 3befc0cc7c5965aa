# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Collects calibration rows from sources into a file, and reports their coverage."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError, VerdictError
from model_tools.files.outputs import new_file, new_folder
from model_tools.files.rows import Row, RowSource
from model_tools.prove.calibration import calibration_files
from model_tools.prove.calibration.calibration_report import (
    HTML_FILE,
    JSON_FILE,
    Calibrated,
    calibration_report,
)
from model_tools.prove.calibration.collection import Collection
from model_tools.prove.calibration.measure import measure
from model_tools.prove.calibration.motion import FOLLOWED, MotionOf
from model_tools.prove.calibration.verdict import CalibrationVerdict, judge
from model_tools.prove.local_loop.environment import Observations, UsersPolicy, opened
from model_tools.prove.local_loop.loop import Fed, in_turn, input_sizes
from policy_core.bundle.bundle import JointBundle
from policy_core.interfaces import F32, Tensor, row_shape
from policy_inference.backends.registry import open_backend
from policy_inference.comparison.rows import Rows, play


class EnvironmentSource:
    """Rows from a given number of steps in an environment, episode after episode."""

    def __init__(
        self,
        bundle: JointBundle,
        environment: str,
        *,
        steps: int,
        policy: str | None = None,
        seed: int | None = None,
    ) -> None:
        """Prepare; `rows` runs the environment.

        Args:
            bundle: Bundle whose reference model receives every observation, and acts unless
                `policy` does.
            environment: `module:function` that returns the environment.
            steps: Number of steps.
            policy: `module:Class` of a policy that acts instead of the model.
            seed: Seed of the environment's first episode.
        """
        self.name = environment if policy is None else f"{environment} under {policy}"
        self.count: int | None = steps
        self._steps = steps
        self._bundle, self._environment = bundle, environment
        self._policy, self._seed = policy, seed

    def rows(self, wanted: Sequence[int] | None) -> Iterator[Row]:
        bundle, contract = self._bundle, self._bundle.contract
        users = None if self._policy is None else UsersPolicy(self._policy, contract)
        backend, _ = open_backend(bundle, ["onnx"])
        try:
            model = Fed(bundle, backend)

            def act(observations: Observations, inputs: Observations, begins: bool) -> F32:
                action = model.run(inputs, begins)
                return action if users is None else users.act(observations)

            numbers = None if wanted is None else set(wanted)
            tensors = {
                name: array.reshape(row_shape(array.shape))
                for arrays in (backend.inputs, backend.outputs)
                for name, array in arrays.items()
            }
            with opened(self._environment, input_sizes(contract)) as environment:
                moments = in_turn(environment, bundle, act, self._seed)
                for number in range(self._steps):
                    moment = next(moments)
                    if numbers is None or number in numbers:
                        yield Row(
                            number=number,
                            time_s=number * contract.period_ns * 1e-9,
                            begins=moment.begins,
                            tensors=tensors,
                            sensed={},
                        )
        finally:
            backend.close()


class RowsFileSource:
    """The rows in a file as `read_rows` returns them, all in memory."""

    def __init__(self, bundle: JointBundle, rows: Rows) -> None:
        self._rows, self._period_s = rows, bundle.contract.period_ns * 1e-9
        self.name, self.count = rows.source, len(rows) or None
        self._tensors: dict[str, Tensor] = {**self._rows.inputs, **self._rows.outputs}
        tensors = bundle.contract.model
        if not {*tensors.inputs, *tensors.outputs} <= self._tensors.keys():
            backend, _ = open_backend(bundle, ["onnx"])
            try:
                self._tensors = play(
                    backend, self._rows, bundle.contract.state, bundle.initial_state
                )
            finally:
                backend.close()

    def rows(self, wanted: Sequence[int] | None) -> Iterator[Row]:
        breaks = {0, *self._rows.breaks}
        for number in range(len(self._rows)) if wanted is None else wanted:
            yield Row(
                number=number,
                time_s=number * self._period_s,
                begins=number in breaks,
                tensors={name: array[number] for name, array in self._tensors.items()},
                sensed={name: array[number] for name, array in self._rows.sensed.items()},
            )


_BATCH = 32
_APART_S = 60.0
"""Gap between sources on the common time axis, which shows that their rows are not consecutive."""
Progress = Callable[[int, int | None], None]
"""Called with the number of rows so far, and the maximum total if known."""
Watch = Callable[[Row], object]
"""Called with each row that may be drawn, and with the rows right after drawn ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRequest:
    """Options for a calibration.

    Attributes:
        selection: Which rows to use.
        batch: Number of rows in memory during collection.
        output: File, or folder for folder formats.
        form: One of the formats in `calibration_files`; None to choose by the output's name.
        report: Folder for the report; None for no report.
        force: Replace existing outputs.
        allow_poor: Write the rows even if they failed the quality check.
    """

    selection: Selection
    batch: int
    output: Path
    form: str | None = None
    report: Path | None = None
    force: bool = False
    allow_poor: bool = False


def calibrate(
    bundle: JointBundle,
    sources: Iterable[RowSource],
    request: CalibrationRequest,
    progress: Progress,
    show: Callable[[Calibrated], object],
) -> None:
    """Collect rows, report on them, and write them if they pass the quality check.

    Args:
        bundle: Bundle of the policy.
        sources: Sources of rows, used in order; they are opened after the outputs, since opening
            them may take a long time.
        request: Options for the calibration.
        progress: Called with the number of rows so far.
        show: Called with the results before rows that failed the quality check are refused.
    """
    form = calibration_files.choose_format(request.output, request.form, bundle.contract)
    with _output(request, form) as place, Collection(place.parent, request.batch) as rows:
        with _report(request) as folder:
            opened, motion = list(sources), MotionOf(bundle)
            name = ", ".join(source.name for source in opened)
            collect(opened, request.selection, rows, progress, motion.watch)
            if not len(rows):
                raise ToolError(
                    f"{name}: expected calibration rows, found none; see --from, --to and --every"
                )
            coverage = measure(bundle, rows, motion.found())
            found = Calibrated(name=name, bundle=bundle, coverage=coverage, verdict=judge(coverage))
            if folder is not None:
                # Importing it takes as long as processing a thousand rows.
                from model_tools.files.report_page import write_page

                report = calibration_report(found)
                report.write_json(folder / JSON_FILE)
                write_page(report, folder / HTML_FILE)
        show(found)
        if not request.allow_poor:
            refuse_poor(name, found.verdict)
        verdict = found.verdict
        provenance = {
            **calibration_files.describe_origin(bundle, name),
            "rows": coverage.rows,
            "selection": asdict(request.selection),
            "verdict": {
                "usable": bool(verdict),
                "problems": verdict.problems,
                "warnings": verdict.warnings,
            },
        }
        calibration_files.write(rows, bundle.contract, form, place, provenance)


def verdict_on(bundle: JointBundle, rows: Rows) -> CalibrationVerdict:
    """Return the verdict on calibrating with all rows of a file."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Collection(Path(folder), _BATCH) as collected,
    ):
        motion, source = MotionOf(bundle), RowsFileSource(bundle, rows)
        collect([source], Selection(samples=None), collected, lambda *_: None, motion.watch)
        return judge(measure(bundle, collected, motion.found()))


def refuse_poor(name: str, verdict: CalibrationVerdict) -> None:
    if not verdict:
        raise VerdictError(
            f"{name}: expected rows that are usable for calibration, found: "
            f"{'; '.join(verdict.problems)}; --allow-poor accepts them anyway"
        )


def _output(request: CalibrationRequest, form: str) -> AbstractContextManager[Path]:
    if form in calibration_files.FILES:
        return new_file(request.output, force=request.force)
    return new_folder(
        request.output,
        marker=calibration_files.MARKER,
        owned=calibration_files.OWNED,
        force=request.force,
    )


def _report(request: CalibrationRequest) -> AbstractContextManager[Path | None]:
    if request.report is None:
        return nullcontext()
    return new_folder(
        request.report, marker=JSON_FILE, owned=(JSON_FILE, HTML_FILE), force=request.force
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """States which rows of the sources to use.

    Attributes:
        samples: Rows to draw; None for all.
        every: Only ticks whose number is a multiple of this are taken.
        from_s, to_s: Time range since the first tick; None for no end.
        seed: Seed of the sampling: the same seed and source give the same rows.
    """

    samples: int | None = 2048
    every: int = 1
    from_s: float = 0.0
    to_s: float | None = None
    seed: int = 0

    @property
    def whole(self) -> bool:
        return self.from_s <= 0.0 and self.to_s is None

    def takes(self, row: Row) -> bool:
        return row.number % self.every == 0 and self.spans(row)

    def spans(self, row: Row) -> bool:
        return row.time_s >= self.from_s and (self.to_s is None or row.time_s <= self.to_s)


def collect(
    sources: Sequence[RowSource],
    wanted: Selection,
    into: Collection,
    progress: Progress,
    watch: Watch = lambda row: None,
) -> None:
    """Draw rows from sources, in order, into an empty collection.

    If all sources know their number of ticks, tick numbers are drawn beforehand, so that only those
    are computed; otherwise, each row has the same chance of being kept when it arrives (reservoir
    sampling, Vitter, "Random sampling with a reservoir", ACM TOMS 11 (1985), algorithm R).
    """
    random = np.random.default_rng(wanted.seed)
    rows = _in_a_row(sources, wanted, random, progress, watch)
    for seen, row in enumerate(rows):
        if wanted.samples is None or seen < wanted.samples:
            into.add(row)
        elif (place := int(random.integers(seen + 1))) < wanted.samples:
            into.replace(place, row)
    if wanted.samples is not None and len(into):
        into.sort()


def _in_a_row(
    sources: Sequence[RowSource],
    wanted: Selection,
    random: np.random.Generator,
    progress: Progress,
    watch: Watch,
) -> Iterator[Row]:
    """Yield the rows that may be drawn, with numbers and times continued from source to source."""
    numbers = _drawn(sources, wanted, random)
    counts = [
        source.count if drawn is None else len(drawn)
        for source, drawn in zip(sources, numbers, strict=True)
    ]
    total = None if None in counts else sum(count or 0 for count in counts)
    seen, number, time_s = 0, 0, 0.0
    for source, drawn in zip(sources, numbers, strict=True):
        last, last_s = -1, 0.0
        made: list[int] | None = None
        if drawn is not None:
            # The ticks after the drawn ones show whether the robot moves as commanded.
            after = {each + ticks for each in drawn for ticks in range(FOLLOWED + 1)}
            made = sorted(each for each in after if each < (source.count or 0))
        for row in source.rows(made):
            if wanted.spans(row):
                watch(row)
            last, last_s = row.number, row.time_s
            if drawn is not None and row.number not in drawn:
                continue
            seen += 1
            progress(seen, total)
            if wanted.takes(row):
                yield replace(row, number=number + last, time_s=time_s + last_s)
        number, time_s = number + last + 1, time_s + last_s + _APART_S


def _drawn(
    sources: Sequence[RowSource], wanted: Selection, random: np.random.Generator
) -> Sequence[frozenset[int] | None]:
    """Return for each source the tick numbers to compute, if they can be drawn beforehand."""
    counts = [source.count for source in sources]
    if None in counts or wanted.samples is None or not wanted.whole:
        return [None] * len(sources)
    parts = [np.arange(0, count or 0, wanted.every) for count in counts]
    numbers, of = np.concatenate(parts), np.repeat(np.arange(len(parts)), [*map(len, parts)])
    if len(numbers) > wanted.samples:
        chosen = random.choice(len(numbers), wanted.samples, replace=False)
        numbers, of = numbers[chosen], of[chosen]
    return [frozenset(numbers[of == place].tolist()) for place in range(len(parts))]
