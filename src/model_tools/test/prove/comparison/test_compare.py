# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `model_tools compare`: what it compares, refuses, shows and returns."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools import cli
from model_tools.errors import ToolError
from model_tools.prove.comparison.candidates import Candidate, candidates
from model_tools.prove.comparison.compare import Compared, compare
from model_tools.prove.comparison.walking import Walked, judge, judge_alone, walk_each
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.comparison.limits import CLOSED_LOOP
from policy_inference.comparison.rows import evenly
from testkit.bags import write_bag
from testkit.edits import reword
from testkit.wording import check_wording, lines_with, refusal

from ...small_bag import every, joint_states
from ...tiny_bundle import ROBOT, again, forward, make_bundle, observations, sha256, weights

OURS = Path(__file__).resolve().parents[5] / "config" / "bundles" / "lite3_walk"


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "reference")


def knee_shifted(arrays: dict[str, Any]) -> None:
    arrays["b1"][1] += 0.5


def artifacts(*folders: Path) -> list[Candidate[JointBundle]]:
    bundles = [load_bundle(folder, kind=JointBundle) for folder in folders]
    return candidates(bundles, ["onnx"], {})


def compare_command(*args: object) -> int:
    return cli.main(["compare", *map(str, args)])


def compared(*folders: Path, rows: tuple[Path, ...] = ()) -> list[Compared]:
    return compare(artifacts(*folders), rows)


@pytest.mark.parametrize("name", ["action", "actions"])
def test_a_rollout_that_was_recorded_judges_the_reference_too(
    reference: Path, tmp_path: Path, name: str
) -> None:
    obs = observations(30, seed=5)
    np.savez(
        tmp_path / "rollout.npz",
        allow_pickle=False,
        **{"obs": obs, name: forward(obs, weights()) + 1.0},
    )

    same = again(reference, tmp_path / "same")
    first, _ = compared(reference, same, rows=(tmp_path / "rollout.npz",))

    assert not first
    assert first.on_rows[1].action.mae == pytest.approx(1.0, rel=1e-4)


def test_a_recording_is_replayed_and_both_are_compared_on_what_the_policy_saw(
    reference: Path, tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / "bag", joint_states(every(10, 1000, 1200), "/robot/joints"))
    other = make_bundle(tmp_path / "shifted", edit=knee_shifted)
    output = ("--output", tmp_path / "report", "--topic", "joint_states=/robot/joints")
    assert compare_command(reference, other, "--rows", bag, *output) == 1

    first, second = json.loads((tmp_path / "report" / "comparison.json").read_text())["artifacts"]
    assert first["holds"]
    assert second["open_loop"][1]["outputs"]["actions"]["each"]["knee"]["mae"] == pytest.approx(0.5)
    assert second["open_loop"][1]["outputs"]["actions"]["each"]["hip"]["mae"] < 1e-6


SAME_FUNCTION = [
    ("default_position: 0,", "default_position: {hip: 0, knee: 0.0},"),
    ("kind: position}", "kind: position, scale: [1, 1], offset: default_position}"),
    ("{joints: [hip, knee]", "{joints: [.*]"),
]
OTHER_FUNCTION = [
    ("{joints: [hip, knee]", "{joints: [knee, hip]"),
    ("rate_hz: 50", "rate_hz: 100"),
    ("stiffness: 1, damping: 1}\nstand", "stiffness: [1, 2], damping: 1}\nstand"),
    ("default_position: 0,", "default_position: 0.1,"),
    ("{term: joint_vel}", "{term: joint_vel, scale: 0.05}"),
    ("{terms: [{term: joint_pos}", "{clip: 3.0, terms: [{term: joint_pos}"),
    ("rate_hz: 50", "rate_hz: 50\nvelocity_command: {min: [0, 0, 0], max: [1, 1, 1]}"),
]


@pytest.mark.parametrize(("word", "other"), [*SAME_FUNCTION, *OTHER_FUNCTION])
def test_another_function_is_refused_however_the_same_one_is_written(
    reference: Path, tmp_path: Path, word: str, other: str
) -> None:
    changed = again(reference, tmp_path / "other")
    reword(changed / "policy.yaml", (word, other))
    if (word, other) in SAME_FUNCTION:
        assert len(artifacts(reference, changed)) == 2
        return

    with refusal(ToolError):
        artifacts(reference, changed)


def test_statistics_are_compared_by_value(reference: Path, tmp_path: Path) -> None:
    def normalised(folder: Path, mean: float) -> Path:
        np.savez(folder / "stats.npz", mean=np.full(6, mean), std=np.ones(6))
        entry = f"normalisation: {{file: stats.npz, sha256: {sha256(folder / 'stats.npz')}}}"
        reword(folder / "policy.yaml", ("{obs: {terms:", f"{{obs: {{{entry}, terms:"))
        return folder

    same, other = again(reference, tmp_path / "same"), again(reference, tmp_path / "other")
    normalised(reference, 0.0)
    assert artifacts(reference, normalised(same, 0.0))
    with refusal(ToolError):
        artifacts(reference, normalised(other, 0.5))


def test_rows_that_calibrated_an_artifact_are_not_judged(
    reference: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="model_tools")
    rows, others = tmp_path / "rows.npz", tmp_path / "others.npz"
    obs = observations(200, seed=5)
    np.savez(rows, obs=obs)
    np.savez(others, obs=obs + np.float32(0.01))
    options = ("--precision", "int8", "--rows", rows, "--samples", 50, "--output")
    args = ("compile", "onnx", "--bundle", reference, *options, tmp_path / "int8")
    assert cli.main([str(each) for each in args]) == 0

    found = compared(reference, tmp_path / "int8", rows=(rows, others))

    used = evenly(200, 50)
    for one in found:
        golden, same, other = one.on_rows
        assert (golden.left_out, same.left_out, other.left_out) == (0, 50, 0)
        assert (same.count, other.count) == (150, 200)
        check_wording(same.title)
        assert not set(same.action.rows) & set(used)
        held = np.delete(obs, used, axis=0)
        np.testing.assert_allclose(same.action.expected, forward(held, weights()), atol=1e-5)
    assert same.action.worst[0] in same.action.rows
    check_wording(*lines_with(caplog.messages, "left out"))


def test_a_recorded_state_is_taken_only_where_rows_begin_again(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "recurrent", recurrent=True)
    np.savez(
        tmp_path / "rollout.npz",
        obs=observations(5),
        h_in=np.full((5, 2), 4.0, np.float32),
        episode=[0, 0, 0, 1, 1],
    )

    first, _ = compared(folder, again(folder, tmp_path / "same"), rows=(tmp_path / "rollout.npz",))

    stateless, said = forward(observations(5), weights()), first.on_rows[1].action.found
    for row in (0, 3):
        np.testing.assert_allclose(said[row], stateless[row] + 4.0, atol=1e-6)
        np.testing.assert_allclose(said[row + 1], stateless[row + 1] + said[row] / 2, atol=1e-6)


@pytest.mark.acceptance
def test_walks_are_on_the_terminal_and_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, same = tmp_path / "report", again(OURS, tmp_path / "same")

    assert compare_command(OURS, same, "--closed-loop", "--seconds", 2.5, "--output", output) == 0

    assert "lasted" in capsys.readouterr().out
    _, second = json.loads((output / "comparison.json").read_text("utf-8"))["artifacts"]
    assert [walk["survived_s"] for walk in second["closed_loop"]] == [2.5] * 4
    assert second["walk_itself_checks"]
    page = (output / "comparison.html").read_text("utf-8")
    assert "Closed loop" in page


@pytest.mark.parametrize(
    "options",
    [
        ["--closed-loop", "--seconds", "2"],
        ["--closed-loop", "--seconds", "nan"],
        ["--robot-model", "robot.urdf"],
        ["--closed-loop", "--robot-imu", "head"],
        ["--closed-loop", "--robot-model", "nowhere.xml"],
        ["--closed-loop", "--robot-model", "go2", "--robot-imu", "head"],
    ],
)
def test_walks_that_cannot_be_are_refused_before_the_open_loop(
    reference: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, options: list[str]
) -> None:
    other = again(reference, tmp_path / "same")

    assert compare_command(reference, other, *options) == 4
    check_wording(*caplog.messages)


def test_a_robot_of_a_model_file_is_driven_in_closed_loop(reference: Path, tmp_path: Path) -> None:
    other, output = again(reference, tmp_path / "same"), tmp_path / "report"
    (tmp_path / "tiny.urdf").write_text(ROBOT, "utf-8")
    robot = ("--robot-model", tmp_path / "tiny.urdf")
    compare_command(reference, other, "--closed-loop", *robot, "--seconds", 2.5, "--output", output)

    first, second = json.loads((output / "comparison.json").read_text("utf-8"))["artifacts"]
    # A policy without commands has one walk: it stands.
    assert [walk["survived_s"] for walk in second["closed_loop"]] == [2.5]
    assert first["closed_loop"] == second["closed_loop"]


SHORT_S = 4.0


@pytest.fixture(scope="module")
def gait_bundle() -> JointBundle:
    return load_bundle(OURS, kind=JointBundle)


@pytest.fixture(scope="module")
def own_walks(gait_bundle: JointBundle) -> list[Walked]:
    return walks_of(gait_bundle, gait_bundle.artifact("onnx")[1])


def walks_of(gait_bundle: JointBundle, file: Path) -> list[Walked]:
    model = gait_bundle.contract.model
    backend = OnnxBackend(file, model.input_specs, model.output_specs)
    try:
        return walk_each(gait_bundle, backend, SHORT_S)
    finally:
        backend.close()


def with_outcome(walks: list[Walked], index: int, **outcome: Any) -> list[Walked]:
    walk = walks[index]
    other = dataclasses.replace(walk, outcome=dataclasses.replace(walk.outcome, **outcome))
    return [*walks[:index], other, *walks[index + 1 :]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("index", "outcome", "what", "where"),
    [
        (0, {"survived_s": 1.5}, "walks cut short", "(0.8, 0, 0): fell after 1.5 s"),
        (2, {"survived_s": 1.5, "stopped_by": "tilt"}, "walks cut short", "(0, 0, 0.8): tilt"),
        (1, {"error": (0.0, 0.5, 0.0)}, "error of vy", "(0, 0.5, 0)"),
        (1, {"tilt_deg": 10.5}, "largest tilt, degrees", "(0, 0.5, 0)"),
        (2, {"torque_limit_share": 0.03}, "share at the torque limit", "(0, 0, 0.8)"),
        (2, {"torque_limit_share": np.nan}, "share at the torque limit", "(0, 0, 0.8)"),
        (3, {"action_change": 0.07}, "mean |action change|, standing", "(0, 0, 0)"),
    ],
)
def test_each_limit_fails_by_itself_and_names_the_walk(
    own_walks: list[Walked], index: int, outcome: dict[str, Any], what: str, where: str
) -> None:
    assert own_walks[0].outcome.action_change > 0.06  # it may change while the robot walks
    checks = judge(with_outcome(own_walks, index, **outcome), own_walks, CLOSED_LOOP)

    assert [(check.what, check.where) for check in checks if not check] == [(what, where)]


def alone(walks: list[Walked], gait_bundle: JointBundle) -> set[str]:
    """Return what is poor in walks, whatever the reference does."""
    checks = judge_alone(walks, gait_bundle)
    return {f"{check.what} {check.where}" for check in checks if not check}


def test_a_reference_that_does_not_walk_is_poor_however_alike_the_others_are(
    gait_bundle: JointBundle, own_walks: list[Walked]
) -> None:
    assert alone(own_walks, gait_bundle) == set()
    stands = with_outcome(own_walks, 0, error=(0.8, 0.0, 0.0))
    assert all(judge(stands, stands, CLOSED_LOOP))
    check_wording(*alone(stands, gait_bundle))
