# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which rows are drawn, in which order, and that they lie on the disk and not in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_tools.errors import ToolError
from model_tools.files.rows import Row
from model_tools.prove.calibration.calibrate import Selection, collect
from model_tools.prove.calibration.collection import Collection
from policy_core.interfaces import Tensor
from testkit.wording import refusal

from .sources import Made, counting, silent

KNOWN = pytest.mark.parametrize("known", [True, False], ids=["count known", "count unknown"])


def one_row(number: int, **tensors: Tensor) -> Row:
    return Row(number=number, time_s=0.0, begins=False, tensors=tensors, sensed={})


def drawn(folder: Path, sources: Sequence[Made], batch: int = 4, **wanted: object) -> list[float]:
    """Return the values of the rows that are drawn."""
    with Collection(folder, batch) as rows:
        selection = Selection(**wanted)  # type: ignore[arg-type]  # of Selection
        collect(sources, selection, rows, silent())
        values = [float(value) for part in rows.batches() for value in part["tensors"]["obs"][:, 0]]
        assert len(values) == len(rows)
    return values


@KNOWN
@given(count=st.integers(1, 99), wanted=st.none() | st.integers(1, 120), every=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_as_many_rows_as_wanted_are_drawn_in_the_order_of_time(
    tmp_path_factory: pytest.TempPathFactory,
    known: bool,
    count: int,
    wanted: int | None,
    every: int,
) -> None:
    source, there = counting(count, known=known), range(0, count, every)
    folder = tmp_path_factory.getbasetemp()
    values = drawn(folder, [source], samples=wanted, every=every)

    assert values == sorted(set(values))
    assert set(values) <= set(there)
    assert len(values) == min(wanted or count, len(there))


@KNOWN
def test_every_row_has_the_same_chance(tmp_path: Path, known: bool) -> None:
    """Each of 40 rows is in 25 of 100 draws; 4.5 deviations of a binomial are 20."""
    counts = np.zeros(40)
    for seed in range(100):
        values = drawn(tmp_path, [counting(40, known=known)], samples=10, seed=seed)
        counts[np.array(values, int)] += 1

    assert counts.sum() == 1000
    assert counts.min() >= 5
    assert counts.max() <= 45


def test_only_rows_that_are_drawn_and_those_after_them_are_made(tmp_path: Path) -> None:
    source = counting(1000)
    values = drawn(tmp_path, [source], samples=10)
    assert source.made == sorted(
        {value + after for value in values for after in range(3) if value + after < 1000}
    )


@KNOWN
def test_several_sources_are_one_collection(tmp_path: Path, known: bool) -> None:
    sources = [counting(30, known=known), counting(70, known=known)]
    values = drawn(tmp_path, sources, samples=60)

    [second] = np.flatnonzero(np.diff(values) <= 0) + 1
    assert 5 <= second <= 30
    assert len(values) == 60
    assert max(values) >= 60


@KNOWN
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused(tmp_path: Path, known: bool, value: float) -> None:
    obs = np.zeros((5, 2), np.float32)
    obs[3, 1] = value
    with refusal(ToolError):
        drawn(tmp_path, [Made({"obs": obs}, known=known)], samples=None)


LARGER_THAN_MEMORY = """
import re, resource, sys
from pathlib import Path
import numpy as np
from model_tools.prove.calibration import calibration_files
from model_tools.prove.calibration.calibrate import Selection, collect
from model_tools.prove.calibration.collection import Collection
from model_tools.prove.calibration.measure import measure
from model_tools.prove.calibration.motion import MotionOf
from model_tools.files.rows import Row
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle

MB = 1 << 20

class Large:
    name, count = "large", None
    def rows(self, wanted):
        random = np.random.default_rng(0)
        for number in range(12_000):
            tensors = {"obs": random.normal(0, 0.1, 45).astype("f4"), "action": np.zeros(12, "f4"),
                       "more": np.full(2048, number, "f4")}
            yield Row(number=number, time_s=number * 0.02, begins=False, tensors=tensors, sensed={})

bundle, folder = load_bundle(Path(sys.argv[1]), kind=JointBundle), Path(sys.argv[2])
used = int(re.search(r"VmData:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 24 * MB,) * 2)
try:
    np.ones(32 * MB, np.uint8)
    sys.exit("the memory has no limit")
except MemoryError:
    pass
with Collection(folder, 32) as rows:
    motion = MotionOf(bundle)
    collect([Large()], Selection(samples=int(sys.argv[3]) or None), rows, lambda *_: None,
            motion.watch)
    found = measure(bundle, rows, motion.found())
    calibration_files.write(rows, bundle.contract, "npz", folder / "calib.npz", {})
print(found.rows, found.different)
"""


@pytest.mark.parametrize(
    "other", [{"obs": np.zeros(3, np.float32)}, {"scan": np.zeros(2, np.float32)}, {}]
)
def test_a_row_with_other_arrays_than_the_first_is_refused(
    tmp_path: Path, other: dict[str, np.ndarray]
) -> None:
    with Collection(tmp_path, 8) as rows:
        rows.add(one_row(0, obs=np.zeros(2, np.float32)))
        with refusal(ToolError):
            rows.add(one_row(1, **other))


@pytest.mark.acceptance
@pytest.mark.parametrize("samples", [0, 8000], ids=["all", "drawn"])
def test_a_collection_larger_than_the_memory_is_written(tmp_path: Path, samples: int) -> None:
    """At least 64 MB of rows with 24 MB to work in."""
    bundle = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_walk"
    count = samples or 12_000
    done = subprocess.run(
        [sys.executable, "-c", LARGER_THAN_MEMORY, str(bundle), str(tmp_path), str(samples)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(count)] * 2
    with np.load(tmp_path / "calib.npz") as written:
        assert written["obs"].shape == (count, 45)
        assert (tmp_path / "calib.npz").stat().st_size > 64 << 20
        assert (np.diff(written["more"][:, 0]) > 0).all()
