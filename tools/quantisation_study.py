# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Accuracy of an int8 model by calibration data: a recorded rollout, noise, or zeros.

    python -m tools.quantisation_study --bundle bundles/lite3_deeprobotics --rollout rollout.npz

Compiles the bundle's reference model three times, calibrated on the same number of rows: rows of
the rollout, evenly spaced; draws from N(0, 1); zeros. Prints the RMSE and the smallest cosine of
the outputs on the held-out rows of the rollout. Draws from N(0, 1) differ, so the median of several
is shown, and their range.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_tools.files.row_files import read_rows
from model_tools.prove.calibration.measure import FEWEST
from model_tools.ship.compilers.onnx import quantise
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import PolicyError
from policy_core.interfaces import Tensor
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.comparison.open_loop import Difference, difference
from policy_inference.comparison.rows import Rows, evenly, play
from policy_store.report import Table
from policy_store.report_terminal import print_parts

DRAWS = 9
_log = logging.getLogger("quantisation_study")
Samples = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Results of one kind of calibration: medians, and all its draws."""

    calibration: str
    rmse: tuple[float, ...]
    cosine_min: tuple[float, ...]

    @property
    def medians(self) -> tuple[float, float]:
        """RMSE and smallest cosine."""
        return float(np.median(self.rmse)), float(np.median(self.cosine_min))


def study(
    bundle: JointBundle, rollout: Path, rows: int = FEWEST, draws: int = DRAWS
) -> list[Figures]:
    """Measure the three calibrations.

    Args:
        bundle: JointBundle with the reference model.
        rollout: Recorded rows of its inputs, more than `rows`.
        rows: Rows to calibrate on.
        draws: Draws from N(0, 1), seeds 0, 1, ...
    """
    recorded = read_rows(rollout, bundle)
    chosen = evenly(len(recorded), rows)
    taken = {name: array[chosen] for name, array in recorded.inputs.items()}
    kept = {name: np.delete(array, chosen, axis=0) for name, array in recorded.inputs.items()}
    zeros = {name: np.zeros_like(array) for name, array in taken.items()}
    kinds: dict[str, list[Samples]] = {
        "rollout": [taken],
        "N(0, 1)": [_noise(taken, seed) for seed in range(draws)],
        "zeros": [zeros],
    }
    return [_measure(bundle, name, samples, kept) for name, samples in kinds.items()]


def _noise(like: Samples, seed: int) -> Samples:
    random = np.random.default_rng(seed)
    return {
        name: random.standard_normal(array.shape).astype(array.dtype)
        for name, array in like.items()
    }


def _measure(bundle: JointBundle, name: str, draws: Sequence[Samples], kept: Samples) -> Figures:
    _, model = bundle.artifact("onnx")
    action = bundle.contract.action.output
    expected = _outputs(bundle, model, kept)[action]
    found = [_difference(bundle, model, samples, kept, expected) for samples in draws]
    return Figures(
        calibration=name,
        rmse=tuple(one.rmse for one in found),
        cosine_min=tuple(float(one.cosine.min()) for one in found),
    )


def _difference(
    bundle: JointBundle, model: Path, samples: Samples, kept: Samples, expected: Tensor
) -> Difference:
    action = bundle.contract.action.output
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "int8.onnx")
        quantise(model, file, samples)
        found = _outputs(bundle, file, kept)[action]
    return difference(action, tuple(map(str, range(found[0].size))), found, expected)


def _outputs(bundle: JointBundle, file: Path, rows: Samples) -> dict[str, Tensor]:
    contract, model = bundle.contract, bundle.contract.model
    backend = OnnxBackend(file, model.input_specs, model.output_specs)
    try:
        return play(backend, Rows(source="a study", inputs=rows, outputs={}), contract.state)
    finally:
        backend.close()


def table(found: Sequence[Figures], rows: int) -> Table:
    """Return the figures as a table."""
    return Table(
        title=f"int8, calibrated on {rows} rows, on the rows held back",
        header=("calibration", "RMSE", "smallest cosine", "RMSE, least", "RMSE, largest"),
        rows=[(one.calibration, *one.medians, min(one.rmse), max(one.rmse)) for one in found],
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(
        prog="quantisation_study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--rollout", type=Path, required=True, help="recorded rows, .npz")
    parser.add_argument(
        "--rows", type=int, default=FEWEST, help=f"rows to calibrate on (default {FEWEST})"
    )
    parser.add_argument(
        "--draws", type=int, default=DRAWS, help=f"draws from N(0, 1) (default {DRAWS})"
    )
    given = parser.parse_args(args)
    try:
        found = study(
            load_bundle(given.bundle, kind=JointBundle), given.rollout, given.rows, given.draws
        )
    except (PolicyError, OSError) as error:
        _log.error("quantisation_study: %s", error)
        return 1
    print_parts([table(found, given.rows)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
