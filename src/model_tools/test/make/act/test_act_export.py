# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From checkpoints to bundles: what they hold, and what is refused."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from model_tools.cli import main
from model_tools.errors import ToolError
from model_tools.files.bpu_files import BOARD_FOLDER
from model_tools.files.lerobot.dataset_info import CONVERSION_REPORT, recorded_pairing
from model_tools.files.observation_sources import open_source
from model_tools.make.act.act_export import export_checkpoint
from model_tools.make.act.golden_rows import ReferenceGraphs, action_normaliser
from model_tools.make.act.graphs import POLICY, VISION
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import Pairing
from policy_core.bundle.load import load_bundle
from policy_core.errors import BundleError
from policy_core.interfaces import F64, Tensor
from testkit.wording import check_wording, lines_with, refusal

from ...files.lerobot.small_dataset import HEIGHT, WIDTH, state, write_dataset
from .conftest import CopyCheckpoint
from .exports import ask, exported, small_arm
from .small_checkpoints import ACTION, STATE, config_of, random_statistics, write_checkpoint


def chunk_of(act_bundle: ChunkBundle, rows: dict[str, Tensor]) -> F64:
    """Return what the bundle's files answer on raw observations, in the policy's units."""
    reference = ReferenceGraphs(act_bundle.contract, models_of(act_bundle))
    return action_normaliser(act_bundle.contract).undo(reference.normalised(rows))


def models_of(act_bundle: ChunkBundle) -> dict[str, onnx.ModelProto]:
    return {
        name: onnx.load(str(act_bundle.path / graph.artifacts["onnx"].file))
        for name, graph in act_bundle.contract.graphs.items()
    }


FRONT = "observation.images.front"


@pytest.fixture
def act_checkpoint(checkpoint_like: CopyCheckpoint) -> Path:
    return checkpoint_like("act")


@pytest.fixture(scope="module")
def act_bundle(tmp_path_factory: pytest.TempPathFactory) -> ChunkBundle:
    return exported(write_checkpoint(tmp_path_factory.mktemp("act") / "c", config_of()))


def warnings_of(act_checkpoint: Path, **changed: Any) -> list[str]:
    return list(export_checkpoint(ask(act_checkpoint, **changed)).warnings)


@pytest.mark.slow
def test_the_old_format_gives_the_same_bundle(act_bundle: ChunkBundle, tmp_path: Path) -> None:
    old = exported(write_checkpoint(tmp_path / "old", config_of(), is_old=True))
    assert old.contract.graphs == act_bundle.contract.graphs
    assert old.contract.cameras == act_bundle.contract.cameras
    np.testing.assert_equal(asdict(old.contract.action), asdict(act_bundle.contract.action))
    np.testing.assert_array_equal(old.golden()["chunk"], act_bundle.golden()["chunk"])


def test_a_bundle_says_what_the_checkpoint_knows(act_bundle: ChunkBundle) -> None:
    contract, statistics = act_bundle.contract, random_statistics(config_of())
    assert list(contract.cameras) == ["front", "wrist"]
    front = contract.cameras["front"]
    assert (front.feature, front.height, front.width) == (FRONT, 40, 64)
    assert (front.encoder, front.tensor) == (VISION, "front_features")
    assert (front.timeout_s, front.camera_frozen_s) == (0.5, 0.5)
    assert (contract.chunk.size, contract.chunk.steps) == (7, 4)
    assert contract.state is not None
    for found, name in (
        (contract.state.normalisation.mean, f"{STATE}.mean"),
        (front.normalisation.std, f"{FRONT}.std"),
    ):
        np.testing.assert_allclose(np.array(found), statistics[name].ravel(), rtol=1e-7)
    assert contract.joints.names[0] == "shoulder_pan"
    assert contract.action.grippers == ("gripper",)
    assert contract.units["gripper"].unit == "range_0_100"
    assert contract.safety.on_fault == "hold_measured"
    assert contract.provenance.checkpoint_sha256 is not None
    act_bundle.verify()


def test_golden_rows_are_what_the_files_answer_on_raw_images(act_bundle: ChunkBundle) -> None:
    golden: Any = act_bundle.golden()
    front, wrist = golden["cameras.front"], golden["cameras.wrist"]
    assert front.dtype == np.uint8
    np.testing.assert_allclose(chunk_of(act_bundle, golden), golden["chunk"], rtol=0.0, atol=1e-4)
    swapped = {**golden, "cameras.front": wrist, "cameras.wrist": front}
    assert np.abs(chunk_of(act_bundle, swapped) - golden["chunk"]).max() > 1e-3


def test_the_boards_script_finds_statistics_and_a_chunk(act_bundle: ChunkBundle) -> None:
    found = {file.stem: np.load(file) for file in (act_bundle.path / BOARD_FOLDER).iterdir()}
    statistics = random_statistics(config_of())
    for stem, name in (
        ("front_mean", f"{FRONT}.mean"),
        ("action_mean", f"{STATE}.mean"),
        ("action_std_unnormalize", f"{ACTION}.std"),
    ):
        np.testing.assert_allclose(found[stem], statistics[name], rtol=1e-6)
    # The network's own answer: the script brings it back with the statistics above.
    chunk, std = found["new_actions"], found["action_std_unnormalize"]
    assert chunk.shape == (1, 7, 6)
    back = chunk[0] * std + found["action_mean_unnormalize"]
    np.testing.assert_allclose(back, act_bundle.golden()["chunk"][0], rtol=0.0, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "low", "high"), [("MIN_MAX", "min", "max"), ("QUANTILES", "q01", "q99")]
)
def test_other_normalisations_are_ranges(tmp_path: Path, mode: str, low: str, high: str) -> None:
    modes = {"VISUAL": "IDENTITY", "STATE": mode, "ACTION": mode}
    config = config_of(cameras={"front": (32, 32)}, normalization_mapping=modes)
    statistics = random_statistics(config)
    for feature in (STATE, ACTION):
        statistics[f"{feature}.{low}"] = np.full(6, -7.5, np.float32)
        statistics[f"{feature}.{high}"] = np.full(6, 8.5, np.float32)
    act_bundle = exported(write_checkpoint(tmp_path / "c", config, statistics=statistics))
    action = act_bundle.contract.action.normalisation
    assert (action.mode, action.min, action.max) == ("min_max", (-7.5,) * 6, (8.5,) * 6)
    assert act_bundle.contract.cameras["front"].normalisation.mode == "identity"
    mean = np.load(act_bundle.path / BOARD_FOLDER / "action_mean_unnormalize.npy")
    np.testing.assert_allclose(mean, np.full(6, 0.5))


@pytest.mark.slow
def test_a_camera_that_is_renamed_is_bound_under_the_robots_name(act_checkpoint: Path) -> None:
    file = act_checkpoint / "policy_preprocessor.json"
    content = json.loads(file.read_text())
    content["steps"][0]["config"]["rename_map"] = {"observation.images.laptop": FRONT}
    file.write_text(json.dumps(content))
    cameras = exported(act_checkpoint).contract.cameras
    assert list(cameras) == ["laptop", "wrist"]
    assert cameras["laptop"].feature == "observation.images.laptop"
    mean = random_statistics(config_of())[f"{FRONT}.mean"].ravel()
    np.testing.assert_allclose(np.array(cameras["laptop"].normalisation.mean), mean, rtol=1e-7)


@pytest.mark.slow
def test_simplified_graphs_are_the_same_function(act_checkpoint: Path) -> None:
    made = export_checkpoint(ask(act_checkpoint, simplify=True, opset=11))
    lines_with(made.checked, "simplified")
    model = onnx.load(str(act_checkpoint.parent / "bundle" / VISION / f"{VISION}.onnx"))
    assert (model.opset_import[0].version, model.ir_version) == (11, 7)


@pytest.mark.slow
def test_golden_rows_of_the_training_are_compared_and_kept(
    act_bundle: ChunkBundle, act_checkpoint: Path, tmp_path: Path
) -> None:
    rows: Any = act_bundle.golden()
    file = tmp_path / "rows.npz"
    np.savez(file, **{name: array[:2] for name, array in rows.items()})
    lines_with(export_checkpoint(ask(act_checkpoint, golden=file)).checked, "rows.npz")
    again = load_bundle(tmp_path / "bundle", kind=ChunkBundle)
    assert len(again.golden()["state"]) == 2
    np.savez(file, **{**rows, "cameras.front": rows["cameras.front"][..., ::-1]})
    with refusal(ToolError):
        exported(act_checkpoint, golden=file, force=True)
    np.savez(file, state=rows["state"], chunk=rows["chunk"])
    with refusal(ToolError):
        exported(act_checkpoint, golden=file, force=True)


def test_a_joint_that_never_moved_is_a_warning(tmp_path: Path) -> None:
    config = config_of(cameras={}, outside=2)
    statistics = random_statistics(config)
    for feature in (STATE, ACTION):
        statistics[f"{feature}.std"][2] = 0.0
    act_checkpoint = write_checkpoint(tmp_path / "c", config, statistics=statistics)
    check_wording(*warnings_of(act_checkpoint))


@pytest.mark.parametrize(
    ("units", "largest"), [("range", 140.0), ("radians", 90.0), ("degrees", 1.5)]
)
def test_units_that_the_data_contradict_are_a_warning_or_refused(
    tmp_path: Path, units: str, largest: float
) -> None:
    config = config_of(cameras={}, outside=2)
    statistics = random_statistics(config)
    for feature in (STATE, ACTION):
        for kind in ("mean", "min", "max"):
            statistics[f"{feature}.{kind}"][:] = [largest, 0.1, 0.1, 0.1, 0.1, 50.0]
    act_checkpoint = write_checkpoint(tmp_path / "c", config, statistics=statistics)
    if units == "radians":  # the robot would start at its limits
        with refusal(ToolError):
            exported(act_checkpoint, units=units)
    else:
        check_wording(*warnings_of(act_checkpoint, units=units))


def test_what_is_asked_besides_is_in_the_contract(tmp_path: Path) -> None:
    config = config_of(cameras={}, outside=2, temporal_ensemble_coeff=0.01, n_action_steps=1)
    asked = write_checkpoint(tmp_path / "c", config)
    contract = exported(asked, units="range").contract
    pan, roll = contract.units["shoulder_pan"], contract.units["wrist_roll"]
    assert (pan.unit, pan.low_rad, pan.high_rad) == ("range_m100_100", -1.919862, 1.919862)
    assert (roll.low_rad, roll.high_rad) == (-3.141593, 3.141593)
    assert contract.chunk.ensemble_coeff == 0.01
    config = config_of(cameras={}, outside=2)
    (asked / "config.json").write_text(json.dumps(config))
    assert exported(asked, steps=7, force=True).contract.chunk.steps == 7


def test_a_robot_of_ones_own_is_a_file(tmp_path: Path) -> None:
    act_checkpoint = write_checkpoint(tmp_path / "c", config_of(cameras={}, outside=2))
    joint = (
        "{position_min: -1, position_max: 1, velocity_limit: 2, effort_limit: 3, "
        "stiffness: 4, damping: 5}"
    )
    file = tmp_path / "arm.yaml"
    lines = [f"  j-{i}: {joint}" for i in range(6)]
    file.write_text("\n".join(["source: mine", "joints:", *lines]))
    contract = exported(act_checkpoint, robot=str(file), prefix="arm_").contract
    assert contract.joints.names == tuple(f"arm_j-{i}" for i in range(6))
    assert contract.joints.effort_limit.tolist() == [3.0] * 6
    assert contract.action.grippers == ()
    file.write_text("\n".join(["source: mine", "joints:", *lines[:4]]))
    with refusal(ToolError):
        exported(act_checkpoint, robot=str(file), force=True)
    file.write_text("joints: {}")
    with refusal(BundleError):
        exported(act_checkpoint, robot=str(file), force=True)


FOREIGN = (
    "mine.txt",
    f"{BOARD_FOLDER}/{VISION}.hbm",
    f"{POLICY}/calibration_data_{POLICY}/state/mine.npy",
)


@pytest.mark.slow
def test_nothing_is_replaced_without_force_and_force_spares_what_no_export_wrote(
    act_checkpoint: Path,
) -> None:
    act_bundle = exported(act_checkpoint)
    before = act_bundle.file.read_bytes()
    with refusal(ToolError):
        exported(act_checkpoint)
    for name in FOREIGN:
        theirs = act_bundle.path / name
        theirs.parent.mkdir(parents=True, exist_ok=True)
        theirs.write_text("theirs")
        with refusal(ToolError):
            exported(act_checkpoint, force=True, name="other")
        assert theirs.read_text() == "theirs"
        assert act_bundle.file.read_bytes() == before
        theirs.unlink()
    exported(act_checkpoint, force=True, name="other", graphs="one")


@pytest.mark.slow
def test_steps_and_torques_of_a_dataset_are_nominal(tmp_path: Path) -> None:
    config = config_of(cameras={"laptop": (HEIGHT, WIDTH)}, state=3, action=3)
    act_checkpoint = write_checkpoint(tmp_path / "checkpoint", config)
    lengths = (12, 9)
    dataset = write_dataset(tmp_path / "data", lengths)
    arm = str(small_arm(tmp_path))
    act_bundle = exported(act_checkpoint, robot=arm, dataset=dataset)
    nominal, stated = act_bundle.contract.nominal, act_bundle.contract.joints
    assert nominal is not None
    assert nominal.ticks == 21
    check_wording(nominal.source)
    # Degrees for two joints; 0 to 100 is from -1 to 1 rad for the gripper.
    rad = np.array([np.pi / 180, np.pi / 180, 2 / 100])
    states = [np.array([state(i, j) for j in range(n + 1)], float) for i, n in enumerate(lengths)]
    steps = np.max([np.abs(np.diff(one[1:], axis=0)).max(axis=0) for one in states], axis=0) * rad
    steps[-1] = stated.velocity_limit[-1] / 30.0  # as far as it goes in a tick
    np.testing.assert_allclose(nominal.target_step, steps, rtol=1e-3)
    spring = [4.0 * (one[1:] - one[:-1]) * rad for one in states]
    moved = [5.0 * np.gradient(one[:-1] * rad, axis=0) * 30.0 for one in states]
    demands = np.concatenate([*spring, *(a - b for a, b in zip(spring, moved, strict=True))])
    np.testing.assert_allclose(nominal.effort_demand, np.abs(demands).max(axis=0), rtol=1e-3)
    assert set(stated.stiffness) == {4.0}
    assert exported(act_checkpoint, robot=arm, force=True).contract.nominal is None


@pytest.mark.slow
def test_the_pairing_is_that_of_a_converted_dataset(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(cameras={"laptop": (HEIGHT, WIDTH)}, state=3, action=3)
    act_checkpoint = write_checkpoint(tmp_path / "checkpoint", config)
    dataset, arm = write_dataset(tmp_path / "data", (12, 9)), str(small_arm(tmp_path))
    of_lerobot = exported(act_checkpoint, robot=arm, dataset=dataset).contract
    pairing = {"rule": "newest", "tolerance_s": 0.1}
    (dataset / CONVERSION_REPORT).write_text(json.dumps({"pairing": pairing}))

    converted = exported(act_checkpoint, robot=arm, dataset=dataset, force=True).contract

    assert converted.pairing == Pairing(rule="newest", tolerance_s=0.1)
    assert of_lerobot.pairing == Pairing(rule="newest")
    without = exported(act_checkpoint, robot=arm, force=True).contract
    assert without.pairing == Pairing()
    assert not caplog.records
    open_source(without, dataset)
    check_wording(*caplog.messages)
    (dataset / CONVERSION_REPORT).write_text('{"pairing": {"rule": "oldest"}}')
    with refusal(BundleError):
        recorded_pairing(dataset)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.2", [0.2, 0.2, 0.2]), ("shoulder_pan=0.1,elbow_flex=0.2,gripper=0.3", [0.1, 0.2, 0.3])],
)
def test_the_reach_of_targets_is_stated(tmp_path: Path, text: str, expected: Any) -> None:
    config = config_of(cameras={}, outside=2, state=3, action=3)
    act_checkpoint = write_checkpoint(tmp_path / "checkpoint", config)
    asked = (
        f"export act --act-path {act_checkpoint} --export-path {tmp_path / 'b'} "
        f"--units degrees --robot {small_arm(tmp_path)}"
    ).split()
    assert main([*asked, "--max-relative-target", "shoulder_pan=0.1"]) == 4
    assert main([*asked, "--max-relative-target", text]) == 0
    reach = load_bundle(tmp_path / "b", kind=ChunkBundle).contract.action.max_relative_target
    assert reach is not None
    assert reach.tolist() == expected


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "a", "", "a=1,a=2", "a=1,2", "a="])
def test_a_reach_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "act", f"--max-relative-target={text}"])
    assert "JOINT=RAD" in lines_with(capsys.readouterr().err, "error:")[0]


@pytest.mark.slow
def test_the_command_writes_a_bundle_and_asks_for_units(
    act_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "Reach-1"
    asked = f"export act --act-path {act_checkpoint} --export-path {output} --opset 11".split()
    with pytest.raises(SystemExit):
        main(asked)
    assert "--units" in capsys.readouterr().err
    assert main([*asked, "--units", "degrees", "--fps", "50"]) == 0
    contract = load_bundle(output, kind=ChunkBundle).contract
    assert (contract.name, contract.rate_hz) == ("reach_1", 50.0)
    assert contract.provenance.licence == "NOASSERTION"
    model = onnx.load(str(output / POLICY / f"{POLICY}.onnx"))
    assert model.opset_import[0].version == 11
    assert main([*asked, "--units", "degrees"]) == 4
    # The rate of a training in simulation.
    (act_checkpoint / "train_config.json").write_text(json.dumps({"env": {"fps": 15}}))
    assert main([*asked, "--units", "degrees", "--force"]) == 0
    assert load_bundle(output, kind=ChunkBundle).contract.rate_hz == 15.0
