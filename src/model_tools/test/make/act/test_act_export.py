# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From checkpoints to bundles: what they hold, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from model_tools.cli import main
from model_tools.errors import ToolError
from model_tools.files.bpu_files import BOARD_FOLDER
from model_tools.files.lerobot.dataset_info import CONVERSION_REPORT, recorded_pairing
from model_tools.files.observation_sources import open_source
from model_tools.make.act.act_contract import ActRequest
from model_tools.make.act.act_export import ExportedAct, export_checkpoint
from model_tools.make.act.golden_rows import Reference, tolerance_of
from model_tools.make.act.graphs import POLICY, VISION
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.bundle.chunk_contract import Pairing
from policy_inference.bundle.load import load_bundle
from policy_inference.errors import BundleError
from policy_inference.interfaces import F64, Tensor
from testkit.wording import refusal

from ...files.lerobot.small_dataset import HEIGHT, JOINTS, WIDTH, state, write_dataset
from .small_checkpoints import (
    ACTION,
    NORMALISER,
    STATE,
    UNNORMALISER,
    config_of,
    random_statistics,
    write_checkpoint,
)

FRONT = "observation.images.front"


def request(checkpoint: Path, **changed: Any) -> ActRequest:
    return ActRequest(
        **{
            "checkpoint": checkpoint,
            "output": checkpoint.parent / "bundle",
            "robot": "so101",
            "units": "degrees",
            "rate_hz": 30.0,
            "name": "reach",
            **changed,
        }
    )


def exported(checkpoint: Path, **changed: Any) -> tuple[ChunkBundle, ExportedAct]:
    asked = request(checkpoint, **changed)
    made = export_checkpoint(asked)
    return load_bundle(asked.output, kind=ChunkBundle), made


def chunk_of(bundle: ChunkBundle, rows: dict[str, Tensor]) -> F64:
    """Return what the bundle's files answer on raw observations, in the policy's units."""
    reference = Reference(bundle.contract, models_of(bundle))
    return reference.chunks(reference.normalised(rows))


def models_of(bundle: ChunkBundle) -> dict[str, onnx.ModelProto]:
    return {
        name: onnx.load(str(bundle.path / graph.artifacts["onnx"].file))
        for name, graph in bundle.contract.graphs.items()
    }


def edit(file: Path, **changed: Any) -> None:
    """Replace tensors of a file; None takes one out."""
    merged = {**load_file(file), **changed}
    save_file({name: value for name, value in merged.items() if value is not None}, file)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "checkpoint", config_of())


@pytest.mark.parametrize("is_old", [False, True])
def test_both_formats_give_the_same_bundle(tmp_path: Path, is_old: bool) -> None:
    new, _ = exported(write_checkpoint(tmp_path / "new", config_of()), output=tmp_path / "a")
    config = config_of()
    other = write_checkpoint(tmp_path / "other", config, is_old=is_old)
    bundle, _ = exported(other, output=tmp_path / "b")
    assert bundle.contract.graphs == new.contract.graphs
    assert bundle.contract.cameras == new.contract.cameras
    np.testing.assert_equal(asdict(bundle.contract.action), asdict(new.contract.action))
    np.testing.assert_array_equal(bundle.golden()["chunk"], new.golden()["chunk"])


def test_a_bundle_says_what_the_checkpoint_knows(checkpoint: Path) -> None:
    bundle, _ = exported(checkpoint)
    contract, statistics = bundle.contract, random_statistics(config_of())
    assert list(contract.cameras) == ["front", "wrist"]
    front = contract.cameras["front"]
    assert (front.feature, front.height, front.width) == (FRONT, 40, 64)
    assert (front.encoder, front.tensor) == (VISION, "front_features")
    assert (contract.chunk.size, contract.chunk.steps) == (7, 4)
    assert contract.state is not None
    np.testing.assert_allclose(
        np.array(contract.state.normalisation.mean), statistics[f"{STATE}.mean"], rtol=1e-7
    )
    np.testing.assert_allclose(
        np.array(front.normalisation.std), statistics[f"{FRONT}.std"].ravel(), rtol=1e-7
    )
    assert contract.joints.names[0] == "shoulder_pan"
    assert contract.action.grippers == ("gripper",)
    assert contract.units["gripper"].unit == "range_0_100"
    assert contract.safety.on_fault == "hold_measured"
    assert contract.provenance.checkpoint_sha256 is not None
    bundle.verify()


def test_golden_rows_are_what_the_files_answer_on_raw_images(checkpoint: Path) -> None:
    bundle, _ = exported(checkpoint)
    golden: Any = bundle.golden()
    assert golden["cameras.front"].dtype == np.uint8
    np.testing.assert_allclose(chunk_of(bundle, golden), golden["chunk"], rtol=0.0, atol=1e-4)


def test_swapped_cameras_answer_something_else(checkpoint: Path) -> None:
    bundle, _ = exported(checkpoint)
    rows: Any = bundle.golden()
    swapped = {
        **rows,
        "cameras.front": rows["cameras.wrist"],
        "cameras.wrist": rows["cameras.front"],
    }
    assert np.abs(chunk_of(bundle, swapped) - rows["chunk"]).max() > 1e-3


def test_the_boards_script_finds_statistics_and_a_chunk(checkpoint: Path) -> None:
    bundle, _ = exported(checkpoint)
    found = {file.stem: np.load(file) for file in (bundle.path / BOARD_FOLDER).iterdir()}
    statistics = random_statistics(config_of())
    np.testing.assert_allclose(found["front_mean"], statistics[f"{FRONT}.mean"], rtol=1e-6)
    np.testing.assert_allclose(found["action_mean"], statistics[f"{STATE}.mean"], rtol=1e-6)
    np.testing.assert_allclose(
        found["action_std_unnormalize"], statistics[f"{ACTION}.std"], rtol=1e-6
    )
    # The network's own answer: the script brings it back with the statistics above.
    assert found["new_actions"].shape == (1, 7, 6)
    back = (
        found["new_actions"][0] * found["action_std_unnormalize"] + found["action_mean_unnormalize"]
    )
    np.testing.assert_allclose(back, bundle.golden()["chunk"][0], rtol=0.0, atol=1e-3)


@pytest.mark.parametrize(
    ("mode", "low", "high"),
    [("MIN_MAX", "min", "max"), ("QUANTILES", "q01", "q99"), ("QUANTILE10", "q10", "q90")],
)
def test_other_normalisations_are_ranges(tmp_path: Path, mode: str, low: str, high: str) -> None:
    modes = {"VISUAL": "IDENTITY", "STATE": mode, "ACTION": mode}
    config = config_of(normalization_mapping=modes)
    statistics = random_statistics(config)
    for feature in (STATE, ACTION):
        statistics[f"{feature}.{low}"] = np.full(6, -7.5, np.float32)
        statistics[f"{feature}.{high}"] = np.full(6, 8.5, np.float32)
    bundle, _ = exported(write_checkpoint(tmp_path / "c", config, statistics=statistics))
    action = bundle.contract.action.normalisation
    assert (action.mode, action.min, action.max) == ("min_max", (-7.5,) * 6, (8.5,) * 6)
    assert bundle.contract.cameras["front"].normalisation.mode == "identity"
    mean = np.load(bundle.path / BOARD_FOLDER / "action_mean_unnormalize.npy")
    np.testing.assert_allclose(mean, np.full(6, 0.5))


def test_two_arms_have_left_and_right_joints_left_first(tmp_path: Path) -> None:
    config = config_of(state=12, action=12, cameras=dict.fromkeys(("a", "b", "c"), (32, 32)))
    bundle, _ = exported(write_checkpoint(tmp_path / "c", config))
    names = bundle.contract.joints.names
    assert names[0] == "left_shoulder_pan"
    assert names[6] == "right_shoulder_pan"
    assert bundle.contract.action.grippers == ("left_gripper", "right_gripper")


def test_names_of_cameras_become_those_of_topics(tmp_path: Path) -> None:
    config = config_of(cameras={"cam.top-1": (32, 32), "cam_top_1": (32, 32)})
    bundle, made = exported(write_checkpoint(tmp_path / "c", config))
    cameras = bundle.contract.cameras
    assert {name: camera.feature for name, camera in cameras.items()} == {
        "cam_top_1": "observation.images.cam.top-1",
        "cam_top_1_2": "observation.images.cam_top_1",
    }
    model = onnx.load(str(bundle.path / POLICY / f"{POLICY}.onnx"))
    kept = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(kept["cameras"])["cam_top_1_features"] == "observation.images.cam.top-1"
    assert any("its topic is cam_top_1/image_raw" in line for line in made.warnings)


def test_a_policy_without_cameras_takes_an_environment_state(tmp_path: Path) -> None:
    config = config_of(cameras={}, outside=5)
    bundle, _ = exported(write_checkpoint(tmp_path / "c", config))
    outside = bundle.contract.environment_state
    assert outside is not None
    assert (outside.size, outside.normalisation.mode) == (5, "min_max")
    golden: Any = bundle.golden()
    np.testing.assert_allclose(chunk_of(bundle, golden), golden["chunk"], rtol=0.0, atol=1e-4)


def test_a_camera_that_is_renamed_is_bound_under_the_robots_name(checkpoint: Path) -> None:
    file = checkpoint / "policy_preprocessor.json"
    content = json.loads(file.read_text())
    content["steps"][0]["config"]["rename_map"] = {"observation.images.laptop": FRONT}
    file.write_text(json.dumps(content))
    bundle, _ = exported(checkpoint)
    assert list(bundle.contract.cameras) == ["laptop", "wrist"]
    assert bundle.contract.cameras["laptop"].feature == "observation.images.laptop"
    statistics = random_statistics(config_of())
    np.testing.assert_allclose(
        np.array(bundle.contract.cameras["laptop"].normalisation.mean),
        statistics[f"{FRONT}.mean"].ravel(),
        rtol=1e-7,
    )


def test_simplified_graphs_are_the_same_function(checkpoint: Path) -> None:
    bundle, made = exported(checkpoint, simplify=True, opset=11)
    assert any("simplified" in line for line in made.checked)
    model = onnx.load(str(bundle.path / VISION / f"{VISION}.onnx"))
    assert (model.opset_import[0].version, model.ir_version) == (11, 7)


def test_golden_rows_of_the_training_are_compared_and_kept(
    checkpoint: Path, tmp_path: Path
) -> None:
    bundle, _ = exported(checkpoint)
    rows: Any = bundle.golden()
    file = tmp_path / "rows.npz"
    np.savez(file, **{name: array[:2] for name, array in rows.items()})
    again, made = exported(checkpoint, golden=file, force=True)
    assert len(again.golden()["state"]) == 2
    assert any("rows.npz" in line for line in made.checked)
    np.savez(file, **{**rows, "cameras.front": rows["cameras.front"][..., ::-1]})
    with refusal(ToolError):
        exported(checkpoint, golden=file, force=True)
    np.savez(file, state=rows["state"], chunk=rows["chunk"])
    with refusal(ToolError):
        exported(checkpoint, golden=file, force=True)


def test_golden_rows_may_differ_by_the_noise_of_float32(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "c", config_of(cameras={}, outside=5))
    head, rows_file = "model.action_head.weight", tmp_path / "rows.npz"
    weights = load_file(checkpoint / "model.safetensors")[head]
    edit(checkpoint / "model.safetensors", **{head: 60 * weights})  # and 60 times the noise
    bundle, _ = exported(checkpoint)
    rows: Any = bundle.golden()
    models = models_of(bundle)
    reference = Reference(bundle.contract, models)
    rounded = reference.normalised(rows)
    exact = Reference(bundle.contract, models, exact=True).normalised(rows)
    noise = float(np.abs(rounded - exact).max())
    assert 1e-5 < noise < 1e-3 / 4  # else the limit is another one

    np.savez(rows_file, **{**rows, "chunk": reference.chunks(rounded + 2.5 * noise)})
    exported(checkpoint, golden=rows_file, force=True)

    np.savez(rows_file, **{**rows, "chunk": reference.chunks(rounded + 8 * noise)})
    with refusal(ToolError):
        exported(checkpoint, golden=rows_file, force=True)


@pytest.mark.parametrize(
    ("difference", "noise", "tolerance"),
    [(5e-5, 2e-5, 8e-5), (5e-5, 1e-7, 1e-5), (5e-4, 1e-2, 1e-3)],
)
def test_tolerance_is_four_times_the_noise_within_bounds(
    difference: float, noise: float, tolerance: float
) -> None:
    found = np.zeros((2, 3, 4))

    assert tolerance_of(difference, found, lambda: found + noise) == pytest.approx(tolerance)


@pytest.mark.parametrize("difference", [1e-6, 2e-3, math.nan])
def test_noise_is_not_measured_where_it_cannot_matter(difference: float) -> None:
    def exact() -> F64:
        raise AssertionError

    assert tolerance_of(difference, np.zeros((2, 3, 4)), exact) == 1e-5


@pytest.mark.parametrize(
    ("file", "name", "value", "found"),
    [
        (NORMALISER, f"{STATE}.std", None, "expected a statistic that MEAN_STD needs, found none"),
        (
            NORMALISER,
            f"{FRONT}.mean",
            np.full((3, 1, 1), np.inf, np.float32),
            "found NaN or infinite",
        ),
        (UNNORMALISER, f"{ACTION}.mean", np.full(6, np.nan, np.float32), "found NaN or infinite"),
        (UNNORMALISER, f"{ACTION}.std", np.ones(5, np.float32), r"expected 6 values.*found 5"),
        (UNNORMALISER, f"{ACTION}.std", -np.ones(6, np.float32), "expected values >= 0"),
    ],
)
def test_a_broken_statistic_is_named(
    checkpoint: Path, file: str, name: str, value: Any, found: str
) -> None:
    edit(checkpoint / file, **{name: value})
    with pytest.raises(ToolError, match=found) as error:
        exported(checkpoint)
    assert name in str(error.value)
    assert not (checkpoint.parent / "bundle").exists()


def test_a_missing_statistic_among_the_weights_is_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", config_of(), is_old=True)
    edit(
        folder / "model.safetensors",
        **{"normalize_inputs.buffer_observation_images_wrist.std": None},
    )
    with refusal(ToolError):
        exported(folder)


def test_no_statistics_or_two_places_are_refused(tmp_path: Path) -> None:
    old = write_checkpoint(tmp_path / "old", config_of(), is_old=True)
    new = write_checkpoint(tmp_path / "new", config_of())
    weights = (new / "model.safetensors").read_bytes()
    (old / "model.safetensors").replace(new / "model.safetensors")
    with refusal(ToolError):
        exported(new)
    (old / "model.safetensors").write_bytes(weights)
    with refusal(ToolError):
        exported(old)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"type": "pi0"}, "expected act, diffusion or smolvla, .*found pi0; serve it with openpi"),
        (
            {"type": "multi_task_dit"},
            "found multi_task_dit; LeRobot itself .*lerobot-rollout --r",
        ),
        ({"n_obs_steps": 2}, "n_obs_steps: expected 1"),
        ({"n_action_steps": 8}, "n_action_steps: expected at most chunk_size, 7"),
        (
            {"temporal_ensemble_coeff": 0.01, "n_action_steps": 2},
            "n_action_steps: expected 1 with temporal_ensemble_coeff, .*found 2",
        ),
        ({"vision_backbone": "vit_b_16"}, "vision_backbone: expected one of resnet18"),
        ({"replace_final_stride_with_dilation": True}, "blocks cannot be dilated"),
        ({"feedforward_activation": "swish"}, "feedforward_activation: expected one of relu"),
        ({"n_heads": 3}, "dim_model: expected a multiple of n_heads, 3"),
        ({"output_features": {}}, "output_features: expected the output action"),
        ({"input_shapes": {}}, "found input_shapes, as LeRobot wrote them in 2024"),
        ({"normalization_mapping": {"VISUAL": "SCALED"}}, "expected a normalisation of MEAN_STD"),
        ({"dim_model": None}, "dim_model: expected a number"),
        ({"pre_norm": "yes"}, "pre_norm: expected true or false, found 'yes'"),
        ({"pre_norm": 1}, "pre_norm: expected true or false, found 1"),
        ({"replace_final_stride_with_dilation": "no"}, "dilation: expected true or false"),
        (
            {"input_features": {FRONT: {"type": "VISUAL", "shape": [3, 100_000, 40]}}},
            "at most 8192 pixels a side, found .3, 100000, 40.",
        ),
    ],
)
def test_configurations_that_cannot_be_exported_are_refused(
    checkpoint: Path, change: dict[str, Any], found: str
) -> None:
    write_checkpoint(checkpoint, config_of())
    (checkpoint / "config.json").write_text(json.dumps({**config_of(), **change}))
    if "normalization_mapping" in change:
        write_checkpoint(checkpoint, config_of(**change))
    with pytest.raises(ToolError, match=found):
        exported(checkpoint)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", NORMALISER, UNNORMALISER])
def test_missing_files_are_named(checkpoint: Path, name: str) -> None:
    (checkpoint / name).unlink()
    with pytest.raises(ToolError, match=rf"{name}.*found none"):
        exported(checkpoint)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        (
            "action_head.weight",
            np.ones((6, 16), np.int32),
            "expected floating-point numbers, found i",
        ),
        (
            "backbone.layer2.0.bn1.running_var",
            np.full(128, -1.0, np.float32),
            "expected values >= 0, found -1; the file is damaged",
        ),
    ],
)
def test_a_broken_weight_is_named(checkpoint: Path, name: str, value: Any, found: str) -> None:
    edit(checkpoint / "model.safetensors", **{f"model.{name}": value})
    with pytest.raises(ToolError, match=f"model.{name}: {found}"):
        exported(checkpoint)


def test_half_precision_weights_are_exported(checkpoint: Path) -> None:
    bias = np.linspace(-1.0, 1.0, 6).astype(np.float16)
    edit(checkpoint / "model.safetensors", **{"model.action_head.bias": bias})
    bundle, _ = exported(checkpoint)
    golden: Any = bundle.golden()
    np.testing.assert_allclose(chunk_of(bundle, golden), golden["chunk"], rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("where", ["../{}", "sub/{}", "..\\{}", "{folder}/{}"])
def test_statistics_outside_of_the_checkpoint_are_not_read(checkpoint: Path, where: str) -> None:
    for place in (checkpoint.parent, checkpoint / "sub"):
        place.mkdir(exist_ok=True)
        (place / NORMALISER).write_bytes((checkpoint / NORMALISER).read_bytes())
    set_state_file(checkpoint, where.format(NORMALISER, folder=checkpoint))
    with refusal(ToolError):
        exported(checkpoint)


def test_statistics_behind_a_link_are_read_as_in_a_cache_of_the_hub(checkpoint: Path) -> None:
    blob = checkpoint.parent / "blob"
    (checkpoint / NORMALISER).rename(blob)
    (checkpoint / NORMALISER).symlink_to(blob)
    exported(checkpoint)


def set_state_file(checkpoint: Path, name: str) -> None:
    file = checkpoint / "policy_preprocessor.json"
    content = json.loads(file.read_text())
    content["steps"][1]["state_file"] = name
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("std", np.float32(1e30), "a spread of shoulder_pan 1e+30, "),
        ("std", np.float32(1e-42), "a spread of shoulder_pan 1e-42, "),
        ("mean", np.float32(1e9), "statistics of up to 1e+09, "),
    ],
)
def test_statistics_that_no_data_have_are_a_warning(
    checkpoint: Path, name: str, value: Any, found: str
) -> None:
    values = random_statistics(config_of())[f"{STATE}.{name}"]
    values[0] = value
    edit(checkpoint / NORMALISER, **{f"{STATE}.{name}": values})
    _, made = exported(checkpoint)
    assert any(line.startswith(f"{STATE}: {found}") for line in made.warnings)


def test_keys_that_lerobot_does_not_write_are_named(checkpoint: Path) -> None:
    config = config_of(use_relative_actions=True, dropout=0.1, state_scale=2.0)
    (checkpoint / "config.json").write_text(json.dumps(config))
    _, made = exported(checkpoint)
    keys = [line.split(": ")[1] for line in made.warnings if line.startswith("config.json: ")]
    assert keys == ["'state_scale'", "'use_relative_actions'"]


def test_an_ensemble_of_chunks_of_every_step_is_exported(checkpoint: Path) -> None:
    config = config_of(temporal_ensemble_coeff=0.01, n_action_steps=1)
    (checkpoint / "config.json").write_text(json.dumps(config))
    bundle, _ = exported(checkpoint)
    assert bundle.contract.chunk.ensemble_coeff == 0.01


def test_statistics_that_float32_cannot_hold_are_refused(checkpoint: Path) -> None:
    edit(checkpoint / NORMALISER, **{f"{STATE}.mean": np.full(6, 1e39)})
    with refusal(ToolError):
        exported(checkpoint)


def test_joints_that_never_moved_are_named(checkpoint: Path) -> None:
    std = np.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0], np.float32)
    edit(checkpoint / NORMALISER, **{f"{STATE}.std": std})
    edit(checkpoint / UNNORMALISER, **{f"{ACTION}.std": std})
    _, made = exported(checkpoint)
    still = [line for line in made.warnings if "elbow_flex never moved" in line]
    assert [line.partition(":")[0] for line in still] == [STATE, ACTION]


@pytest.mark.parametrize(
    ("units", "largest", "hint"),
    [
        ("range", 140.0, "shoulder_pan reaches 140 in the data, which -100 to 100 cannot be"),
        ("radians", 90.0, "more than a turn"),
        ("degrees", 1.5, "is it --units radians?"),
    ],
)
def test_units_that_the_data_contradict_are_a_warning(
    tmp_path: Path, units: str, largest: float, hint: str
) -> None:
    statistics = random_statistics(config_of())
    for feature in (STATE, ACTION):
        values = np.array([largest, 0.1, 0.1, 0.1, 0.1, 50.0], np.float32)
        for kind in ("mean", "min", "max"):
            statistics[f"{feature}.{kind}"] = values
    folder = write_checkpoint(tmp_path / "c", config_of(), statistics=statistics)
    _, made = exported(folder, units=units)
    assert any(hint in line for line in made.warnings)


def test_the_ends_of_a_range_are_those_of_the_calibration(checkpoint: Path) -> None:
    units = exported(checkpoint, units="range")[0].contract.units
    pan, roll = units["shoulder_pan"], units["wrist_roll"]
    assert (pan.unit, pan.low_rad, pan.high_rad) == ("range_m100_100", -1.919862, 1.919862)
    assert (roll.low_rad, roll.high_rad) == (-3.141593, 3.141593)


def test_a_robot_of_ones_own_is_a_file(checkpoint: Path, tmp_path: Path) -> None:
    joint = (
        "{position_min: -1, position_max: 1, velocity_limit: 2, effort_limit: 3, "
        "stiffness: 4, damping: 5}"
    )
    file = tmp_path / "arm.yaml"
    lines = [f"  j-{i}: {joint}" for i in range(6)]
    file.write_text("\n".join(["source: mine", "joints:", *lines]))
    contract = exported(checkpoint, robot=str(file), prefix="arm_")[0].contract
    assert contract.joints.names == tuple(f"arm_j-{i}" for i in range(6))
    assert contract.joints.effort_limit.tolist() == [3.0] * 6
    assert contract.action.grippers == ()
    file.write_text("\n".join(["source: mine", "joints:", *lines[:4]]))
    with refusal(ToolError):
        exported(checkpoint, robot=str(file), force=True)
    file.write_text("joints: {}")
    with pytest.raises(BundleError, match="source"):
        exported(checkpoint, robot=str(file), force=True)
    with refusal(ToolError):
        exported(checkpoint, robot="panda", force=True)


def test_steps_of_ones_own_are_within_the_chunk(checkpoint: Path) -> None:
    assert exported(checkpoint, steps=7)[0].contract.chunk.steps == 7
    with refusal(ToolError):
        exported(checkpoint, steps=8, force=True)


def test_nothing_is_replaced_without_force(checkpoint: Path) -> None:
    bundle, _ = exported(checkpoint)
    with refusal(ToolError):
        exported(checkpoint)
    exported(checkpoint, force=True, graphs="one")
    (bundle.path / "mine.txt").write_text("")
    with pytest.raises(ToolError, match=r"found mine\.txt"):
        exported(checkpoint, force=True)


@pytest.mark.parametrize(
    "name",
    [
        f"{VISION}/my_notes.txt",
        f"{BOARD_FOLDER}/{VISION}.hbm",
        f"{BOARD_FOLDER}/{POLICY}.bin",
        f"{POLICY}/model_output/{POLICY}.hbm",
        f"{POLICY}/calibration_data_{POLICY}/state/mine.npy",
    ],
)
def test_force_spares_what_no_export_wrote(checkpoint: Path, name: str) -> None:
    bundle, _ = exported(checkpoint)
    theirs, before = bundle.path / name, (bundle.path / "policy.yaml").read_bytes()
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_text("theirs")
    with refusal(ToolError):
        exported(checkpoint, force=True, name="other")
    assert theirs.read_text() == "theirs"
    assert (bundle.path / "policy.yaml").read_bytes() == before
    theirs.unlink()
    exported(checkpoint, force=True, name="other")


@pytest.mark.slow
def test_a_workspace_that_cannot_be_made_leaves_nothing_in_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = (HEIGHT, WIDTH)
    config = config_of(cameras={"laptop": size, "phone": size}, state=3, action=3)
    checkpoint = write_checkpoint(tmp_path / "checkpoint", config)
    asked = [
        "export",
        "act",
        "--act-path",
        str(checkpoint),
        "--export-path",
        str(tmp_path / "b"),
        "--units",
        "degrees",
        "--robot",
        str(small_arm(tmp_path)),
        "--type",
        "nash-e",
        "--dataset",
        str(write_dataset(tmp_path / "data")),
    ]
    assert main([*asked, "--cal-num", "999"]) == 4
    assert not (tmp_path / "b").exists()
    assert main([*asked, "--cal-num", "4"]) == 0
    assert f"docker run --rm --shm-size=15g -v {tmp_path / 'b'}:" in capsys.readouterr().out
    samples = tmp_path / "b" / VISION / f"calibration_data_{VISION}"
    assert len(list(samples.iterdir())) == 8
    assert main([*asked, "--cal-num", "3", "--force"]) == 0
    assert len(list(samples.iterdir())) == 6


def test_steps_and_torques_of_a_dataset_are_nominal(tmp_path: Path) -> None:
    config = config_of(cameras={"laptop": (HEIGHT, WIDTH)}, state=3, action=3)
    checkpoint = write_checkpoint(tmp_path / "checkpoint", config)
    lengths = (12, 9)
    dataset = write_dataset(tmp_path / "data", lengths)
    arm = str(small_arm(tmp_path))
    bundle, _ = exported(checkpoint, robot=arm, dataset=dataset)
    nominal, stated = bundle.contract.nominal, bundle.contract.joints
    assert nominal is not None
    assert (nominal.source, nominal.ticks) == ("demonstrations in the dataset data", 21)
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
    assert exported(checkpoint, robot=arm, force=True)[0].contract.nominal is None


def test_the_pairing_is_that_of_a_converted_dataset(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(cameras={"laptop": (HEIGHT, WIDTH)}, state=3, action=3)
    checkpoint = write_checkpoint(tmp_path / "checkpoint", config)
    dataset = write_dataset(tmp_path / "data", (12, 9))
    of_lerobot, _ = exported(checkpoint, robot=str(small_arm(tmp_path)), dataset=dataset)
    pairing = {"rule": "newest", "tolerance_s": 0.1}
    (dataset / CONVERSION_REPORT).write_text(json.dumps({"pairing": pairing}))

    bundle, _ = exported(checkpoint, robot=str(small_arm(tmp_path)), dataset=dataset, force=True)

    assert bundle.contract.pairing == Pairing(rule="newest", tolerance_s=0.1)
    assert of_lerobot.contract.pairing == Pairing()
    assert not caplog.records
    open_source(of_lerobot.contract, dataset)
    assert "frames were made by the rule newest, and reach has the pairing.rule frame_time" in (
        caplog.text
    )


def test_a_report_without_a_rule_that_is_known_is_refused(tmp_path: Path) -> None:
    (tmp_path / CONVERSION_REPORT).write_text('{"pairing": {"rule": "oldest"}}')

    with refusal(BundleError):
        recorded_pairing(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.2", [0.2, 0.2, 0.2]),
        (
            "shoulder_pan=0.1,elbow_flex=0.2,gripper=0.3",
            [0.1, 0.2, 0.3],
        ),
    ],
)
def test_the_reach_of_targets_is_stated(tmp_path: Path, text: str, expected: Any) -> None:
    config = config_of(cameras={"a": (32, 32)}, state=3, action=3)
    checkpoint = write_checkpoint(tmp_path / "checkpoint", config)
    asked = [
        "export",
        "act",
        "--act-path",
        str(checkpoint),
        "--export-path",
        str(tmp_path / "b"),
        "--units",
        "degrees",
        "--robot",
        str(small_arm(tmp_path)),
    ]
    assert main([*asked, "--max-relative-target", "shoulder_pan=0.1"]) == 4
    assert main([*asked, "--max-relative-target", text]) == 0
    reach = load_bundle(tmp_path / "b", kind=ChunkBundle).contract.action.max_relative_target
    assert reach is not None
    assert reach.tolist() == expected


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "a", "", "a=1,a=2", "a=1,2", "a="])
def test_a_reach_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "act", f"--max-relative-target={text}"])
    assert "expected a number above 0, or JOINT=RAD,..." in capsys.readouterr().err


def small_arm(folder: Path) -> Path:
    """Return the file of a robot with the joints of the small datasets, the last a gripper."""
    joint = (
        "position_min: -1, position_max: 1, velocity_limit: 2, effort_limit: 3, "
        "stiffness: 4, damping: 5"
    )
    lines = [f"  {name}: {{{joint}, gripper: {str(name == 'gripper').lower()}}}" for name in JOINTS]
    (folder / "arm.yaml").write_text("\n".join(["source: mine", "joints:", *lines]))
    return folder / "arm.yaml"


def test_the_command_writes_a_bundle_and_asks_for_units(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [
        "export",
        "act",
        "--act-path",
        str(checkpoint),
        "--export-path",
        str(tmp_path / "Reach-1"),
        "--opset",
        "11",
    ]
    with pytest.raises(SystemExit):
        main(asked)
    assert "--units" in capsys.readouterr().err
    assert main([*asked, "--units", "degrees", "--fps", "50"]) == 0
    contract = load_bundle(tmp_path / "Reach-1", kind=ChunkBundle).contract
    assert (contract.name, contract.rate_hz) == ("reach_1", 50.0)
    assert contract.provenance.licence == "NOASSERTION"
    model = onnx.load(str(tmp_path / "Reach-1" / POLICY / f"{POLICY}.onnx"))
    assert model.opset_import[0].version == 11
    assert main([*asked, "--units", "degrees"]) == 4


def test_the_rate_is_that_of_a_training_in_simulation(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "train_config.json").write_text(json.dumps({"env": {"fps": 15}}))
    assert (
        main(
            [
                "export",
                "act",
                "--act-path",
                str(checkpoint),
                "--export-path",
                str(tmp_path / "b"),
                "--units",
                "degrees",
            ]
        )
        == 0
    )
    assert load_bundle(tmp_path / "b", kind=ChunkBundle).contract.rate_hz == 15.0


def test_an_environment_state_needs_its_name(checkpoint: Path) -> None:
    config = config_of(cameras={})
    (checkpoint / "config.json").write_text(json.dumps(config))
    with refusal(ToolError):
        exported(checkpoint)


@pytest.mark.slow
def test_bundle_of_other_cameras_is_replaced_with_its_encoders(tmp_path: Path) -> None:
    for number, names in enumerate((("top", "wrist"), ("front", "side"))):
        config = config_of(cameras=dict(zip(names, ((32, 32), (32, 64)), strict=True)))
        bundle, _ = exported(write_checkpoint(tmp_path / f"c{number}", config), force=True)

    assert sorted(bundle.contract.graphs) == [POLICY, f"{VISION}_front", f"{VISION}_side"]
    assert sorted(file.parent.name for file in bundle.path.glob("*/*.onnx")) == [
        POLICY,
        f"{VISION}_front",
        f"{VISION}_side",
    ]
