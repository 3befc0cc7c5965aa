# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What holds of all kinds: each is recognised by its content, none clash, none falls over."""

import importlib.util
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from model_tools.errors import ToolError
from model_tools.prove.inspect.inspection import InspectionReport, inspection_parts
from model_tools.prove.inspect.registry import inspect_path
from policy_core.errors import PolicyError
from policy_core.interfaces import F32, Tensor
from testkit.bags import MS, S, Said, write_bag
from testkit.chunk_bundles import write_chunk_bundle
from testkit.fuzzing import bounded, changed_bytes, examples
from testkit.numbers import numbers_in
from testkit.wording import check_wording, refusal

from ...make.act.small_checkpoints import NORMALISER, UNNORMALISER
from ...make.importers.small_runs import save_policy
from ...small_bag import command, every, imus, joint_states, scan
from .small_kinds import ACTION, CAMERA, CONFIG, STATE, lerobot_files, rknn, write_dataset_outside

ARRAYS = "arrays (npz, npy, safetensors)"
REAL = {
    "legged/lite3/policy.onnx": "ONNX model",
    "legged/leapp/policy.onnx": "ONNX model",
    "legged/lite3/golden.npz": ARRAYS,
    "legged/lite3/rollout_50hz.npz": ARRAYS,
    "legged/go2_isaaclab/golden.npz": ARRAYS,
    "legged/isaaclab_env_yaml/golden.npz": ARRAYS,
    "legged/leapp/lite3_velocity_initial_values.safetensors": ARRAYS,
    "act/golden.npz": ARRAYS,
    "act/so100_new": "LeRobot checkpoint",
    "act/so100_old": "LeRobot checkpoint",
    "act/dual_arm": "LeRobot checkpoint",
    "act/dataset_v3": "LeRobot dataset",
}


def saved_npz(folder: Path) -> Path:
    np.savez(folder / "a.npz", allow_pickle=False, obs=np.ones((2, 3)))
    return folder / "a.npz"


def saved_npy(folder: Path) -> Path:
    np.save(folder / "a.npy", np.ones((2, 3)))
    return folder / "a.npy"


def saved_tensors(folder: Path) -> Path:
    save_file({"a": np.ones(3, np.float32)}, folder / "a.safetensors")
    return folder / "a.safetensors"


FILES: dict[str, Callable[[Path], Path]] = {
    "arrays": saved_npz,
    "one array": saved_npy,
    "tensors": saved_tensors,
    "RKNN": lambda folder: rknn(folder / "a.rknn"),
    "ONNX": lambda folder: save_policy(folder / "a.onnx", 3, 2),
    "LeRobot checkpoint": lambda folder: lerobot_files(folder) / "config.json",
    "LeRobot dataset": lambda folder: write_dataset_outside(folder) / "meta" / "info.json",
}
FOLDERS = {"config.json": 1, "info.json": 2}
"""How far above the file that describes it the folder is."""


@pytest.mark.parametrize("kind", FILES)
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    file = FILES[kind](tmp_path)
    whole = file.read_bytes()
    path = file.parents[FOLDERS[file.name] - 1] if file.name in FOLDERS else file
    for length in range(0, len(whole), 3):
        file.write_bytes(whole[:length])
        with pytest.raises(PolicyError, match="expected"):
            inspect_path(path)


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", FILES)
@given(data=st.data())
@examples(0.5)
def test_a_changed_file_is_shown_or_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    with TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as folder:
        file = FILES[kind](Path(folder))
        path = file.parents[FOLDERS[file.name] - 1] if file.name in FOLDERS else file
        file.write_bytes(data.draw(changed_bytes(file.read_bytes())))
        with suppress(PolicyError), bounded(cpu_s=5):
            inspection_parts(inspect_path(path))


@pytest.mark.parametrize(
    ("make", "name", "kind"),
    [
        (saved_npz, "a.pt", ARRAYS),
        (saved_npy, "a.rknn", ARRAYS),
        (lambda folder: rknn(folder / "a.rknn"), "a.onnx", "RKNN model"),
    ],
)
def test_content_decides_before_the_name(
    tmp_path: Path, make: Callable[[Path], Path], name: str, kind: str
) -> None:
    assert inspect_path(make(tmp_path).rename(tmp_path / name)).kind == kind


def test_a_compiled_model_shows_what_its_header_says(tmp_path: Path) -> None:
    report = inspect_path(rknn(tmp_path / "a.rknn", version=7))
    assert ("target", "rk3588") in report.rows
    check_wording(dict(report.rows)["input"], *report.suspicions)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npz", b"version https://git-lfs.github.com/spec/v1\n"),
        ("a.rknn", b"<!DOCTYPE html><html>"),
        ("a.onnx", b""),
        ("a.pkl", b"\x80\x04K\x01."),
        ("config.json", b"[" * 100_000),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_stands_in_the_place_of_a_file_is_named(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with refusal(ToolError):
        inspect_path(tmp_path if name == "config.json" else tmp_path / name)


def test_without_torch_a_checkpoint_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pt").write_bytes(b"\x80\x02")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with refusal(ToolError):
        inspect_path(tmp_path / "a.pt")


@pytest.mark.real_data
@pytest.mark.parametrize(("place", "kind"), REAL.items())
def test_real_files_are_what_they_are(shared_data: Path, place: str, kind: str) -> None:
    assert inspect_path(shared_data / place).kind == kind


@pytest.mark.real_data
def test_a_real_checkpoint_is_refused_only_where_its_weights_are_left_out(
    shared_data: Path,
) -> None:
    whole = inspect_path(shared_data / "act" / "so100_new")
    assert (whole.problems, whole.suspicions) == ([], [])
    cut, old = (inspect_path(shared_data / "act" / name) for name in ("dual_arm", "so100_old"))
    assert cut.suspicions == []
    for (problem,) in (cut.problems, old.problems):
        assert problem.startswith("model.safetensors")
    (statistics,) = old.suspicions
    assert "statistics" in statistics


OBS = np.random.default_rng(0).normal(size=(20, 3))


def inspected_arrays(folder: Path, **arrays: Tensor) -> InspectionReport:
    np.savez(folder / "a.npz", allow_pickle=False, **arrays)
    return inspect_path(folder / "a.npz")


REPEATED = np.concatenate([OBS, OBS[:4]])
REPEATED[:, 1] = 7.0


@pytest.mark.parametrize(
    "arrays",
    [
        {"mean": np.zeros(4), "std": np.array([1.0, 0.0, 1e5])},
        {"obs": REPEATED, "actions": OBS},
        {"obs": np.ones((3, 20))},
    ],
    ids=["statistics", "rows", "many columns"],
)
def test_what_cannot_be_or_says_little_is_suspicious(
    tmp_path: Path, arrays: dict[str, Tensor]
) -> None:
    check_wording(*inspected_arrays(tmp_path, **arrays).suspicions)


POLICY = "BPU_ACTPolicy_TransformerLayers"
IMAGENET: Any = {"mode": "mean_std", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
EQUAL = {
    "sizes": {"laptop": (8, 8), "phone": (8, 8)},
    "alike": True,
    **{f"cameras.{name}.normalisation": IMAGENET for name in ("laptop", "phone")},
}


@pytest.mark.parametrize(
    "changes",
    [
        {"state.normalisation.std": [20.0, 0.0, 25.0]},
        {"cameras.phone.normalisation.std": [0.0, 0.2, 0.2]},
        {"environment": 2, "environment_state.normalisation.max": [-1.0, 3.0]},
        {"cameras.phone.normalisation.mean": [127.0, 0.4, 0.4]},
        EQUAL,
        {"action.normalisation.mean": [0.0, 10.0, 130.0]},
        {"units.shoulder_pan": {"unit": "radians"}, "state.normalisation.mean": [40.0, 5, 40]},
        {f"graphs.{POLICY}.artifacts.onnx.precision": "fp16"},
        {"limits": {"bpu": {"max_abs": 0.1}}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_odd_is_said(tmp_path: Path, changes: dict[str, Any]) -> None:
    check_wording(*inspect_path(write_chunk_bundle(tmp_path / "arm", **changes)).suspicions)


def test_missing_and_changed_files_are_said(tmp_path: Path) -> None:
    folder = write_chunk_bundle(tmp_path / "arm")
    (folder / POLICY / f"{POLICY}.onnx").unlink()
    (folder / "golden.npz").write_bytes(b"")

    check_wording(*inspect_path(folder).problems)


SECOND = every(10, 1000, 2000)
Inspect = Callable[..., InspectionReport]


@pytest.fixture
def inspected_bag(tmp_path: Path) -> Inspect:
    """Inspect a recording of messages, beside healthy ones of every input that they lack."""

    def write(*said: Said) -> InspectionReport:
        healthy = (joint_states(SECOND), imus(SECOND))
        topics = {topic for topic, _, _ in said}
        rest = [entry for stream in healthy for entry in stream if entry[0] not in topics]
        return inspect_path(write_bag(tmp_path / "bag", [*said, *rest]))

    return write


def test_a_healthy_recording_shows_topics_rates_frames_and_joints(inspected_bag: Inspect) -> None:
    report = inspected_bag(command(S, 0.5))

    rows = dict(report.rows)
    assert str(rows["storage"]).startswith("mcap, ")
    assert numbers_in(rows["recorded"]) == [1.0, 1.0]
    assert numbers_in(rows["/joint_states"]) == [101, 100.0]
    assert rows["/imu/data frame"] == "imu_link"
    assert "knee, hip" in rows.values()
    check_wording(rows["recorded"], rows["/joint_states"])
    assert report.suspicions == []


ODD_MESSAGES: dict[str, Sequence[Said]] = {
    "no velocities": joint_states(SECOND, velocity=np.empty(0)),
    "NaN": joint_states(SECOND, position=np.array([math.nan, 0.0])),
    "no orientation": imus(SECOND, quat=(0, 0, 0, 0)),
    "stamp goes back": [*joint_states(SECOND), *joint_states([1995 * MS], log_ns=10 * MS)],
    "no stamp": joint_states([0, 0]),
    "gap": joint_states([*SECOND, 4 * S]),
    "log is ahead": joint_states(SECOND, log_ns=3 * S),
    "two lists of joints": [*joint_states([S]), *joint_states([2 * S], name=["hip", "knee"])],
    "two publishers": sorted(
        [*joint_states(SECOND), *joint_states([t + MS for t in SECOND])], key=lambda said: said[1]
    ),
    "infinite scan": [scan(S, [math.inf])],
    "NaN command": [command(S, math.nan, stamped=True)],
    "other topic": [command(S, 0.0, "/teleop")],
}


@pytest.mark.parametrize("case", ODD_MESSAGES)
def test_what_could_not_be_fed_to_a_policy_is_suspicious(inspected_bag: Inspect, case: str) -> None:
    said = ODD_MESSAGES[case]
    (found,) = inspected_bag(*said).suspicions
    check_wording(found)


def checkpoint_suspicions(folder: Path) -> None:
    check_wording(*inspect_path(folder).suspicions)


def replace_tensors(file: Path, **changed: F32 | None) -> None:
    """Replace tensors of a file; None takes one out."""
    merged = {**load_file(file), **changed}
    save_file({name: value for name, value in merged.items() if value is not None}, file)


def test_a_checkpoint_shows_its_features_and_nothing_suspicious(tmp_path: Path) -> None:
    report = inspect_path(lerobot_files(tmp_path))
    assert report.kind == "LeRobot checkpoint"
    assert ("type", "act") in report.rows
    assert ("chunk_size", "10") in report.rows
    shown = ("state", "camera", "action", "parameters", "statistics")
    check_wording(*(dict(report.rows)[name] for name in shown))
    assert report.suspicions == []


def test_statistics_inside_the_weights_are_found_and_no_parameters(tmp_path: Path) -> None:
    report = inspect_path(lerobot_files(tmp_path, is_old=True))
    check_wording(*(dict(report.rows)[name] for name in ("statistics", "parameters")))
    assert report.suspicions == []


def test_broken_statistics_are_named_where_they_are(tmp_path: Path) -> None:
    std = np.array([1.0, 0.0], np.float32)
    replace_tensors(
        lerobot_files(tmp_path) / NORMALISER, **{f"{STATE}.std": std, f"{CAMERA}.mean": None}
    )
    checkpoint_suspicions(tmp_path)
    replace_tensors(
        tmp_path / UNNORMALISER,
        **{
            f"{ACTION}.min": np.full(3, np.nan, np.float32),
            f"{ACTION}.max": np.ones(2, np.float32),
        },
    )
    checkpoint_suspicions(tmp_path)
    flat = {f"{ACTION}.{end}": -np.ones(3, np.float32) for end in ("min", "max")}
    replace_tensors(tmp_path / UNNORMALISER, **flat)
    checkpoint_suspicions(tmp_path)


@pytest.mark.parametrize(
    "change", [{"n_action_steps": 11}, {"temporal_ensemble_coeff": 0.01}, {"output_features": {}}]
)
def test_steps_and_features_that_do_not_fit_are_named(
    tmp_path: Path, change: dict[str, object]
) -> None:
    checkpoint_suspicions(lerobot_files(tmp_path, config={**CONFIG, **change}))


@pytest.mark.parametrize(
    "name", ["model.safetensors", NORMALISER, UNNORMALISER, "policy_preprocessor.json"]
)
def test_files_that_are_missing_or_cut_off_are_named(tmp_path: Path, name: str) -> None:
    file = lerobot_files(tmp_path) / name
    file.write_bytes(file.read_bytes()[:-9])
    check_wording(*inspect_path(tmp_path).problems)
    file.unlink()
    check_wording(*inspect_path(tmp_path).problems)


@pytest.mark.parametrize("config", [{"input_shapes": {}}, {"model_type": "bert"}, []])
def test_other_configurations_are_refused(tmp_path: Path, config: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with refusal(ToolError):
        inspect_path(tmp_path)


def test_a_dataset_shows_its_size_and_features_and_nothing_suspicious(tmp_path: Path) -> None:
    report = inspect_path(write_dataset_outside(tmp_path))
    assert report.kind == "LeRobot dataset"
    rows = dict(report.rows)
    assert rows["episodes"] == "2"
    check_wording(rows["rate"], rows[STATE], rows[CAMERA])
    assert report.suspicions == []


def test_a_recording_that_was_not_finished_is_named(tmp_path: Path) -> None:
    file = write_dataset_outside(tmp_path) / "data" / "file.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    (tmp_path / "images").mkdir()
    (tmp_path / "videos" / CAMERA / "file.mp4").write_bytes(b"")
    check_wording(*inspect_path(tmp_path).suspicions)
