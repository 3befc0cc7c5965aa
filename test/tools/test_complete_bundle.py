# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A contract and its weights become a whole bundle, or nothing changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from model_tools.contract_text import set_section
from policy_inference.bundle.load import Bundle, load_bundle, sha256_of
from policy_inference.errors import PolicyError
from tools.complete_bundle import complete_bundle, main

OURS = Path(__file__).resolve().parents[2] / "config" / "bundles" / "lite3_walk"
WEIGHTS = OURS / "policy.onnx"


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
def whole(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """What becomes of the contract."""
    return complete_bundle(bare, WEIGHTS, tmp_path_factory.mktemp("bundles") / "whole")


def test_a_contract_becomes_a_whole_bundle(bare: Path, whole: Bundle) -> None:
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


def test_completing_again_in_place_measures_the_same(whole: Bundle, tmp_path: Path) -> None:
    folder = shutil.copytree(whole.path, tmp_path / "whole")
    again = complete_bundle(folder, WEIGHTS, folder, force=True)
    assert again.sha256 == whole.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_the_shipped_bundle_has_the_nominal_that_is_measured(whole: Bundle) -> None:
    shipped, measured = load_bundle(OURS).contract.nominal, whole.contract.nominal
    assert shipped is not None
    assert measured is not None
    # Another processor rounds otherwise, and a walk of 80 s then takes other steps.
    for name in ("target_step", "effort_demand"):
        expected, found = (dict(getattr(nominal, name)) for nominal in (shipped, measured))
        assert found == pytest.approx(expected, rel=0.4)


def test_an_output_that_exists_is_kept_unless_forced(contract: Path, tmp_path: Path) -> None:
    output = tmp_path / "whole"
    output.mkdir()
    (output / "precious").touch()
    with pytest.raises(PolicyError, match=r"whole: expected no such folder yet.*--force"):
        complete_bundle(contract, WEIGHTS, output)
    assert [file.name for file in output.iterdir()] == ["precious"]


def test_other_weights_are_refused(contract: Path, tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"other")
    with pytest.raises(PolicyError, match=rf"other\.onnx: expected sha256 {sha256_of(WEIGHTS)}"):
        complete_bundle(contract, tmp_path / "other.onnx", tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


def test_golden_vectors_of_another_model_are_refused(contract: Path, tmp_path: Path) -> None:
    with np.load(OURS / "golden.npz") as stored:
        arrays = dict(stored)
    arrays["actions"] = arrays["actions"] + 1e-3
    with (tmp_path / "golden.npz").open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    with pytest.raises(PolicyError, match="golden vectors: expected the model's outputs"):
        complete_bundle(contract, WEIGHTS, tmp_path / "whole", tmp_path / "golden.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contract", "golden.npz"]


def test_a_policy_that_does_not_walk_has_no_nominal(contract: Path, tmp_path: Path) -> None:
    file = contract / "policy.yaml"
    text = file.read_text(encoding="utf-8")
    # Seen as ten times as fast, joint velocities make the robot fall.
    file.write_text(text.replace("joint_vel, scale: 0.05", "joint_vel, scale: 0.5"))
    with pytest.raises(PolicyError, match="only a healthy policy has a nominal"):
        complete_bundle(contract, WEIGHTS, tmp_path / "whole")


def test_a_policy_of_another_robot_is_refused(contract: Path, tmp_path: Path) -> None:
    file = contract / "policy.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("FL_Knee_joint", "FL_Elbow_joint")
                    .replace("_Knee_joint: ", "_(Knee|Elbow)_joint: "))  # fmt: skip
    with pytest.raises(PolicyError, match="missing: FL_Elbow_joint"):
        complete_bundle(contract, WEIGHTS, tmp_path / "whole")


def test_the_command_says_what_is_wrong_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = tmp_path / "missing"
    arguments = ["--contract", str(missing), "--weights", str(WEIGHTS), "--output", str(missing)]
    assert main(arguments) == 1
    (record,) = caplog.records
    assert "policy.yaml: expected a file, found nothing" in record.getMessage()


@pytest.mark.parametrize(
    ("before", "key", "after"),
    [
        pytest.param("a: 1\n", "b", "a: 1\n\nb: {x: 2}\n", id="added at the end"),
        pytest.param("b:\n  x: 1\n\n# c\nc: 3\n", "b", "b: {x: 2}\n\n# c\nc: 3\n", id="replaced"),
        pytest.param("a:\n  z: 1\n\nc: 3\n", "a.b", "a:\n  z: 1\n  b: {x: 2}\n\nc: 3\n",
                     id="added to a section"),
        pytest.param("a:\n  b:\n    x: 1\n  # z\n  z: 1\n", "a.b",
                     "a:\n  b: {x: 2}\n  # z\n  z: 1\n", id="replaced in a section"),
        pytest.param("b: {x: 1,\n    y: 2}\nc: 3\n", "b", "b: {x: 2}\nc: 3\n",
                     id="replaced over two lines"),
    ],
)  # fmt: skip
def test_a_section_is_set_and_the_rest_stays(before: str, key: str, after: str) -> None:
    assert set_section(before, key, {"x": 2}) == after
    yaml.safe_load(after)


def test_a_word_is_set_as_a_section_is() -> None:
    text = set_section("a: 1\nversion: '0.2.0'\nb: 2\n", "version", "0.0.0")
    assert yaml.safe_load(text) == {"a": 1, "version": "0.0.0", "b": 2}


def test_a_section_in_a_missing_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.b: expected a section 'a' in block"):
        set_section("c: 3\n", "a.b", {"x": 2})
