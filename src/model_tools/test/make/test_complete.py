# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A contract and its weights become a whole bundle, or nothing changes."""

import pickle
import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_tools.cli import main
from model_tools.errors import ToolError
from model_tools.files.arrays import write_arrays
from model_tools.make import complete, unrecorded
from model_tools.make.complete import Completion, make_bundle
from model_tools.make.nominal import MeasuredRuns, recorded_runs
from model_tools.make.unrecorded import simulated_walks, walks
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.verified import sha256_file
from policy_core.errors import PolicyError
from testkit.edits import reword
from testkit.wording import check_wording, lines_with, refusal

OURS = Path(__file__).resolve().parents[4] / "config" / "bundles" / "lite3_walk"
WEIGHTS = OURS / "policy.onnx"


class Walks:
    """The first of our policy's walks, measured once: it is the same each time, and takes long."""

    found: MeasuredRuns | None = None

    def __call__(self, bundle: JointBundle) -> MeasuredRuns:
        if self.found is None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(unrecorded, "walks", lambda *given: walks(*given)[:1])
                self.found = simulated_walks(bundle)
        return self.found


WALKS = Walks()
WALKED = Completion(measure=WALKS)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our contract as it was before it was complete."""
    folder = tmp_path_factory.mktemp("contract")
    text = (OURS / "policy.yaml").read_text(encoding="utf-8")
    head, _, _ = text.partition("\nnominal:")
    kept = [line for line in head.splitlines() if not line.startswith("  golden:")]
    (folder / "policy.yaml").write_text("\n".join([*kept, "# the end", ""]), encoding="utf-8")
    return folder


@pytest.fixture
def contract_copy(bare: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bare, tmp_path / "contract")


@pytest.fixture(scope="module")
def whole(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> JointBundle:
    """What becomes of the contract; the rows of the walks are beside it."""
    folder = tmp_path_factory.mktemp("bundles")
    wanted = Completion(measure=WALKS, rows_output=folder / "walk.npz")
    return make_bundle(bare, WEIGHTS, folder / "whole", wanted)


@pytest.mark.slow
def test_a_contract_becomes_a_whole_bundle(bare: Path, whole: JointBundle) -> None:
    assert whole.path.name == "whole"
    assert whole.golden()["obs"].shape == (256, 45)
    assert whole.artifact("onnx")[1].read_bytes() == WEIGHTS.read_bytes()
    nominal = whole.contract.nominal
    assert nominal is not None
    assert nominal.ticks > 3000
    assert set(nominal.observation) == {"obs"}
    before = (bare / "policy.yaml").read_text(encoding="utf-8").splitlines()
    after = (whole.path / "policy.yaml").read_text(encoding="utf-8").splitlines()
    assert [line for line in before if line not in after] == []


@pytest.mark.acceptance
def test_completing_again_in_place_gives_the_same(whole: JointBundle, tmp_path: Path) -> None:
    folder = shutil.copytree(whole.path, tmp_path / "whole")
    again = make_bundle(folder, None, folder, WALKED, force=True)
    assert again.sha256 == whole.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


@pytest.mark.parametrize("given", ["output", "rows", "weights", "checkpoint", "contract"])
def test_what_cannot_be_completed_or_written_is_refused_and_nothing_is_lost(
    bare: Path, tmp_path: Path, given: str
) -> None:
    """What is there already, other weights, a checkpoint of a training, and no contract."""
    output, rows, weights = tmp_path / "whole", tmp_path / "walk.npz", WEIGHTS
    if given == "output":
        output.mkdir()
        (output / "precious").touch()
    elif given == "rows":
        rows.touch()
    elif given == "weights":
        weights = tmp_path / "other.onnx"
        weights.write_bytes(b"other")
    elif given == "checkpoint":
        weights = tmp_path / "policy.pt"
        weights.write_bytes(pickle.dumps({"weights": [1.0]}))
    before = sorted(tmp_path.rglob("*"))
    contract_copy = Path("WALK") if given == "contract" else bare
    with refusal(PolicyError):
        make_bundle(contract_copy, weights, output, Completion(measure=WALKS, rows_output=rows))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: {**rows, "action": rows["action"] + 1e-3},
        lambda rows: {name: rows[name][[3] * 200] for name in rows},
    ],
    ids=("another model", "all the same"),
)
def test_golden_rows_that_show_nothing_of_the_model_are_refused(
    bare: Path, tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    file = tmp_path / "golden.npz"
    write_arrays(file, change(dict(load_bundle(OURS, kind=JointBundle).golden())))
    with refusal(PolicyError):
        make_bundle(bare, WEIGHTS, tmp_path / "whole", Completion(golden=file))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["golden.npz"]


@pytest.mark.acceptance
@pytest.mark.parametrize(
    "changes",
    [
        # Seen as ten times as fast, joint velocities make the robot fall.
        [("joint_vel, scale: 0.05", "joint_vel, scale: 0.5")],
        # The joints of another robot.
        [("FL_Knee_joint", "FL_Elbow_joint"), ("_Knee_joint: ", "_(Knee|Elbow)_joint: ")],
    ],
)
def test_a_policy_that_does_not_walk_has_no_nominal(
    contract_copy: Path, tmp_path: Path, changes: list[tuple[str, str]]
) -> None:
    contract_with(contract_copy, *changes)
    with refusal(PolicyError):
        make_bundle(contract_copy, WEIGHTS, tmp_path / "whole", Completion(measure=simulated_walks))


@pytest.fixture(scope="module")
def kept_rows(whole: JointBundle) -> Path:
    """All rows of the walks that the nominal was measured in."""
    return whole.path.with_name("walk.npz")


@pytest.mark.acceptance
def test_a_rollout_gives_the_nominal_that_its_run_had(
    bare: Path, whole: JointBundle, kept_rows: Path, tmp_path: Path
) -> None:
    bundle = from_rollout(bare, kept_rows, tmp_path / "from_rollout")
    found, expected = bundle.contract.nominal, whole.contract.nominal
    assert found is not None
    assert expected is not None
    assert found.ticks == expected.ticks
    assert np.array_equal(found.effort_demand, expected.effort_demand)
    assert found.observation == expected.observation
    # The jumps from the end of one walk to the beginning of the next are no larger.
    assert np.array_equal(found.target_step, expected.target_step)
    assert found.source == f"walk.npz, {expected.ticks} ticks"


def some_of(rows: dict[str, Any], share: slice) -> dict[str, Any]:
    return {name: rows[name] if name == "joint_names" else rows[name][share] for name in rows}


@pytest.mark.acceptance
@pytest.mark.parametrize(
    "change",
    [
        lambda rows: {**rows, "action": rows["action"] * 1.01},
        lambda rows: {"obs": rows["obs"]},
        lambda rows: {**rows, "joint_pos": np.degrees(rows["joint_pos"])},
        lambda rows: some_of(rows, slice(None, None, 5)),
        lambda rows: some_of(rows, slice(300)),
    ],
    ids=("another policy", "no joints", "degrees", "every fifth", "a few seconds"),
)
def test_rows_that_are_no_healthy_run_of_the_policy_are_refused(
    bare: Path, kept_rows: Path, tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    with np.load(kept_rows) as stored:
        write_arrays(tmp_path / "rows.npz", change(dict(stored)))
    with refusal(ToolError):
        from_rollout(bare, tmp_path / "rows.npz", tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


def contract_with(contract_copy: Path, *changes: tuple[str, str]) -> Path:
    return reword(contract_copy / "policy.yaml", *changes).parent


@pytest.mark.acceptance
@pytest.mark.parametrize(
    "changes",
    [
        [("joint_vel, scale: 0.05", "joint_vel, scale: 0.1")],
        # Limits that a healthy robot passes.
        [(".*_Knee_joint: 2.792", ".*_Knee_joint: 1.31"), ("_joint: 2.55", "_joint: 1.31")],
    ],
)
def test_a_rollout_shows_what_the_contract_says_of_it_wrongly(
    contract_copy: Path, kept_rows: Path, tmp_path: Path, changes: list[tuple[str, str]]
) -> None:
    with refusal(ToolError):
        from_rollout(contract_with(contract_copy, *changes), kept_rows, tmp_path / "whole")


def put_in_loop(contract: Path, model: Path, turns: int | None) -> Path:
    """Write the model with its result passed through a loop; the contract has its hash.

    Args:
        contract: Folder of the contract.
        model: File to write.
        turns: Turns of the loop; None for as many as an input says.
    """
    proto, value = onnx.load(str(WEIGHTS)), helper.make_tensor_value_info
    graph, (result,) = proto.graph, [output.name for output in proto.graph.output]
    for node in graph.node:
        node.output[:] = [f"{name}_before" if name == result else name for name in node.output]
    flag, number = (TensorProto.BOOL, ()), (TensorProto.FLOAT, (1, 12))
    body = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("goes_on", "carried")],
        "body",
        [value("turn", TensorProto.INT64, ()), value("goes_on", *flag), value("carried", *number)],
        [value("goes_on_out", *flag), value("carried_out", *number)],
    )
    inputs = ["" if turns is None else "turns", "", f"{result}_before"]
    graph.node.append(helper.make_node("Loop", inputs, [result], body=body))
    graph.initializer.append(numpy_helper.from_array(np.array(turns or 0, np.int64), "turns"))
    onnx.save(proto, str(model))
    reword(contract / "policy.yaml", (sha256_file(WEIGHTS), sha256_file(model)))
    return model


def test_control_flow_is_declared_with_the_longest_run_of_the_golden_rows(
    contract_copy: Path, tmp_path: Path
) -> None:
    model = put_in_loop(contract_copy, tmp_path / "loop.onnx", 2)
    bundle = make_bundle(contract_copy, model, tmp_path / "made")
    declared = bundle.contract.model.artifacts["onnx"].control_flow
    assert declared is not None
    assert declared.startswith("1 Loop; longest of 256 golden rows: ")

    words = ["compile", "onnx", "--bundle", str(bundle.path), "--precision", "fp16"]
    assert main([*words, "--output", str(tmp_path / "fp16")]) == 0
    compiled = load_bundle(tmp_path / "fp16", kind=JointBundle)
    assert compiled.contract.model.artifacts["onnx"].control_flow == declared


def test_a_loop_that_runs_longer_than_the_period_is_named_with_the_period(
    contract_copy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(complete, "longest_run_s", lambda *_: 0.03)
    model = put_in_loop(contract_copy, tmp_path / "loop.onnx", 2)
    make_bundle(contract_copy, model, tmp_path / "made")
    check_wording(*lines_with(caplog.messages, "longest"))


def test_undeclared_control_flow_is_refused_by_inspect(contract_copy: Path, tmp_path: Path) -> None:
    model = put_in_loop(contract_copy, tmp_path / "loop.onnx", 2)
    bundle = make_bundle(contract_copy, model, tmp_path / "made")
    file = bundle.path / "policy.yaml"
    lines = file.read_text("utf-8").splitlines()
    file.write_text("\n".join(line for line in lines if "control_flow" not in line), "utf-8")
    assert main(["inspect", str(bundle.path)]) == 1


def test_a_loop_without_a_constant_number_of_turns_is_refused(
    contract_copy: Path, tmp_path: Path
) -> None:
    model = put_in_loop(contract_copy, tmp_path / "endless.onnx", None)
    with pytest.raises(ToolError) as error:
        make_bundle(contract_copy, model, tmp_path / "made")
    assert "Loop: expected a constant number of turns" in str(error.value)
    assert not (tmp_path / "made").exists()


def test_without_a_run_golden_rows_are_drawn_and_always_the_same(
    bare: Path, tmp_path: Path
) -> None:
    bundles = [make_bundle(bare, WEIGHTS, tmp_path / name, Completion()) for name in "ab"]
    rows = bundles[0].golden()
    assert bundles[0].sha256 == bundles[1].sha256
    assert bundles[0].contract.nominal is None
    assert rows["obs"].shape == (256, 45)
    assert len(np.unique(rows["obs"], axis=0)) == 256
    np.testing.assert_allclose(np.linalg.norm(rows["obs"][:, 3:6], axis=1), 1.0, atol=1e-6)


def from_rollout(contract_copy: Path, rows: Path, output: Path) -> JointBundle:
    return make_bundle(
        contract_copy, WEIGHTS, output, Completion(measure=partial(recorded_runs, file=rows))
    )


def test_figures_of_another_model_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(OURS, tmp_path / "other")
    model = onnx.load(str(folder / "policy.onnx"))
    bias = next(value for value in model.graph.initializer if len(value.dims) == 1)
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 0.1, bias.name))
    onnx.save(model, str(folder / "policy.onnx"))
    contract_with(folder, (sha256_file(WEIGHTS), sha256_file(folder / "policy.onnx")))

    made = make_bundle(folder, None, tmp_path / "made")

    assert made.contract.nominal is None
    assert made.contract.reports == {}
    check_wording(*caplog.messages)


def test_without_a_run_what_was_measured_with_this_model_stays(tmp_path: Path) -> None:
    made, ours = (
        make_bundle(OURS, None, tmp_path / "made").contract,
        load_bundle(OURS, kind=JointBundle).contract,
    )

    assert made.nominal is not None
    assert ours.nominal is not None
    np.testing.assert_equal(asdict(made.nominal), asdict(ours.nominal))
    assert made.model.golden == ours.model.golden
    assert made.reports == ours.reports
