# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded rollouts: what was sensed in them, and whether it makes their observations."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.files.arrays import read_arrays, sensed
from model_tools.files.row_files import read_rows, save_rows
from model_tools.files.terms import term_columns, value_name
from model_tools.make.nominal import unmoved
from model_tools.prove.calibration.collection import Fields
from policy_core.bundle.arrays import unpacked_arrays
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import load_bundle, parse_contract
from policy_core.bundle.schema import read_bytes
from policy_core.errors import BundleError
from policy_core.interfaces import F32, F64
from policy_inference.comparison.rows import Rows
from testkit.edits import reword
from testkit.wording import refusal

from ..tiny_bundle import make_bundle, observations

OBS = np.random.default_rng(0).normal(size=(20, 6))


def test_arrays_come_by_name_and_a_single_one_as_obs(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", obs=OBS, actions=OBS)
    np.save(tmp_path / "a.npy", OBS)
    assert list(read_arrays(tmp_path / "a.npz")) == ["obs", "actions"]
    assert np.array_equal(read_arrays(tmp_path / "a.npy")["obs"], OBS)


def test_damage_anywhere_is_one_kind_of_error(tmp_path: Path) -> None:
    file = tmp_path / "rows.npz"
    np.savez_compressed(file, obs=OBS)
    content, refused = file.read_bytes(), 0
    # The last 22 bytes are the end of the archive, whose offsets the system itself refuses.
    for place in range(0, len(content) - 22, 5):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            read_arrays(file)
        except ToolError as error:
            assert f"{file}: expected numpy arrays" in str(error)  # noqa: PT017  # not all is seen
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    "content", [b"", b"obs", b"\x80\x04.", "objects", "bzip2"], ids=lambda value: str(value)[:9]
)
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes | str) -> None:
    file = tmp_path / "rows.npz"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "objects":
        np.savez(file, obs=np.array([{}], object), allow_pickle=True)
    else:  # a compression without bounds
        np.save(tmp_path / "obs.npy", OBS)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
            archive.write(tmp_path / "obs.npy", "obs.npy")
    with refusal(ToolError):
        read_arrays(file)


def test_a_quaternion_may_have_its_real_part_first(tmp_path: Path) -> None:
    contract = load_bundle(make_bundle(tmp_path / "tiny"), kind=JointBundle).contract

    found = sensed(tmp_path / "a.npz", {"quat_wxyz": np.array([[4, 1, 2, 3]])}, contract, 1)

    assert found["quat_xyzw"].tolist() == [[1.0, 2.0, 3.0, 4.0]]


@pytest.mark.parametrize(
    "members",
    [
        {"notes.txt": b"hello"},
        {"obs.npy": b"hello"},
        {f"{number}.npy": b"" for number in range(5000)},
    ],
    ids=["text", "array without its head", "many"],
)
def test_archive_with_members_that_are_no_arrays_or_many_is_one_error(
    tmp_path: Path, members: dict[str, bytes]
) -> None:
    """100,000 members took 151 s, as each was looked for among all."""
    file = tmp_path / "rows.npz"
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)

    with refusal(ToolError):
        read_arrays(file)
    with refusal(BundleError):
        unpacked_arrays(file, file.read_bytes(), None, 1 << 28)


HIP, KNEE = np.linspace(0.0, 1.0, 5), np.linspace(2.0, 3.0, 5)


def observed_rows(joint_pos: F64, joint_vel: F64, actions: F32) -> F32:
    """Return what the tiny contract makes of joints [rows, 2] and actions [rows, 2]."""
    last = np.vstack([np.zeros((1, 2)), actions[:-1]])
    return np.hstack([joint_pos, joint_vel, last]).astype(np.float32)


POS, VEL = np.stack([HIP, KNEE], axis=1), np.stack([HIP * 2, KNEE * -1], axis=1)
ACTIONS = observations(5)[:, :2]
ROLLOUT: dict[str, Any] = {
    "obs": observed_rows(POS, VEL, ACTIONS),
    "actions": ACTIONS,
    "joint_pos": POS,
    "joint_vel": VEL,
}


def rollout_rows(tiny: JointBundle, **arrays: Any) -> Rows:
    file = tiny.path.parent / "rollout.npz"
    np.savez(file, **arrays)
    return read_rows(file, tiny)


@pytest.mark.parametrize(
    ("names", "renamed"),
    [("knee hip tail", False), ("knee hip tail", True), ("knee_joint hip_joint tail", True)],
)
def test_joints_of_a_rollout_go_by_the_contract_s_names_or_the_robot_s(
    tmp_path: Path, names: str, renamed: bool
) -> None:
    file = make_bundle(tmp_path / "tiny") / "policy.yaml"
    if renamed:
        of_robot = "names: [hip, knee], robot_names: {.*: '{name}_joint'}"
        reword(file, ("names: [hip, knee]", of_robot))
    shuffled = {
        name: np.stack([values[:, 1], values[:, 0], HIP * 0], axis=1)
        for name, values in (("joint_pos", POS), ("joint_vel", VEL))
    }

    tiny = load_bundle(file.parent, kind=JointBundle)
    rows = rollout_rows(tiny, **{**ROLLOUT, **shuffled, "joint_names": names.split()})

    assert np.array_equal(rows.sensed["joint_pos"], POS)
    assert np.array_equal(rows.sensed["joint_vel"], VEL)
    assert rows.sensed["joint_pos"].dtype == np.float64
    assert rows.breaks == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"joint_names": ["hip", "tail"]},
        {"joint_names": "hip"},
        {"joint_names": ["hip", "knee", "tail"]},
        {"joint_vel": np.zeros((4, 2))},
        {"joint_vel": np.full((5, 2), np.nan)},
        # An observation that is not the contract's.
        {"joint_pos": POS[:, ::-1]},
        *({"obs": obs} for obs in (np.float32(1.0), np.zeros((0, 6)), np.zeros((5, 7)), ["a"])),
    ],
)
def test_joints_and_observations_that_do_not_fit_are_refused(
    tiny: JointBundle, changes: dict[str, Any]
) -> None:
    with refusal(ToolError):
        rollout_rows(tiny, **{**ROLLOUT, **changes})


def test_rows_that_lack_the_action_of_the_row_before_are_distinguished(tiny: JointBundle) -> None:
    chosen = [0, 1, 3, 4]

    rows = rollout_rows(tiny, **{name: values[chosen] for name, values in ROLLOUT.items()})

    assert rows.breaks == (2,)


def test_saved_rows_come_back_as_they_were(tiny: JointBundle, tmp_path: Path) -> None:
    rows = rollout_rows(tiny, **ROLLOUT)
    save_rows([rows, rows], tiny.contract, tmp_path / "saved.npz")

    again = read_rows(tmp_path / "saved.npz", tiny)

    assert again.breaks == (5,)
    for field in ("inputs", "outputs", "sensed"):
        for name, values in getattr(rows, field).items():
            np.testing.assert_array_equal(getattr(again, field)[name][5:], values)


@pytest.mark.parametrize(
    ("order", "expected"),
    [("clip_then_scale", [2.0, -2.0, 1.0]), ("scale_then_clip", [1.0, -1.0, 1.0])],
)
def test_values_are_scaled_and_clipped_in_the_contract_s_order(
    tmp_path: Path, order: str, expected: list[float]
) -> None:
    make_bundle(tmp_path, last="{term: last_action, scale: 2.0, clip: [-1.0, 1.0]}")
    last = list(term_columns(load_bundle(tmp_path, kind=JointBundle).contract, "obs"))[-1]

    values = np.array([3.0, -3.0, 0.5])[:, np.newaxis] * np.ones(2)

    np.testing.assert_array_equal(last.observed(values, order)[:, 0], expected)


@pytest.mark.parametrize(
    ("history", "last", "names"),
    [
        (
            "",
            "{term: last_action}",
            {0: "joint_pos of hip", 3: "joint_vel of knee", 4: "last_action of hip"},
        ),
        (
            "history: {length: 3, layout: per_frame, order: newest_first}, ",
            "{term: base_ang_vel}",
            {
                6: "base_ang_vel[2], in the newest frame",
                7: "joint_pos of hip, 1 frame before the newest",
                20: "base_ang_vel[2], 2 frames before the newest",
            },
        ),
        (
            "history: {length: 2, layout: per_term, order: oldest_first}, ",
            "{term: last_action, history_length: 3}",
            {
                1: "joint_pos of knee, 1 frame before the newest",
                2: "joint_pos of hip, in the newest frame",
                8: "last_action of hip, 2 frames before the newest",
                13: "last_action of knee, in the newest frame",
            },
        ),
    ],
)
def test_a_value_is_named_by_term_joint_and_frame(
    tmp_path: Path, history: str, last: str, names: dict[int, str]
) -> None:
    file = make_bundle(tmp_path) / "policy.yaml"
    width = {"": 6, "{term: base_ang_vel}": 21}.get(history and last, max(names) + 1)
    reword(
        file,
        ("{obs: {terms", f"{{obs: {{{history}terms"),
        ("{term: last_action}", last),
        ("obs: {shape: [1, 6]}", f"obs: {{shape: [1, {width}]}}"),
    )
    contract = parse_contract(read_bytes(file), file, kind=JointContract)
    assert {column: value_name(contract, "obs", column) for column in names} == names
    assert len({value_name(contract, "obs", column) for column in range(width)}) == width


def _turning_first(folder: Path) -> JointBundle:
    """Return a bundle that sees the yaw rate x 0.5, then vx x 2, of a velocity command."""
    last = "{term: velocity_command, parts: [wz, vx], scale: [0.5, 2.0]}"
    file = make_bundle(folder, last=last) / "policy.yaml"
    with file.open("a") as contract:
        contract.write("velocity_command: {min: [-1, 0, -1], max: [1, 0, 1]}\n")
    return load_bundle(folder, kind=JointBundle)


def test_parts_of_a_command_are_judged_as_the_axes_that_they_are(tmp_path: Path) -> None:
    bundle, obs = _turning_first(tmp_path), np.zeros((3, 6), np.float32)
    rows = Rows(source="a test", inputs={"obs": obs}, outputs={})
    assert unmoved(bundle.contract, rows) == ["forward", "turning"]
    obs[:, 4] = [0.0, 0.1, 0.2]
    assert unmoved(bundle.contract, rows) == ["forward"]


def test_a_command_is_taken_back_out_of_its_parts_in_si_units(tmp_path: Path) -> None:
    bundle = _turning_first(tmp_path)
    rows = np.zeros(2, [("tensors", [("obs", np.float32, 6)]), ("sensed", [])])
    rows["tensors"]["obs"][:, 4:] = [[0.25, 1.0], [-0.5, 0.0]]
    np.testing.assert_allclose(
        Fields(bundle, ()).of(rows)["velocity_command"], [[0.5, 0.0, 0.5], [0.0, 0.0, -1.0]]
    )
