# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles of chunk policies: what is shown of them, and what is odd."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from model_tools import cli
from model_tools.prove.inspect.registry import inspect_path
from policy_inference.interfaces import Tensor
from policy_inference.testing.chunk_bundles import write_chunk_bundle

POLICY = "BPU_ACTPolicy_TransformerLayers"
IMAGENET: Any = {"mode": "mean_std", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
EQUAL = {
    "sizes": {"laptop": (8, 8), "phone": (8, 8)},
    "alike": True,
    **{f"cameras.{name}.normalisation": IMAGENET for name in ("laptop", "phone")},
}


def change_golden(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Change the golden rows, and their hash in the contract."""
    file, contract_file = folder / "golden.npz", folder / "policy.yaml"
    with np.load(file) as data:
        arrays = dict(data)
    change(arrays)
    np.savez(file, **arrays)
    contract = yaml.safe_load(contract_file.read_text("utf-8"))
    contract["golden"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    contract_file.write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")


def test_cameras_units_chunk_and_graphs_are_shown(tmp_path: Path) -> None:
    report = inspect_path(
        write_chunk_bundle(
            tmp_path / "arm", environment=2, **{"cameras.phone.normalisation": IMAGENET}
        )
    )

    rows = dict(report.rows)
    assert report.suspicions == []
    assert rows["chunk"] == (
        "8 steps, 0.267 s; 4 are executed, 0.133 s; ensembling with exp(-0.01 i)"
    )
    assert rows["pairing"] == (
        "frame_time: images and measurements of one time; frames at most 0.05 s apart"
    )
    assert rows["camera laptop"].startswith(
        "24 x 16 from laptop/image_raw -> BPU_ACTPolicy_VisionEncoder_16x24 -> laptop_features; "
    )
    assert rows["statistics laptop"] == "mean_std: mean 0.5, 0.4, 0.3; std 0.25, 0.2, 0.22"
    assert rows["statistics phone"] == "mean_std: those of ImageNet"
    assert rows["unit elbow_flex"] == (
        "degrees, reversed, 0 at 0.1 rad; state 5 ± 15, action 10 ± 15"
    )
    assert rows["unit gripper"].startswith("0 at -0.17453 rad, 100 at 1.74533 rad; ")
    assert rows[f"graph {POLICY}"].endswith("-> Actions float32[1, 8, 3]")
    assert "2 values from the topic goal" in rows["observation.environment_state"]
    assert rows["golden rows"] == "golden.npz"


def test_the_command_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(write_chunk_bundle(tmp_path / "arm"))]) == 0
    assert "camera laptop" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "oddity"),
    [
        ({"state.normalisation.std": [20.0, 0.0, 25.0]}, "state: no spread at elbow_flex: never "),
        ({"cameras.phone.normalisation.std": [0.0, 0.2, 0.2]}, "camera phone: no spread at red: "),
        (
            {"environment": 2, "environment_state.normalisation.max": [-1.0, 3.0]},
            "environment_state: no spread at value 0: ",
        ),
        (
            {"cameras.phone.normalisation.mean": [127.0, 0.4, 0.4]},
            "camera phone: statistics up to 127, images are 0 to 1: taken of 0 to 255?",
        ),
        (EQUAL, "cameras laptop and phone: equal size and statistics, so no figure shows them "),
        ({"action.normalisation.mean": [0.0, 10.0, 130.0]}, "action gripper: values from "),
        (
            {"units.shoulder_pan": {"unit": "radians"}, "state.normalisation.mean": [40.0, 5, 40]},
            "state shoulder_pan: the middle of its values is ",
        ),
        (
            {f"graphs.{POLICY}.artifacts.onnx.precision": "fp16"},
            f"artifact onnx: the contract says fp16, {POLICY}/{POLICY}.onnx holds fp32 weights",
        ),
        ({"limits": {"bpu": {"max_abs": 0.1}}}, "limits bpu: there is no artifact for this back "),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_odd_is_said(tmp_path: Path, changes: dict[str, Any], oddity: str) -> None:
    report = inspect_path(write_chunk_bundle(tmp_path / "arm", **changes))

    assert [text for text in report.suspicions if text.startswith(oddity)]


def test_degrees_that_look_like_radians_are_said(tmp_path: Path) -> None:
    statistics: Any = {"mode": "mean_std", "mean": [0.1, 0.2, 40.0], "std": [0.5, 0.4, 20.0]}
    folder = write_chunk_bundle(tmp_path / "arm", **{"state.normalisation": statistics})

    def in_rad(arrays: dict[str, Tensor]) -> None:
        arrays["state"] = np.radians(arrays["state"].astype(np.float32))

    change_golden(folder, in_rad)

    assert "state: no value in degrees is beyond 4: are they radians?" in (
        inspect_path(folder).suspicions
    )


def test_golden_images_that_are_the_same_are_said(tmp_path: Path) -> None:
    folder = write_chunk_bundle(tmp_path / "arm", sizes={"laptop": (8, 8), "phone": (8, 8)})

    def copied(arrays: dict[str, Tensor]) -> None:
        arrays["cameras.phone"] = arrays["cameras.laptop"]

    change_golden(folder, copied)

    assert inspect_path(folder).suspicions == [
        "golden rows: the images of laptop and phone are the same, which cannot show swapped "
        "cameras"
    ]


def test_missing_and_changed_files_are_said(tmp_path: Path) -> None:
    folder = write_chunk_bundle(tmp_path / "arm")
    (folder / POLICY / f"{POLICY}.onnx").unlink()
    (folder / "golden.npz").write_bytes(b"")

    problems = inspect_path(folder).problems

    assert f"{POLICY}/{POLICY}.onnx is not there" in problems
    assert "golden.npz has another hash than the contract says" in problems
