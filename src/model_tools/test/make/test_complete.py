# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A contract and its weights become a whole bundle, or nothing changes."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import numpy_helper

from model_tools.errors import ToolError
from model_tools.files.arrays import write_arrays
from model_tools.make.complete import Completion, make_bundle
from model_tools.make.nominal import MeasuredRuns, recorded_runs
from model_tools.make.unrecorded import drawn_rows, simulated_walks
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.verified import sha256_of
from policy_inference.errors import PolicyError
from testkit.wording import refusal

from ..tiny_bundle import make_counting_bundle

OURS = Path(__file__).resolve().parents[4] / "config" / "bundles" / "lite3_walk"
WEIGHTS = OURS / "policy.onnx"


class Walks:
    """The walks of our policy, measured once: they are the same each time, and take ten seconds."""

    found: MeasuredRuns | None = None

    def __call__(self, bundle: JointBundle) -> MeasuredRuns:
        self.found = self.found or simulated_walks(bundle)
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
def contract(bare: Path, tmp_path: Path) -> Path:
    """A contract to spoil."""
    return shutil.copytree(bare, tmp_path / "contract")


@pytest.fixture(scope="module")
def whole(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> JointBundle:
    """What becomes of the contract; the rows of the walks are beside it."""
    folder = tmp_path_factory.mktemp("bundles")
    wanted = Completion(measure=WALKS, rows_output=folder / "walk.npz")
    return make_bundle(bare, WEIGHTS, folder / "whole", wanted)


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


def test_completing_again_in_place_gives_the_same(whole: JointBundle, tmp_path: Path) -> None:
    folder = shutil.copytree(whole.path, tmp_path / "whole")
    again = make_bundle(folder, None, folder, WALKED, force=True)
    assert again.sha256 == whole.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_the_shipped_bundle_has_the_nominal_that_is_measured(whole: JointBundle) -> None:
    shipped, measured = load_bundle(OURS, kind=JointBundle).contract.nominal, whole.contract.nominal
    assert shipped is not None
    assert measured is not None
    # Another processor rounds otherwise, and a walk of 80 s then takes other steps.
    for name in ("target_step", "effort_demand"):
        np.testing.assert_allclose(getattr(measured, name), getattr(shipped, name), rtol=0.4)


def test_an_output_that_exists_is_kept_unless_forced(contract: Path, tmp_path: Path) -> None:
    output = tmp_path / "whole"
    output.mkdir()
    (output / "precious").touch()
    with refusal(PolicyError):
        make_bundle(contract, WEIGHTS, output, WALKED)
    assert [file.name for file in output.iterdir()] == ["precious"]


def test_other_weights_are_refused(contract: Path, tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"other")
    with refusal(PolicyError):
        make_bundle(contract, tmp_path / "other.onnx", tmp_path / "whole", WALKED)
    assert not (tmp_path / "whole").exists()


def test_open_questions_are_listed_and_what_else_is_wrong_after_them(
    contract: Path, tmp_path: Path
) -> None:
    file = contract / "policy.yaml"
    values = yaml.safe_load(file.read_text("utf-8"))
    values["stand"]["duration_s"] = {"TODO": "time to reach the pose, " * 10}
    values["damp"]["damping"] = {"TODO": "gain"}
    values["rate_hz"] = "fast"
    file.write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")
    with pytest.raises(ToolError) as caught:
        make_bundle(contract, WEIGHTS, tmp_path / "whole")
    first, *others = str(caught.value).splitlines()
    assert first == (
        f"{file}: expected no open questions, found 2; answer them in the file, or "
        "with --set or --answers of the import"
    )
    assert others == [
        "TODO stand.duration_s: " + "time to reach the pose, " * 10,
        "TODO damp.damping: gain",
        f"{file}: rate_hz: expected a number, found 'fast'",
    ]


def test_a_checkpoint_for_a_model_is_sent_to_export(contract: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "policy.pt"
    checkpoint.write_bytes(pickle.dumps({"weights": [1.0]}))
    with refusal(ToolError):
        make_bundle(contract, checkpoint, tmp_path / "whole")


def test_what_is_no_contract_is_named_as_it_was_given(tmp_path: Path) -> None:
    with refusal(ToolError):
        make_bundle(Path("WALK"), None, tmp_path / "whole")


def test_golden_vectors_of_another_model_are_refused(contract: Path, tmp_path: Path) -> None:
    with np.load(OURS / "golden.npz") as stored:
        arrays = dict(stored)
    arrays["action"] = arrays["action"] + 1e-3
    with (tmp_path / "golden.npz").open("wb") as stream:
        np.savez(stream, **arrays)
    with refusal(PolicyError):
        make_bundle(
            contract, WEIGHTS, tmp_path / "whole", Completion(golden=tmp_path / "golden.npz")
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contract", "golden.npz"]


def test_a_policy_that_does_not_walk_has_no_nominal(contract: Path, tmp_path: Path) -> None:
    file = contract / "policy.yaml"
    text = file.read_text(encoding="utf-8")
    # Seen as ten times as fast, joint velocities make the robot fall.
    file.write_text(text.replace("joint_vel, scale: 0.05", "joint_vel, scale: 0.5"))
    with refusal(PolicyError):
        make_bundle(contract, WEIGHTS, tmp_path / "whole", Completion(measure=simulated_walks))


def test_a_policy_of_another_robot_is_refused(contract: Path, tmp_path: Path) -> None:
    file = contract / "policy.yaml"
    file.write_text(
        file.read_text(encoding="utf-8")
        .replace("FL_Knee_joint", "FL_Elbow_joint")
        .replace("_Knee_joint: ", "_(Knee|Elbow)_joint: ")
    )
    with refusal(PolicyError):
        make_bundle(contract, WEIGHTS, tmp_path / "whole", Completion(measure=simulated_walks))


@pytest.fixture(scope="module")
def kept_rows(whole: JointBundle) -> Path:
    """All rows of the walks that the nominal was measured in."""
    return whole.path.with_name("walk.npz")


def test_a_rollout_gives_the_nominal_that_its_run_had(
    bare: Path, whole: JointBundle, kept_rows: Path, tmp_path: Path
) -> None:
    bundle = make_bundle(
        bare,
        WEIGHTS,
        tmp_path / "from_rollout",
        Completion(measure=partial(recorded_runs, file=kept_rows)),
    )
    found, expected = bundle.contract.nominal, whole.contract.nominal
    assert found is not None
    assert expected is not None
    assert found.ticks == expected.ticks
    assert np.array_equal(found.effort_demand, expected.effort_demand)
    assert found.observation == expected.observation
    # The jumps from the end of one walk to the beginning of the next are no larger.
    assert np.array_equal(found.target_step, expected.target_step)
    assert found.source == f"walk.npz, {expected.ticks} ticks"


def test_a_rollout_of_another_policy_is_refused(
    bare: Path, kept_rows: Path, tmp_path: Path
) -> None:
    with np.load(kept_rows) as stored:
        arrays = dict(stored)
    np.savez(tmp_path / "other.npz", **{**arrays, "action": arrays["action"] * 1.01})
    with refusal(ToolError):
        make_bundle(
            bare,
            WEIGHTS,
            tmp_path / "whole",
            Completion(measure=partial(recorded_runs, file=tmp_path / "other.npz")),
        )
    assert not (tmp_path / "whole").exists()


def test_a_rollout_without_measured_joints_has_no_nominal(
    bare: Path, kept_rows: Path, tmp_path: Path
) -> None:
    with np.load(kept_rows) as stored:
        np.savez(tmp_path / "obs.npz", obs=stored["obs"])
    with refusal(ToolError):
        make_bundle(
            bare,
            WEIGHTS,
            tmp_path / "whole",
            Completion(measure=partial(recorded_runs, file=tmp_path / "obs.npz")),
        )


def test_limits_that_a_healthy_robot_passes_are_noticed(
    contract: Path, kept_rows: Path, tmp_path: Path
) -> None:
    file = contract / "policy.yaml"
    file.write_text(
        file.read_text("utf-8")
        .replace(".*_Knee_joint: 2.792", ".*_Knee_joint: 1.31")
        .replace(".*_Knee_joint: 2.55", ".*_Knee_joint: 1.31"),
        "utf-8",
    )
    with refusal(ToolError):
        make_bundle(
            contract,
            WEIGHTS,
            tmp_path / "whole",
            Completion(measure=partial(recorded_runs, file=kept_rows)),
        )


@pytest.mark.parametrize(("frames", "last"), [(700, 699), (3000, 2999), (None, 180_000)])
def test_drawn_rows_go_through_all_ticks(tmp_path: Path, frames: int | None, last: int) -> None:
    """To the end of the motion, else of an hour at 50 Hz."""
    ticks = drawn_rows(
        load_bundle(make_counting_bundle(tmp_path / "counting", frames), kind=JointBundle)
    ).inputs["t"]

    assert (ticks.min(), ticks.max()) == (0, last)
    assert len(np.unique(ticks)) == len(ticks)


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


def test_rows_that_are_there_are_kept_unless_forced(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "walk.npz").touch()
    wanted = Completion(measure=simulated_walks, rows_output=tmp_path / "walk.npz")
    with refusal(ToolError):
        make_bundle(bare, WEIGHTS, tmp_path / "whole", wanted)
    assert not (tmp_path / "whole").exists()


def mutated(kept_rows: Path, file: Path, **changes: Any) -> Path:
    """Save the rows of the walks with other arrays in the place of some."""
    with np.load(kept_rows) as stored:
        write_arrays(file, {**dict(stored), **changes})
    return file


def from_rollout(contract: Path, rows: Path, output: Path) -> JointBundle:
    return make_bundle(
        contract, WEIGHTS, output, Completion(measure=partial(recorded_runs, file=rows))
    )


def test_measured_joints_that_do_not_make_the_observations_are_refused(
    bare: Path, kept_rows: Path, tmp_path: Path
) -> None:
    with np.load(kept_rows) as stored:
        degrees = np.degrees(stored["joint_pos"])
    rows = mutated(kept_rows, tmp_path / "degrees.npz", joint_pos=degrees)
    with refusal(ToolError):
        from_rollout(bare, rows, tmp_path / "whole")


@pytest.mark.parametrize(
    ("before", "after", "term"),
    [
        ("base_ang_vel, scale: 0.25", "base_ang_vel, scale: 0.5", None),
        ("joint_vel, scale: 0.05", "joint_vel, scale: 0.1", "joint_vel"),
        (".*_HipY_joint: -0.65", ".*_HipY_joint: -0.8", "joint_pos_rel"),
        (
            "- {term: joint_pos_rel}\n      - {term: joint_vel, scale: 0.05}",
            "- {term: joint_vel, scale: 0.05}\n      - {term: joint_pos_rel}",
            "joint_(?:vel|pos_rel)",
        ),
    ],
)
def test_a_rollout_shows_what_the_contract_says_of_it_wrongly(
    contract: Path, kept_rows: Path, tmp_path: Path, before: str, after: str, term: str | None
) -> None:
    file = contract / "policy.yaml"
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, after), "utf-8")
    if term is None:  # the walks hold no angular velocity beside the observation
        from_rollout(contract, kept_rows, tmp_path / "whole")
        return
    with refusal(ToolError):
        from_rollout(contract, kept_rows, tmp_path / "whole")


def test_rows_that_do_not_follow_one_another_have_no_nominal(
    bare: Path, kept_rows: Path, tmp_path: Path
) -> None:
    with np.load(kept_rows) as stored:
        every_fifth = {
            name: values[::5] if name != "joint_names" else values
            for name, values in stored.items()
        }
    np.savez(tmp_path / "sparse.npz", **every_fifth)
    with refusal(ToolError):
        from_rollout(bare, tmp_path / "sparse.npz", tmp_path / "whole")


def test_a_few_seconds_are_no_healthy_run(bare: Path, kept_rows: Path, tmp_path: Path) -> None:
    with np.load(kept_rows) as stored:
        short = {
            name: values[:300] if name != "joint_names" else values
            for name, values in stored.items()
        }
    np.savez(tmp_path / "short.npz", **short)
    with refusal(ToolError):
        from_rollout(bare, tmp_path / "short.npz", tmp_path / "whole")


def test_a_run_without_turning_says_so(
    bare: Path, kept_rows: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with np.load(kept_rows) as stored:  # standing, then forward at two speeds
        straight = {
            name: values[:700] if name != "joint_names" else values
            for name, values in stored.items()
        }
    np.savez(tmp_path / "straight.npz", **straight)
    from_rollout(bare, tmp_path / "straight.npz", tmp_path / "whole")
    assert "the command never changed turning" in caplog.text
    assert "the command never changed sideways" in caplog.text
    assert "forward" not in caplog.text


def test_a_healthy_robot_that_grazes_a_limit_is_noted_and_not_refused(
    contract: Path, kept_rows: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with np.load(kept_rows) as stored:
        targets = -0.65 + 0.25 * stored["action"][:, 1].astype(float)
    file = contract / "policy.yaml"
    highest = float(np.quantile(targets, 0.99))
    file.write_text(
        file.read_text("utf-8").replace(
            "position_max: {.*_HipX_joint: 0.523, .*_HipY_joint: 0.314",
            f"position_max: {{.*_HipX_joint: 0.523, FL_HipY_joint: {highest:.4f}, "
            ".*_HipY_joint: 0.314",
        ),
        "utf-8",
    )
    from_rollout(contract, kept_rows, tmp_path / "whole")
    assert "limits of joints cut targets in 1.0" in caplog.text
    assert "up to 5% is accepted" in caplog.text
    assert "FL_HipY_joint by up to" in caplog.text


def test_golden_rows_that_are_all_the_same_are_refused(bare: Path, tmp_path: Path) -> None:
    golden = load_bundle(OURS, kind=JointBundle).golden()
    write_arrays(tmp_path / "same.npz", {name: rows[[3] * 200] for name, rows in golden.items()})
    with refusal(ToolError):
        make_bundle(bare, WEIGHTS, tmp_path / "whole", Completion(golden=tmp_path / "same.npz"))


def test_figures_of_another_model_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(OURS, tmp_path / "other")
    model = onnx.load(str(folder / "policy.onnx"))
    bias = next(value for value in model.graph.initializer if len(value.dims) == 1)
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 0.1, bias.name))
    onnx.save(model, str(folder / "policy.onnx"))
    file = folder / "policy.yaml"
    file.write_text(
        file.read_text("utf-8").replace(sha256_of(WEIGHTS), sha256_of(folder / "policy.onnx")),
        "utf-8",
    )

    made = make_bundle(folder, None, tmp_path / "made")

    assert made.contract.nominal is None
    assert made.contract.reports == {}
    assert "the nominal figures are left out: no golden rows show" in caplog.text
    assert "reports/acceptance.json: left out" in caplog.text


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
