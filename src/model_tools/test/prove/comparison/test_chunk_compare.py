# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`model_tools compare` with chunk policies: what it finds, refuses, shows and keeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import helper, numpy_helper

from model_tools import cli
from model_tools.errors import ToolError
from model_tools.files.arrays import write_arrays
from model_tools.make.act.golden_rows import drawn_rows
from model_tools.prove.comparison.candidates import candidates
from model_tools.prove.comparison.compare import Compared, compare
from model_tools.prove.inspect.registry import inspect_path
from policy_inference.backends.registry import open_models
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.chunk_contract import GOLDEN_CHUNK
from policy_inference.bundle.load import load_bundle
from policy_inference.comparison.chunks import play_chunks
from policy_inference.comparison.rows import Rows
from policy_inference.errors import BundleError
from policy_inference.testing.chunk_bundles import write_chunk_bundle
from testkit.wording import refusal

from ...files.lerobot.small_dataset import HEIGHT, WIDTH, write_dataset
from ...tiny_bundle import make_bundle

POLICY, ENCODER = "BPU_ACTPolicy_TransformerLayers", "BPU_ACTPolicy_VisionEncoder"
SIZES: Any = {"laptop": (16, 24), "phone": (16, 24)}
OF_DATASET: Any = {"laptop": (HEIGHT, WIDTH), "phone": (HEIGHT, WIDTH)}


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return write_chunk_bundle(tmp_path / "reference", sizes=SIZES)


def changed(
    folder: Path,
    change: Callable[[onnx.ModelProto], None],
    graph: str = POLICY,
    precision: str = "fp32",
    sizes: Any = SIZES,
    **changes: Any,
) -> Path:
    """Write the reference's bundle with another graph."""
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


def weights(name: str, change: Callable[[Any], Any]) -> Callable[[onnx.ModelProto], None]:
    """Return what changes a constant of a graph."""

    def apply(model: onnx.ModelProto) -> None:
        (constant,) = (one for one in model.graph.initializer if one.name == name)
        array = change(numpy_helper.to_array(constant).copy())
        constant.CopyFrom(numpy_helper.from_array(array.astype(np.float32), name))

    return apply


def again(model: onnx.ModelProto) -> None:
    """The same function in another file."""
    model.doc_string = "again"


def rounded(step: float) -> Callable[[onnx.ModelProto], None]:
    """Return what rounds the actions to multiples of a step."""

    def apply(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "exact"
        model.graph.initializer.append(numpy_helper.from_array(np.array(step, np.float32), "step"))
        model.graph.node.extend(
            [
                helper.make_node("Div", ["exact", "step"], ["divided"]),
                helper.make_node("Round", ["divided"], ["whole"]),
                helper.make_node("Mul", ["whole", "step"], ["Actions"]),
            ]
        )

    return apply


def compared(*folders: Path, rows: Sequence[Path] = ()) -> list[Compared]:
    bundles = [load_bundle(folder, kind=ChunkBundle) for folder in folders]
    return compare(candidates(bundles, ["onnx"], {}), rows)


def failed(one: Compared) -> set[str]:
    return {check.what for check in one.checks if not check}


def test_identical_graphs_compare_equal_and_the_wiring_is_proven(
    reference: Path, tmp_path: Path
) -> None:
    first, second = compared(reference, changed(tmp_path / "same", again))

    assert first
    assert second
    (rows,) = second.on_rows
    assert (rows.source, rows.count) == ("golden rows", 5)
    assert rows.action.max_abs < 1e-6
    assert [one.max_abs for one in rows.differences[2:]] == [0.0, 0.0]
    (wiring,) = (check for check in rows.checks if "swapped" in check.what)
    assert wiring.limit > 0.1
    assert wiring.where.startswith("golden rows: swapping them changes chunks by ")


def test_one_graph_is_compared_with_two(reference: Path, tmp_path: Path) -> None:
    whole = write_chunk_bundle(tmp_path / "whole", sizes=SIZES, encoders=False)

    _, second = compared(reference, whole)

    assert second
    assert second.on_rows[0].differences[2:] == ()


def test_joint_that_differs_is_named_in_its_units(reference: Path, tmp_path: Path) -> None:
    def shift(array: Any) -> Any:
        array[..., 1] *= 1.05
        return array

    ramp = changed(tmp_path / "shifted", weights("ramp", lambda ramp: np.repeat(ramp, 3, axis=2)))
    shifted = changed(
        tmp_path / "other", weights("ramp", lambda ramp: shift(np.repeat(ramp, 3, axis=2)))
    )

    _, same, other = compared(reference, ramp, shifted)

    assert same
    assert failed(other) == {"largest error", "smallest cosine"} & failed(other)
    assert "largest error" in failed(other)
    assert other.on_rows[0].action.worst[1] == "elbow_flex"
    # 5 % of a normalised action of at most 1, whose deviation is 15 degrees.
    assert 0.1 < np.degrees(other.on_rows[0].differences[1].max_abs) < 0.75


def test_features_that_differ_are_named_by_camera(reference: Path, tmp_path: Path) -> None:
    wrong = changed(tmp_path / "wrong", weights("kernel", lambda kernel: kernel[:, ::-1]), ENCODER)

    _, second = compared(reference, wrong)

    assert {
        "smallest cosine of features of laptop",
        "smallest cosine of features of phone",
    } <= failed(second)


def test_swapped_cameras_are_named(reference: Path, tmp_path: Path) -> None:
    swapped = changed(
        tmp_path / "swapped",
        again,
        **{"cameras.laptop.tensor": "phone_features", "cameras.phone.tensor": "laptop_features"},
    )

    _, second = compared(reference, swapped)

    assert "largest error, against that with laptop and phone swapped" in failed(second)


def test_cameras_whose_swap_cannot_be_seen_are_said(tmp_path: Path) -> None:
    statistics = {"mode": "mean_std", "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    equal: Any = {
        "alike": True,
        "golden": None,
        "cameras.laptop.normalisation": statistics,
        "cameras.phone.normalisation": statistics,
    }
    one = write_chunk_bundle(tmp_path / "one", sizes=SIZES, **equal)
    golden = write_chunk_bundle(tmp_path / "golden", sizes=SIZES, alike=True)
    contract = yaml.safe_load((one / "policy.yaml").read_text("utf-8"))
    contract["golden"] = yaml.safe_load((golden / "policy.yaml").read_text("utf-8"))["golden"]
    (one / "policy.yaml").write_text(yaml.safe_dump(contract), "utf-8")

    first, _ = compared(one, changed(tmp_path / "two", again, **equal))

    (wiring,) = (check for check in first.checks if "swapped" in check.what)
    assert wiring.where.endswith("only, so this proves nothing")


def test_quantised_graphs_have_wider_limits(reference: Path, tmp_path: Path) -> None:
    coarse = rounded(1 / 64)

    _, int8 = compared(reference, changed(tmp_path / "int8", coarse, precision="int8"))
    _, fp32 = compared(reference, changed(tmp_path / "fp32", coarse))

    assert int8
    assert "largest error" in failed(fp32)


def test_graphs_that_collapsed_to_a_few_values_fail(reference: Path, tmp_path: Path) -> None:
    _, second = compared(reference, changed(tmp_path / "few", rounded(0.5), precision="int8"))

    (few,) = (check for check in second.checks if check.what == "values that a joint takes")
    assert not few
    assert few.value <= 5


def test_policy_that_does_not_look_any_more_fails(reference: Path, tmp_path: Path) -> None:
    def blind(model: onnx.ModelProto) -> None:
        for constant in model.graph.initializer:
            if constant.name.endswith("_weights"):
                weights(constant.name, lambda array: array * 0)(model)

    _, second = compared(reference, changed(tmp_path / "blind", blind, precision="int8"))

    assert "share of the reference's answer to other observations" in failed(second)


def test_limits_that_the_bundle_states_count(reference: Path, tmp_path: Path) -> None:
    shifted = weights("ramp", lambda ramp: ramp * 1.02)
    strict = changed(
        tmp_path / "strict", shifted, precision="int8", limits={"onnx": {"max_abs": 0.001}}
    )

    _, second = compared(reference, strict)

    assert failed(second) == {"largest error"}


def test_precision_of_which_nothing_is_known_needs_limits(reference: Path, tmp_path: Path) -> None:
    with refusal(BundleError):
        compared(reference, changed(tmp_path / "odd", again, precision="int3"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rate_hz": 25}, "rate_hz 25.0 instead of 30.0"),
        ({"units.gripper.high_rad": 1.0}, "units.gripper JointUnit"),
        ({"state.normalisation.mean": [0.0, 0.0, 0.0]}, "state.normalisation Scaling"),
        ({"cameras.phone.normalisation.mean": [0.0, 0.0, 0.0]}, "cameras.phone.normalisation"),
        ({"action.joints": ["elbow_flex", "shoulder_pan", "gripper"]}, "action.joints"),
        ({"cameras.phone.feature": "observation.images.top"}, "cameras.phone.feature"),
    ],
)
def test_policies_that_are_not_the_same_are_not_compared(
    reference: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with refusal(ToolError) as caught:
        compared(reference, changed(tmp_path / "other", again, **changes))

    assert named in str(caught.value)


def test_same_files_on_the_same_back_end_are_refused(reference: Path, tmp_path: Path) -> None:
    same = write_chunk_bundle(tmp_path / "same", sizes=SIZES)

    with refusal(ToolError):
        compared(reference, same)


def test_bundles_of_both_kinds_are_refused(
    reference: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    joint = make_bundle(tmp_path / "joint")

    assert cli.main(["compare", str(reference), str(joint)]) == 4
    assert "expected bundles of one kind, found joint policies and chunk policies" in caplog.text


def test_walks_of_a_chunk_policy_are_refused(
    reference: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    same = changed(tmp_path / "same", again)

    assert cli.main(["compare", str(reference), str(same), "--closed-loop"]) == 4
    assert "--closed-loop: expected joint policies, which walk, found a chunk policy" in caplog.text


def test_report_is_written_kept_and_inspected(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = changed(tmp_path / "same", again, precision="fp16")
    output = tmp_path / "report"

    assert (
        cli.main(["compare", str(reference), str(same), "--output", str(output), "--record"]) == 0
    )

    assert "fp16" in capsys.readouterr().out
    figures = json.loads((output / "comparison.json").read_text("utf-8"))
    other = figures["artifacts"][1]
    assert (figures["kind"], other["holds"], other["precision"]) == ("chunk", True, "fp16")
    assert set(other["graphs"]) == {ENCODER, POLICY}
    assert other["rows"][0]["chunk"]["each"]["gripper"]["max_abs"] < 1e-5
    assert set(other["rows"][0]["max_abs_degrees"]) == {"shoulder_pan", "elbow_flex", "gripper"}
    page = (output / "comparison.html").read_text("utf-8")
    assert "max, degrees" in page
    assert "<svg" in page
    assert "mathdefault" not in page
    load_bundle(same, kind=ChunkBundle).verify()
    rows = dict(inspect_path(same).rows)
    assert rows["report onnx"].endswith("limits hold")
    assert cli.main(["compare", str(reference), str(same), "--record"]) == 4  # is there already


def test_kept_report_about_other_graphs_is_said(reference: Path, tmp_path: Path) -> None:
    same = changed(tmp_path / "same", again)
    assert cli.main(["compare", str(reference), str(same), "--record"]) == 0
    contract = yaml.safe_load((same / "policy.yaml").read_text("utf-8"))
    reports = {file.name: file.read_bytes() for file in (same / "reports").iterdir()}

    other = changed(
        tmp_path / "other", weights("ramp", lambda ramp: ramp * 2), reports=contract["reports"]
    )
    (other / "reports").mkdir()
    for name, content in reports.items():
        (other / "reports" / name).write_bytes(content)

    assert any("about another model" in text for text in inspect_path(other).suspicions)


def test_bundle_without_golden_rows_needs_a_dataset(
    reference: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bare = write_chunk_bundle(tmp_path / "bare", sizes=SIZES, golden=None)

    assert cli.main(["compare", str(bare), str(changed(tmp_path / "same", again))]) == 4
    assert "found no golden rows; give a dataset or a recording (--rows)" in caplog.text


def test_dataset_is_compared_with_what_the_reference_says(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    one = write_chunk_bundle(tmp_path / "one", sizes=OF_DATASET, golden=None)
    same = changed(tmp_path / "same", again, sizes=OF_DATASET)
    shifted = changed(
        tmp_path / "shifted", weights("ramp", lambda ramp: ramp * 1.02), sizes=OF_DATASET
    )

    first, second, third = compared(one, same, shifted, rows=[data])

    (rows,) = second.on_rows
    assert first
    assert second
    assert (rows.source, rows.count) == ("data", 36)
    assert rows.action.max_abs < 1e-7
    assert "largest error" in failed(third)


def test_images_of_another_size_are_stretched_where_the_contract_says_so(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    resize: Any = {f"cameras.{name}.resize": True for name in ("laptop", "phone")}
    one = write_chunk_bundle(tmp_path / "one", sizes=SIZES, **resize)

    _, second = compared(one, changed(tmp_path / "same", again, **resize), rows=[data])

    assert [rows.source for rows in second.on_rows] == ["golden rows", "data"]
    with refusal(ToolError):
        compared(
            write_chunk_bundle(tmp_path / "no", sizes=SIZES),
            changed(tmp_path / "too", again),
            rows=[data],
        )


def with_drawn_rows(folder: Path) -> Path:
    """Give a bundle golden rows as the export draws them where it has no dataset."""
    bundle, file = load_bundle(folder, kind=ChunkBundle), folder / "policy.yaml"
    rows = drawn_rows(bundle.contract)
    with open_models(bundle.models, ["onnx"]) as opened:
        played = play_chunks(bundle.contract, opened, Rows(source="drawn", inputs=rows, outputs={}))
    chunks = played[GOLDEN_CHUNK].astype(np.float32)
    write_arrays(folder / "golden.npz", {**rows, GOLDEN_CHUNK: chunks})
    contract = yaml.safe_load(file.read_text("utf-8"))
    contract["golden"]["sha256"] = hashlib.sha256((folder / "golden.npz").read_bytes()).hexdigest()
    file.write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    return folder


def test_drawn_images_do_not_judge_few_bits_where_others_were_recorded(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    one = with_drawn_rows(write_chunk_bundle(tmp_path / "one", sizes=OF_DATASET))
    few = changed(tmp_path / "few", rounded(1 / 64), precision="int8", sizes=OF_DATASET)

    first, int8 = compared(one, few, rows=[data])

    assert [(rows.source, rows.judged) for rows in int8.on_rows] == [
        ("golden rows (drawn)", False),
        ("data", True),
    ]
    assert not int8.on_rows[0].checks
    assert int8.on_rows[0].action.max_abs > 0
    assert int8.on_rows[1].checks
    assert all(rows.judged and rows.checks for rows in first.on_rows)


def test_drawn_images_alone_judge_and_are_said_to_be_unfair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_dataset(tmp_path / "data")
    one = with_drawn_rows(write_chunk_bundle(tmp_path / "one", sizes=OF_DATASET))
    few = changed(tmp_path / "few", rounded(0.5), precision="int8", sizes=OF_DATASET)

    assert cli.main(["compare", str(one), str(few)]) == 1
    shown = capsys.readouterr().out
    assert "which is no fair test of so few bits; compare on frames of the training" in shown
    capsys.readouterr()
    cli.main(
        [
            "compare",
            str(one),
            str(few),
            "--dataset",
            str(data),
            "--output",
            str(tmp_path / "report"),
        ]
    )
    shown = capsys.readouterr().out
    assert "no fair test" not in shown
    figures = json.loads((tmp_path / "report/comparison.json").read_text("utf-8"))
    assert [rows["judged"] for rows in figures["artifacts"][1]["rows"]] == [False, True]
    assert "Not judged here" in (tmp_path / "report/comparison.html").read_text("utf-8")
