# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`model_tools compare` with chunk policies: what it finds, refuses, shows and keeps."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import numpy_helper

from model_tools import cli
from model_tools.errors import ToolError
from model_tools.prove.comparison.candidates import candidates
from model_tools.prove.comparison.compare import Compared, compare
from model_tools.prove.inspect.registry import inspect_path
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from testkit.chunk_bundles import write_chunk_bundle
from testkit.wording import check_wording, refusal

from ...files.lerobot.small_dataset import HEIGHT, WIDTH, write_dataset
from ...tiny_bundle import make_bundle

POLICY, ENCODER = "BPU_ACTPolicy_TransformerLayers", "BPU_ACTPolicy_VisionEncoder"
SIZES: Any = {"laptop": (16, 24), "phone": (16, 24)}
OF_DATASET: Any = {"laptop": (HEIGHT, WIDTH), "phone": (HEIGHT, WIDTH)}


@pytest.fixture
def ref_arm(tmp_path: Path) -> Path:
    return write_chunk_bundle(tmp_path / "reference", sizes=SIZES)


def compare_chunks(*args: object) -> int:
    return cli.main(["compare", *map(str, args)])


def other_graph(
    folder: Path,
    change: Callable[[onnx.ModelProto], None],
    graph: str = POLICY,
    precision: str = "fp32",
    sizes: Any = SIZES,
    **changes: Any,
) -> Path:
    write_chunk_bundle(folder, sizes=sizes, **changes)
    file, contract_file = folder / graph / f"{graph}.onnx", folder / "policy.yaml"
    model = onnx.load(file)
    change(model)
    onnx.save(model, str(file))
    contract = yaml.safe_load(contract_file.read_text("utf-8"))
    contract["graphs"][graph]["artifacts"]["onnx"] |= {
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "precision": precision,
    }
    contract_file.write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    return folder


def with_constant(name: str, change: Callable[[Any], Any]) -> Callable[[onnx.ModelProto], None]:
    def apply(model: onnx.ModelProto) -> None:
        (constant,) = (one for one in model.graph.initializer if one.name == name)
        array = change(numpy_helper.to_array(constant).copy())
        constant.CopyFrom(numpy_helper.from_array(array.astype(np.float32), name))

    return apply


def same_function(model: onnx.ModelProto) -> None:
    """The same function in another file."""
    model.doc_string = "again"


def compared_chunks(*folders: Path, rows: Sequence[Path] = ()) -> list[Compared]:
    bundles = [load_bundle(folder, kind=ChunkBundle) for folder in folders]
    return compare(candidates(bundles, ["onnx"], {}), rows)


def failed(one: Compared) -> set[str]:
    return {check.what for check in one.checks if not check}


def test_identical_graphs_compare_equal_and_the_wiring_is_proven(
    ref_arm: Path, tmp_path: Path
) -> None:
    first, second = compared_chunks(ref_arm, other_graph(tmp_path / "same", same_function))

    assert first
    assert second
    (rows,) = second.on_rows
    assert (rows.source, rows.count) == ("golden rows", 5)
    assert rows.action.max_abs < 1e-6
    assert [one.max_abs for one in rows.differences[2:]] == [0.0, 0.0]
    (wiring,) = (check for check in rows.checks if "swapped" in check.what)
    assert wiring.limit > 0.1
    check_wording(wiring.where)


def test_swapped_cameras_are_named(ref_arm: Path, tmp_path: Path) -> None:
    swapped = other_graph(
        tmp_path / "swapped",
        same_function,
        **{"cameras.laptop.tensor": "phone_features", "cameras.phone.tensor": "laptop_features"},
    )

    _, second = compared_chunks(ref_arm, swapped)

    assert any(what.startswith("largest error (limit: ") for what in failed(second))


@pytest.mark.parametrize(
    "changes",
    [
        {"rate_hz": 25},
        {"units.gripper.high_rad": 1.0},
        {"state.normalisation.mean": [0.0, 0.0, 0.0]},
        {"cameras.phone.normalisation.mean": [0.0, 0.0, 0.0]},
        {"action.joints": ["elbow_flex", "shoulder_pan", "gripper"]},
        {"cameras.phone.feature": "observation.images.top"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_policies_that_are_not_the_same_are_not_compared(
    ref_arm: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    with refusal(ToolError):
        compared_chunks(ref_arm, other_graph(tmp_path / "other", same_function, **changes))


def test_what_chunk_policies_cannot_be_compared_with_is_refused(
    ref_arm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    same = other_graph(tmp_path / "same", same_function)
    bare = write_chunk_bundle(tmp_path / "bare", sizes=SIZES, golden=None)
    for args in (
        (ref_arm, make_bundle(tmp_path / "joint")),
        (ref_arm, same, "--closed-loop"),
        (bare, same),
    ):
        assert compare_chunks(*args) == 4
    check_wording(*caplog.messages)


def test_report_is_written_kept_and_inspected(
    ref_arm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = other_graph(tmp_path / "same", same_function, precision="fp16")
    output = tmp_path / "report"

    assert compare_chunks(ref_arm, same, "--output", output, "--record") == 0

    assert "fp16" in capsys.readouterr().out
    figures = json.loads((output / "comparison.json").read_text("utf-8"))
    other = figures["artifacts"][1]
    assert (figures["kind"], other["holds"], other["precision"]) == ("chunk", True, "fp16")
    assert set(other["graphs"]) == {ENCODER, POLICY}
    assert other["rows"][0]["chunk"]["each"]["gripper"]["max_abs"] < 1e-5
    assert set(other["rows"][0]["max_abs_degrees"]) == {"shoulder_pan", "elbow_flex", "gripper"}
    page = (output / "comparison.html").read_text("utf-8")
    assert "<svg" in page
    assert "mathdefault" not in page
    load_bundle(same, kind=ChunkBundle).verify()
    rows = dict(inspect_path(same).rows)
    assert str(rows["report onnx"]).endswith(" hold")
    assert compare_chunks(ref_arm, same, "--record") == 4  # is there already


def test_dataset_is_compared_with_what_the_reference_says(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    one = write_chunk_bundle(tmp_path / "one", sizes=OF_DATASET, golden=None)
    same = other_graph(tmp_path / "same", same_function, sizes=OF_DATASET)
    shifted = other_graph(
        tmp_path / "shifted", with_constant("ramp", lambda ramp: ramp * 1.02), sizes=OF_DATASET
    )

    first, second, third = compared_chunks(one, same, shifted, rows=[data])

    (rows,) = second.on_rows
    assert first
    assert second
    assert (rows.source, rows.count) == ("data", 36)
    assert rows.action.max_abs < 1e-7
    assert "largest error" in failed(third)
