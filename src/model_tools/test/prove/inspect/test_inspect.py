# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from onnx import helper

from model_tools import cli
from model_tools.errors import ToolError
from model_tools.files.contract_text import keep_report
from model_tools.make.importers.import_bundle import ImportRequest, import_bundle
from model_tools.prove.inspect.registry import inspect_path
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from testkit.edits import reword
from testkit.kernel.contracts import quat_xyzw
from testkit.numbers import numbers_in
from testkit.wire_messages import SCAN
from testkit.wording import check_wording, lines_with, refusal

from ...make.importers.conftest import ANSWERS
from ...make.importers.small_runs import DEPLOY, DEPLOY_WIDTH, save, save_policy
from ...tiny_bundle import make_bundle

BUNDLES = Path(__file__).resolve().parents[5] / "config" / "bundles"
WIDTH = DEPLOY_WIDTH


POSE = [0.1, -0.8]
"""Default positions of the contract in `bundle`."""


def network(
    file: Path,
    before: Mapping[str, str],
    after: Mapping[str, str],
    values: Mapping[str, Sequence[float]] | None = None,
    *,
    squashed: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Save a layer with operators by a constant, 2 or the `values`, before and after it."""
    nodes, tensor, constants = [], "obs", dict[str, Any](w=np.ones((WIDTH, 2), np.float32))
    for operator, name in before.items():
        nodes.append(helper.make_node(operator, [tensor, name], [f"{name}_out"]))
        constants[name] = np.full(WIDTH, 2.0, np.float32)
        tensor = f"{name}_out"
    nodes.append(helper.make_node("Gemm", [tensor, "w"], ["layer"]))
    tensor = "layer"
    if squashed:
        nodes.append(helper.make_node("Tanh", [tensor], ["squashed"], name="/squash"))
        tensor = "squashed"
    for operator, name in after.items():
        nodes.append(helper.make_node(operator, [tensor, name], [f"{name}_out"]))
        constants[name] = np.array((values or {}).get(name, [2.0, 2.0]), np.float32)
        tensor = f"{name}_out"
    nodes.append(helper.make_node("Identity", [tensor], ["actions"]))
    return save(file, nodes, {"obs": (1, WIDTH)}, {"actions": (1, 2)}, constants, metadata)


def imports(folder: Path, model: Path, *answers: str) -> Path:
    source = folder / "deploy.yaml"
    source.write_text(yaml.safe_dump(DEPLOY, sort_keys=False), encoding="utf-8")
    request = ImportRequest(
        source=source, model=model, joints="hip,knee", answers=[*ANSWERS, *answers]
    )
    import_bundle(request, folder / "bundle", force=True)
    return folder / "bundle"


def test_a_bundle_whose_model_a_node_cannot_open_is_refused(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "bundle")
    assert not inspect_path(path).problems
    reword(path / "policy.yaml", ("actions: {shape: [1, 2]}", "actions: {shape: [2, 1]}"))
    (problem,) = inspect_path(path).problems
    check_wording(problem)


@pytest.mark.parametrize("source", ["measured", None])
def test_the_source_of_the_base_velocity_is_stated_or_suspicious(
    tmp_path: Path, source: str | None
) -> None:
    text = "{term: base_lin_vel, parts: [x, y]}"
    last = text.replace("}", f", source: {source}}}") if source else text
    found = inspect_path(make_bundle(tmp_path / "bundle", last=last))
    rows = [row for row in found.rows if row[0] == "base_lin_vel"]
    assert len(rows) == 1
    check_wording(*map(str, rows), *(each for each in found.suspicions if "source" in each))
    assert any("source" in each for each in found.suspicions) == (source is None)


def check_suspicions(path: Path, count: int = 1) -> None:
    """Check how many things look suspicious, and what is said of them."""
    found = inspect_path(path).suspicions
    assert len(found) == count
    if found:
        check_wording(*found)


def problems(path: Path) -> str:
    return "\n".join(inspect_path(path).problems)


def test_a_plain_model_shows_its_tensors_and_nothing_suspicious(tmp_path: Path) -> None:
    report = inspect_path(save_policy(tmp_path / "p.onnx", 3, 2, metadata={"run_path": "r"}))
    check_wording(*(dict(report.rows)[name] for name in ("input", "output", "operators")))
    assert ("metadata run_path", "r") in report.rows
    assert report.suspicions == []


def test_what_is_wrong_with_inputs_and_weights_is_named(tmp_path: Path) -> None:
    model = save_policy(
        tmp_path / "p.onnx", 3, 2, batch=4, extra_inputs={"time_step": (1, 1)}, weight=float("nan")
    )
    check_suspicions(model, 3)


NO_OFFSET = {"scale": [0.25, 0.5], "offset": [0.0, 0.0]}
TRAINED = {"action_scale": "0.25,0.5", "default_joint_pos": "0.1,-0.8"}


@pytest.mark.parametrize(
    ("scale", "offset", "metadata"),
    [
        ([0.25, 0.5], [0.0, 0.0], TRAINED),
        ([0.25, 0.5], POSE, TRAINED),
        ([1.0, 1.0], [0.0, 0.0], TRAINED),
        ([2.0, 3.0], [0.0, 0.0], {}),
        ([1.0, 1.0], [0.5, 0.5], TRAINED),
    ],
)
def test_scale_and_offset_in_the_graph_are_read_and_judged_apart(
    tmp_path: Path, scale: list[float], offset: list[float], metadata: dict[str, str]
) -> None:
    model = network(
        tmp_path / "p.onnx",
        {},
        {"Mul": "scale", "Add": "offset"},
        {"scale": scale, "offset": offset},
        squashed=True,
        metadata=metadata,
    )
    check_suspicions(model)
    shown = numbers_in(inspect_path(model).suspicions[0])
    assert {*scale, *offset} <= {*shown, 0.0}


def test_a_normaliser_in_the_model_and_statistics_beside_it_is_doubled(tmp_path: Path) -> None:
    folder = imports(tmp_path, network(tmp_path / "p.onnx", {"Sub": "mean", "Div": "std"}, {}))
    check_suspicions(folder, 0)
    np.savez(folder / "obs_stats.npz", mean=np.zeros(WIDTH), std=np.ones(WIDTH))
    check_suspicions(folder, 2)


def test_safety_that_no_robot_on_legs_survives_is_suspicious(tmp_path: Path) -> None:
    folder = tmp_path / "walk"
    shutil.copytree(BUNDLES / "lite3_walk", folder)
    contract = folder / "policy.yaml"
    text = contract.read_text("utf-8")
    for stated, other in (
        ("on_fault: damp", "on_fault: hold_measured"),
        ("tilt_rad: 1.0", "tilt_rad: 3.1"),
    ):
        assert stated in text
        contract.write_text(text.replace(stated, other), "utf-8")
        check_suspicions(folder)


@pytest.mark.parametrize(
    ("after", "values", "answers", "count"),
    [
        ({"Mul": "scale"}, {"scale": [0.25, 0.5]}, (), 1),
        ({"Mul": "scale"}, {}, (), 1),
        # The default pose is added outside: with offset 0 in the contract, too, the robot falls.
        ({"Mul": "scale", "Add": "offset"}, NO_OFFSET, ("scale=1",), 0),
        ({"Mul": "scale", "Add": "offset"}, NO_OFFSET, ("scale=1", "offset=0"), 1),
        ({"Add": "offset"}, {"offset": POSE}, (), 1),
        ({"Add": "offset"}, {"offset": POSE}, ("offset=0",), 0),
    ],
)
def test_an_action_that_model_and_contract_both_change_or_neither_is_suspicious(
    tmp_path: Path,
    after: dict[str, str],
    values: dict[str, list[float]],
    answers: tuple[str, ...],
    count: int,
) -> None:
    model = network(tmp_path / "p.onnx", {}, after, values)
    answered = [f"action.terms[0].{answer}" for answer in answers]
    check_suspicions(imports(tmp_path, model, *answered), count)


def test_files_that_are_not_those_of_the_contract_are_named(tmp_path: Path) -> None:
    folder = imports(tmp_path, save_policy(tmp_path / "p.onnx", WIDTH, 2))
    save_policy(folder / "policy.onnx", WIDTH, 2, weight=0.25)
    check_wording(problems(folder))
    (folder / "policy.onnx").unlink()
    check_wording(problems(folder))


@pytest.mark.parametrize("precision", ["fp16", "fp32, integers: unsigned"])
def test_another_precision_than_the_contract_says_is_named(tmp_path: Path, precision: str) -> None:
    reword(make_bundle(tmp_path) / "policy.yaml", ("precision: fp32", f"precision: {precision}"))
    check_suspicions(tmp_path)


def test_a_model_that_cannot_be_read_does_not_hide_the_rest(tmp_path: Path) -> None:
    model = make_bundle(tmp_path) / "policy.onnx"
    model.write_bytes(model.read_bytes()[:-40])
    report = inspect_path(tmp_path)
    assert ("name", "tiny 1.0.0") in report.rows
    check_wording(*lines_with(report.problems, "ONNX"))


def test_what_the_loader_refuses_is_listed_apart_from_open_questions(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("schema_version: 1\nname: {TODO: which one}\n")
    check_wording(problems(tmp_path))
    assert str(dict(inspect_path(tmp_path).rows)["TODO name"]).startswith("which")
    gains = "stiffness: {}, damping: 1}}\nstand"
    changes = (gains.format(1), gains.format("{TODO: gains}"))
    reword(make_bundle(tmp_path) / "policy.yaml", changes)
    report = inspect_path(tmp_path)
    assert report.rows == [("TODO joints.stiffness", "gains")]
    check_wording(*report.problems)


def keep(folder: Path, content: dict[str, object]) -> None:
    sha256 = load_bundle(folder, kind=JointBundle).contract.model.artifacts["onnx"].sha256
    text = json.dumps(content).replace("MODEL", sha256)

    def write(file: Path) -> None:
        file.write_text(text, "utf-8")

    keep_report(folder, "onnx", "report.json", write, sha256=sha256, force=True)


def compared_with(sha256: str, *, holds: bool) -> dict[str, object]:
    return {"reference": "fp32", "artifacts": [{"sha256": sha256, "holds": holds}]}


def case_report(sha256: str, *passed: bool | None) -> dict[str, object]:
    outcomes = [{"name": f"case{i}", "passed": each} for i, each in enumerate(passed)]
    return {"model_sha256": sha256, "outcomes": outcomes}


@pytest.mark.parametrize(
    ("content", "is_suspicious"),
    [
        (compared_with("MODEL", holds=True), False),
        (compared_with("MODEL", holds=False), True),
        (compared_with("0", holds=True), True),
        (case_report("MODEL", True, None), False),
        (case_report("MODEL", False), True),
        (case_report("0"), True),
        ({"model_sha256": "MODEL", "levels": [], "survived_error_mps": 0.1}, False),
        ({"model_sha256": "MODEL", "levels": [], "survived_error_mps": None}, True),
        ({"loss": 1}, False),
    ],
)
def test_reports_of_a_bundle_are_shown_with_their_verdict(
    tmp_path: Path, content: dict[str, object], is_suspicious: bool
) -> None:
    keep(make_bundle(tmp_path), content)
    report = inspect_path(tmp_path)
    verdict = dict(report.rows)["report onnx"]
    assert report.suspicions == ([verdict] if is_suspicious else [])
    check_wording(verdict)


@pytest.mark.parametrize("name", ["missing", "notes.txt"])
def test_nothing_and_anything_else_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("?")
    with refusal(ToolError):
        inspect_path(tmp_path / name)


def test_the_verdict_on_a_bundle_that_cannot_run_is_the_first_line_and_the_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_bundle(tmp_path) / "policy.onnx"
    assert cli.main(["inspect", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("usable: ")
    model.write_bytes(model.read_bytes() + b"\0")
    assert cli.main(["inspect", str(tmp_path)]) == 1
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("not usable")
    assert second.startswith("refused")


def write_seeing(folder: Path, scene: Mapping[str, object] | None = None, **scan: object) -> Path:
    """Write a bundle with a scan of two points, and perhaps a scene that proves it."""
    term: dict[str, object] = {"term": "height_scan", "topic": "perception/ground"}
    if scene is not None:
        np.savez(folder / "scene.npz", **scene)  # type: ignore[arg-type]  # its own keyword
        digest = hashlib.sha256((folder / "scene.npz").read_bytes()).hexdigest()
        term["scene"] = {"file": "scene.npz", "sha256": digest}
    return make_bundle(folder, last=json.dumps({**term, "scan": {**SCAN, **scan}}))


def scene_of_two_points() -> dict[str, object]:
    """Return what the training would have seen of a step, with roll, pitch and yaw."""
    position, yaw = np.array([1.0, 2.0, 0.4]), 0.6
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    hits = np.column_stack([position[:2] + SCAN["points_m"] @ turn.T, [0.2, 0.0]])
    return {
        "hits": hits,
        "position": position,
        "quat_xyzw": quat_xyzw(0.3, 0.2, yaw),
        "values": position[2] - hits[:, 2] - 0.5,
    }


def test_a_scan_without_a_scene_is_suspicious_and_one_with_it_is_proven(tmp_path: Path) -> None:
    check_suspicions(write_seeing(tmp_path))
    assert "scene" in str(dict(inspect_path(tmp_path).rows)["proof of perception/ground"])
    report = inspect_path(write_seeing(tmp_path, scene_of_two_points()))
    assert (report.problems, report.suspicions) == ([], [])
    assert ("proof of perception/ground", "scene.npz") in report.rows


def test_the_page_draws_the_points_of_a_scan(tmp_path: Path) -> None:
    bundle, page = write_seeing(tmp_path, scene_of_two_points()), tmp_path / "page.html"
    assert cli.main(["inspect", str(bundle), "--html", str(page)]) == 0
    assert "data:image/png;base64," in page.read_text("utf-8")


def test_a_scene_that_contradicts_its_scan_is_a_problem(tmp_path: Path) -> None:
    report = inspect_path(write_seeing(tmp_path, scene_of_two_points(), value="ground_minus_frame"))
    (problem,) = report.problems
    assert "observations.obs.terms[2].scan" in problem
    assert cli.main(["inspect", str(tmp_path)]) == 1


def test_programs_get_numbers_by_the_keys_of_the_contract(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path)
    assert cli.main(["inspect", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["values"]["contract"]["rate_hz"] == 50
    assert found["problems"] == []
    assert cli.main(["inspect", str(tmp_path / "policy.onnx"), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)["values"]
    assert values["inputs"]["obs"]["dtype"] == "float32"
    assert all(isinstance(size, int) for size in values["inputs"]["obs"]["shape"])
