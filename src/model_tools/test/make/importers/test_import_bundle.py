# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx.external_data_helper import convert_model_to_external_data

from model_tools.errors import ToolError
from model_tools.files.onnx_model import read_onnx
from model_tools.make.importers.draft import todo
from model_tools.make.importers.import_bundle import ImportRequest, import_bundle, make_draft
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import load_bundle
from policy_core.bundle.schema import Reader
from policy_core.bundle.verified import sha256_file
from policy_core.errors import BackendError, BundleError
from policy_inference.kinds.joint import JointKind
from testkit.wording import check_wording, lines_with, refusal

from .conftest import ANSWERS, MakeRequest, WriteRobot
from .small_runs import DEPLOY, DEPLOY_WIDTH, save_policy


@pytest.fixture
def request_(request_for: MakeRequest) -> ImportRequest:
    """A request whose every question is answered."""
    return request_for(DEPLOY, DEPLOY_WIDTH, joints="hip,knee", answers=ANSWERS)


def test_a_bundle_with_every_answer_loads_and_its_comments_say_where_values_came_from(
    request_: ImportRequest, tmp_path: Path
) -> None:
    draft = import_bundle(request_, tmp_path / "bundle")
    assert draft.todos() == {}
    bundle = load_bundle(tmp_path / "bundle", kind=JointBundle)
    assert bundle.contract.stand.position.tolist() == [0.1, -0.8]
    assert bundle.artifact("onnx")[1].read_bytes() == (tmp_path / "policy.onnx").read_bytes()
    text = bundle.file.read_text(encoding="utf-8")
    check_wording(*lines_with(text, "source.yaml"), *lines_with(text, "# default_joint_pos"))
    written = yaml.safe_load(text)
    assert written["model"].pop("golden")["file"] == "golden.npz"
    assert written == draft.values


def test_a_dynamic_batch_becomes_one_row_in_the_bundles_model(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    model = save_policy(tmp_path / "dynamic.onnx", DEPLOY_WIDTH, 2, batch="batch")
    request = request_for(DEPLOY, DEPLOY_WIDTH, model=model, joints="hip,knee", answers=ANSWERS)
    import_bundle(request, tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle", kind=JointBundle)
    artifact, file = bundle.artifact("onnx")
    check_wording(artifact.made)
    fixed = read_onnx(file)
    assert fixed.inputs["obs"].shape == (1, DEPLOY_WIDTH)
    assert fixed.outputs["actions"].shape == (1, 2)
    assert [name for name, _ in fixed.weights()] == ["w"]


def test_a_policy_that_a_node_cannot_open_is_not_imported(
    request_: ImportRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(JointKind, "open", fail)
    with pytest.raises(BackendError):
        import_bundle(request_, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_answers_that_are_missing_are_asked_for_and_keep_the_bundle_from_loading(
    request_: ImportRequest, tmp_path: Path
) -> None:
    request = dataclasses.replace(request_, answers=[])
    todos = import_bundle(request, tmp_path / "bundle").todos()
    keys = [given.partition("=")[0] for given in ANSWERS]
    # This format says the gains.
    assert {*todos} == {*keys} - {"joints.stiffness", "joints.damping"}
    assert list(todos)[:2] == ["name", "version"]
    check_wording(todos["provenance.licence"])
    with pytest.raises(BundleError) as caught:
        load_bundle(tmp_path / "bundle", kind=JointBundle)
    assert all(key in str(caught.value) for key in todos)


@pytest.mark.parametrize(
    "key", ["joints.names", *(field.name for field in dataclasses.fields(JointContract))]
)
def test_the_loader_refuses_a_todo_in_any_place(request_: ImportRequest, key: str) -> None:
    draft = make_draft(request_)
    draft.put(key, todo("what?"))
    reader = Reader("policy.yaml")
    reader.section(JointContract, draft.values)
    assert any(problem.key in {key, f"{key}.TODO"} for problem in reader.problems)


@pytest.mark.parametrize("answer", ["stand.duration_s=-1", "joints.position_max=-5"])
def test_a_wrong_answer_is_refused_and_leaves_nothing_behind(
    request_: ImportRequest, tmp_path: Path, answer: str
) -> None:
    before = sorted(tmp_path.iterdir())
    request = dataclasses.replace(request_, answers=[*ANSWERS, answer])
    with refusal(BundleError):
        import_bundle(request, tmp_path / "bundle")
    assert sorted(tmp_path.iterdir()) == before


def split_model(tmp_path: Path) -> Path:
    """Write a model whose weights are in a second file, policy.onnx.data; return its folder."""
    folder = tmp_path / "split"
    folder.mkdir()
    proto = onnx.load(str(save_policy(tmp_path / "whole.onnx", DEPLOY_WIDTH, 2)))
    convert_model_to_external_data(proto, location="policy.onnx.data", size_threshold=0)
    onnx.save(proto, str(folder / "policy.onnx"))
    return folder


def test_weights_in_a_second_file_are_merged_into_the_model(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    folder = split_model(tmp_path)
    request = request_for(
        DEPLOY, 0, model=folder / "policy.onnx", joints="hip,knee", answers=ANSWERS
    )
    import_bundle(request, tmp_path / "bundle")
    artifact = load_bundle(tmp_path / "bundle", kind=JointBundle).contract.model.artifacts["onnx"]
    merged = tmp_path / "bundle" / "policy.onnx"
    assert artifact.sha256 == sha256_file(merged)
    assert "policy.onnx.data" in str(artifact.made)
    (tensor,) = onnx.load(str(merged), load_external_data=False).graph.initializer
    assert np.all(onnx.numpy_helper.to_array(tensor) == 0.5)


def test_weights_outside_of_the_models_folder_are_not_read(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    folder = split_model(tmp_path)
    (folder / "policy.onnx.data").rename(tmp_path / "secret")
    proto = onnx.load(str(folder / "policy.onnx"), load_external_data=False)
    (tensor,) = proto.graph.initializer
    tensor.external_data[0].value = "../secret"
    (folder / "policy.onnx").write_bytes(proto.SerializeToString())
    request = request_for(
        DEPLOY, 0, model=folder / "policy.onnx", joints="hip,knee", answers=ANSWERS
    )
    with refusal(ToolError):
        import_bundle(request, tmp_path / "bundle")


UNLIMITED = [given for given in ANSWERS if "limit" not in given and "position_m" not in given]


def test_limits_come_from_a_robot_file_by_name(
    request_: ImportRequest, robot_file: WriteRobot
) -> None:
    robot = robot_file(URDF)
    given = dataclasses.replace(request_, answers=UNLIMITED, robot=Path(robot))
    draft = make_draft(given)
    assert draft.find("joints.position_min") == [-1.0, -2.0]
    assert draft.find("joints.effort_limit") == [30.0, 40.0]
    assert draft.todos() == {}
    draft = make_draft(dataclasses.replace(given, robot=None, joints=robot, joint_order="listed"))
    assert draft.find("joints.names") == ["knee", "hip"]
    assert draft.find("joints.effort_limit") == [40.0, 30.0]


def test_what_the_robot_file_calls_a_joint_otherwise_is_asked_for(
    request_: ImportRequest, tmp_path: Path, robot_file: WriteRobot
) -> None:
    robot = Path(robot_file(URDF.replace('"hip"', '"upper_joint"')))
    request = dataclasses.replace(request_, answers=UNLIMITED, robot=robot)
    todos = make_draft(request).todos()
    check_wording(todos["joints.robot_names"])
    assert "joints.effort_limit" in todos

    import_bundle(dataclasses.replace(request, answers=ANSWERS), tmp_path / "open")
    with refusal(BundleError):
        load_bundle(tmp_path / "open")

    answers = [*UNLIMITED, "joints.robot_names={h.*: upper_joint}"]
    import_bundle(dataclasses.replace(request, answers=answers), tmp_path / "bundle")
    joints = load_bundle(tmp_path / "bundle", kind=JointBundle).contract.joints
    assert joints.on_robot() == ("upper_joint", "knee")
    assert joints.effort_limit.tolist() == [30.0, 40.0]


URDF = """<robot name="r">
  <joint name="knee" type="revolute">
    <limit lower="-2" upper="0" effort="40" velocity="20"/></joint>
  <joint name="plate" type="fixed"/>
  <joint name="hip" type="revolute">
    <limit lower="-1" upper="1" effort="30" velocity="20"/></joint>
</robot>"""


@pytest.mark.parametrize(
    "answer", ["{hip: ankle}", "{foot: upper_joint}", "{hip: 3}", "upper_joint"]
)
def test_names_that_the_robot_file_does_not_have_are_refused(
    request_: ImportRequest, robot_file: WriteRobot, answer: str
) -> None:
    robot = Path(robot_file(URDF.replace('"hip"', '"upper_joint"')))
    answers = [*ANSWERS, f"joints.robot_names={answer}"]
    with refusal(ToolError):
        make_draft(dataclasses.replace(request_, answers=answers, robot=robot))


def test_a_fixed_batch_of_more_than_one_is_refused(request_: ImportRequest, tmp_path: Path) -> None:
    save_policy(tmp_path / "policy.onnx", DEPLOY_WIDTH, 2, batch=4)
    with refusal(ToolError):
        make_draft(request_)


def test_a_model_whose_metadata_name_the_joints_otherwise_is_refused(
    request_: ImportRequest, tmp_path: Path
) -> None:
    assert request_.model is not None
    model = onnx.load(str(request_.model))
    onnx.helper.set_model_props(model, {"joint_names": "knee,hip"})
    onnx.save(model, str(request_.model))
    with refusal(ToolError):
        make_draft(request_)


def test_statistics_kept_beside_the_model_go_into_the_bundle(
    request_: ImportRequest, tmp_path: Path
) -> None:
    kept = keep_statistics(request_)
    import_bundle(request_, tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle", kind=JointBundle)
    mean, divisor = bundle.statistics["obs"]
    assert mean.tolist() == [1.0] * DEPLOY_WIDTH
    assert divisor.tolist() == [2.0] * DEPLOY_WIDTH
    assert (tmp_path / "bundle" / kept.name).read_bytes() == kept.read_bytes()


@pytest.mark.parametrize("content", [None, b"another"])
def test_statistics_that_were_kept_and_are_not_beside_the_model_are_missed(
    request_: ImportRequest, tmp_path: Path, content: bytes | None
) -> None:
    kept = keep_statistics(request_)
    kept.unlink()
    if content is not None:
        kept.write_bytes(content)
    with refusal(ToolError):
        import_bundle(request_, tmp_path / "bundle")


def keep_statistics(request: ImportRequest) -> Path:
    """Mark the model as `export` does with `normaliser: keep`."""
    assert request.model is not None
    stats = request.model.with_name("obs_stats.npz")
    np.savez(stats, mean=np.ones(DEPLOY_WIDTH), std=np.full(DEPLOY_WIDTH, 2.0))
    model = onnx.load(str(request.model))
    entry = {"file": stats.name, "sha256": sha256_file(stats)}
    onnx.helper.set_model_props(model, {"obs_stats": json.dumps(entry)})
    onnx.save(model, str(request.model))
    return stats


def test_a_model_whose_weights_are_not_finite_is_not_imported(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    model = save_policy(tmp_path / "diverged.onnx", DEPLOY_WIDTH, 2, weight=float("nan"))
    with refusal(ToolError):
        make_draft(request_for(DEPLOY, 0, model=model, joints="hip,knee"))
