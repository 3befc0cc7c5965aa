# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What holds of all kinds: each is recognised by its content, none clash, none falls over."""

from __future__ import annotations

import importlib.util
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

from model_tools.errors import ToolError
from model_tools.prove.inspect.inspection import InspectionReport, inspection_parts
from model_tools.prove.inspect.registry import inspect_path
from policy_core.errors import PolicyError
from testkit.chunk_bundles import write_chunk_bundle
from testkit.fuzzing import bounded, changed_bytes, examples
from testkit.numbers import numbers_in
from testkit.wording import check_wording, refusal

from ...make.importers.small_runs import save_policy
from ...small_bag import MS, S, Said, command, every, imus, joint_states, scan, write_bag
from .small_kinds import rknn

REAL = {
    "legged/lite3/policy.onnx": "ONNX model",
    "legged/leapp/policy.onnx": "ONNX model",
}


FILES: dict[str, Callable[[Path], Path]] = {
    "RKNN": lambda folder: rknn(folder / "a.rknn"),
    "ONNX": lambda folder: save_policy(folder / "a.onnx", 3, 2),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    file = FILES[kind](tmp_path)
    whole = file.read_bytes()
    for length in range(0, len(whole), 3):
        file.write_bytes(whole[:length])
        with pytest.raises(PolicyError, match="expected"):
            inspect_path(file)


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", FILES)
@given(data=st.data())
@examples(0.5)
def test_a_changed_file_is_shown_or_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    with TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as folder:
        file = FILES[kind](Path(folder))
        file.write_bytes(data.draw(changed_bytes(file.read_bytes())))
        with suppress(PolicyError), bounded(cpu_s=5):
            inspection_parts(inspect_path(file))


def test_content_decides_before_the_name(tmp_path: Path) -> None:
    assert inspect_path(rknn(tmp_path / "a.onnx")).kind == "RKNN model"


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
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_stands_in_the_place_of_a_file_is_named(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with refusal(ToolError):
        inspect_path(tmp_path / name)


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
        [*joint_states(SECOND), *joint_states([t + MS for t in SECOND])],
        key=lambda said: said[1],
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
