# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`calibrate success`: a new bundle with a signal, its threshold and its error."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from model_tools import cli
from model_tools.errors import ToolError
from model_tools.prove.calibration.success import best_threshold, judged_episodes
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import BackendError
from policy_inference.backends.registry import open_models
from policy_inference.kinds.chunk import ChunkKind
from policy_inference.kinds.parity import parity, require_parity
from policy_inference.testing.models import save
from testkit.chunk_bundles import write_chunk_bundle
from testkit.wording import check_wording, refusal

from ..files.lerobot.small_dataset import write_dataset

SIZES = {"laptop": (48, 64), "phone": (48, 64)}
Calibrate = Callable[..., Path]


def save_classifier(
    file: Path, camera: str = "phone", size: tuple[int, int] = SIZES["phone"]
) -> Path:
    """Write a classifier to which images are done that are greener than those of episode 1."""
    rows = {
        "weight": np.array([[0.0], [6.0], [0.0]], np.float32),
        "offset": np.array([-3.8], np.float32),
    }
    nodes = [
        helper.make_node("GlobalAveragePool", [camera], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["colour"]),
        helper.make_node("Gemm", ["colour", "weight", "offset"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    return save(file, nodes, {camera: (1, 3, *size)}, {"probability": (1, 1)}, rows)


@pytest.fixture
def calibrate(tmp_path: Path) -> Calibrate:
    bundle = write_chunk_bundle(tmp_path / "arm", sizes=SIZES)
    dataset = write_dataset(tmp_path / "dataset", (12, 9, 15, 12), succeeded=(2, 3))
    classifier = save_classifier(tmp_path / "done.onnx")

    def apply(
        *more: str, status: int = 0, source: str = f"--classifier {classifier}", to: str = "made"
    ) -> Path:
        words = f"--episodes {dataset} --version 2.0.0 --output {tmp_path / to} {source}"
        before = () if "--bundle" in more else ("--bundle", str(bundle))
        assert cli.main(["calibrate", "success", *before, *words.split(), *more]) == status
        return tmp_path / to

    return apply


def test_the_new_bundle_has_the_signal_and_proves_its_classifier(calibrate: Calibrate) -> None:
    bundle = load_bundle(calibrate("--for", "0.1", "--then", "end"), kind=ChunkBundle)
    signal, old = bundle.contract.success, load_bundle(bundle.path.parent / "arm")
    assert signal is not None
    assert signal.error is not None
    assert (signal.graph, signal.for_s, signal.then) == ("Success", 0.1, "end")
    assert (bundle.contract.version, old.contract.version) == ("2.0.0", "1.0.0")
    assert signal.threshold is not None
    assert 0.3 < signal.threshold < 0.7
    error = signal.error
    assert (error.source, error.successes, error.failures) == ("dataset", 2, 2)
    assert (error.false_positive_rate, error.false_negative_rate) == (0.0, 0.0)
    bundle.verify()

    kind = ChunkKind()
    with open_models(bundle.models, ["onnx"]) as models:
        rows = kind.golden_rows(bundle)
        require_parity(kind, bundle, models, rows)
        *_, probabilities = parity(kind, bundle, models, rows).differences
        other = dataclasses.replace(
            rows,
            outputs={**rows.outputs, "success": 1.0 - rows.outputs["success"].astype(np.float64)},
        )
        with refusal(BackendError):
            require_parity(kind, bundle, models, other)
    assert probabilities.output == "success"
    assert probabilities.max_abs < 1e-6


def test_a_signal_is_calibrated_again_and_joints_take_the_place_of_a_classifier(
    calibrate: Calibrate,
) -> None:
    made = calibrate("--for", "0.1")
    again = calibrate("--bundle", str(made), source="--version 3.0.0", to="again")
    signals = [load_bundle(each, kind=ChunkBundle).contract.success for each in (made, again)]
    assert signals[0] == signals[1]

    joints = calibrate("--for", "0", source="--joint gripper=0.2:1.7", to="joints")
    signal = load_bundle(joints, kind=ChunkBundle).contract.success
    assert signal is not None
    assert signal.error is not None
    assert (signal.graph, signal.threshold, signal.joints) == (None, None, {"gripper": (0.2, 1.7)})
    assert signal.error.false_positive_rate == 1.0


def test_the_classifier_gets_samples_to_compile_with(calibrate: Calibrate) -> None:
    made = calibrate("--for", "0.1")
    words = f"--bundle {made} --dataset {made.parent / 'dataset'} --samples 8"
    samples = made.parent / "samples"
    assert cli.main(["calibrate", *words.split(), "--output", str(samples)]) == 0
    images = np.load(samples / "Success" / "0_phone.npy")
    assert images.shape == (8, 3, 48, 64)
    assert (np.abs(images).max(axis=(1, 2, 3)) > 0.1).all()


def test_what_cannot_be_calibrated_is_refused_and_leaves_nothing(
    calibrate: Calibrate, caplog: pytest.LogCaptureFixture
) -> None:
    made = calibrate(status=4)  # not for how long
    assert not made.exists()
    calibrate("--for", "1", source="", status=4)
    calibrate("--for", "1", source="--joint knee=0:1", status=4)
    calibrate("--for", "1", "--version", "1.0.0", status=4)
    assert not made.exists()
    check_wording(*(record.getMessage() for record in caplog.records))
    calibrate("--for", "0.1")
    calibrate("--for", "0.1", status=4)  # it is there already


def test_recordings_without_a_verdict_are_left_out(tmp_path: Path) -> None:
    bundle = write_chunk_bundle(tmp_path / "arm", sizes=SIZES)
    with refusal(ToolError):
        judged_episodes(load_bundle(bundle, kind=ChunkBundle).contract, tmp_path)


@pytest.mark.parametrize(
    ("scores", "succeeded", "threshold"),
    [
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 0.5),
        ([0.1, 0.2, 0.3, 0.9], [0, 1, 0, 1], 0.6),
        ([0.0, 0.0, 0.0, 0.0], [0, 0, 1, 1], 0.5),
    ],
)
def test_the_threshold_has_the_fewest_errors_and_the_widest_gap(
    scores: list[float], succeeded: list[int], threshold: float
) -> None:
    found = best_threshold(np.array(scores), np.array(succeeded, bool))
    assert found == pytest.approx(threshold)
