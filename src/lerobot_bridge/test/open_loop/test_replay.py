# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`lerobot_bridge replay`: what it predicts, refuses, shows and writes."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lerobot_bridge.cli import main
from lerobot_bridge.open_loop.figures import Lag, measure
from lerobot_bridge.open_loop.predict import Predicted
from lerobot_bridge.open_loop.report import Replayed, open_loop_report
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F64, Tensor
from policy_inference.backends.registry import open_models
from policy_inference.comparison.chunks import drawn_noise, play_chunks
from policy_inference.comparison.rows import Rows
from testkit.chunk_bundles import write_chunk_bundle
from testkit.lerobot_frames import write_frames
from testkit.wording import check_wording, lines_with

NAMES = ["shoulder_pan.pos", "elbow_flex.pos", "gripper.pos"]
OURS = Path(__file__).resolve().parents[4] / "config" / "bundles" / "so101_reach_diffusion"
VECTORS = {"observation.state": NAMES, "action": NAMES}
Replay = Callable[..., tuple[int, Any]]


@pytest.fixture
def replayed_bundle(tmp_path: Path) -> Path:
    return write_chunk_bundle(tmp_path / "bundle")


@pytest.fixture
def golden_chunks(replayed_bundle: Path) -> dict[str, Tensor]:
    """Return observations, and the 8-step chunk of onnx's reference evaluator for each."""
    with np.load(replayed_bundle / "golden.npz") as found:
        return dict(found)


@pytest.fixture
def write_golden(tmp_path: Path, golden_chunks: dict[str, Tensor]) -> Callable[..., Path]:
    """Return a function that writes a dataset: an episode for each array of actions."""

    def write(*actions: Tensor, names: Any = VECTORS, **more: Any) -> Path:
        episodes = [
            golden_columns(golden_chunks, each) for each in actions or [followed(golden_chunks, 4)]
        ]
        return write_frames(tmp_path / "dataset", episodes, names, **more)

    return write


@pytest.fixture
def replay(replayed_bundle: Path, capsys: pytest.CaptureFixture[str]) -> Replay:
    def run(dataset: Path, *arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        status = main(
            ["replay", str(dataset), "--bundle", str(replayed_bundle), "--json", *arguments]
        )
        printed = capsys.readouterr().out
        return status, json.loads(printed) if printed else None

    return run


@pytest.fixture
def replay_text(replayed_bundle: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(dataset: Path, *arguments: str) -> str:
        assert main(["replay", str(dataset), "--bundle", str(replayed_bundle), *arguments]) == 0
        return capsys.readouterr().out

    return run


def golden_columns(golden: dict[str, Tensor], actions: Tensor) -> dict[str, Tensor]:
    return {
        "observation.state": golden["state"],
        "action": actions,
        "observation.images.laptop": golden["cameras.laptop"],
        "observation.images.phone": golden["cameras.phone"],
    }


def followed(golden: dict[str, Tensor], every: int) -> Tensor:
    """Return the actions of a robot that follows a new chunk every `every` frames."""
    chunks = golden["chunk"]
    return np.stack([chunks[frame - frame % every, frame % every] for frame in range(len(chunks))])


@pytest.mark.parametrize("every", [1, 2, 4])
def test_it_follows_a_chunk_of_every_so_many_frames(
    golden_chunks: dict[str, Tensor], tmp_path: Path, replay: Replay, every: int
) -> None:
    actions = followed(golden_chunks, every)
    # Recorded and predicted actions differ, so that using a wrong step would show.
    dataset = write_frames(tmp_path / "dataset", [golden_columns(golden_chunks, actions)], VECTORS)
    arguments = () if every == 4 else ("--every", str(every))  # the policy's own chunk.steps

    status, found = replay(dataset, *arguments)

    assert status == 0
    assert found["every"] == every
    assert found["episodes"][0]["chunks"] == -(-len(actions) // every)
    assert max(one["error"]["largest"] for one in found["joints"].values()) < 3e-4
    assert np.ptp(actions, axis=0).min() > 1.0


def test_a_policy_of_several_observations_gets_the_frames_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = load_bundle(OURS, kind=ChunkBundle)
    contract, random = ours.contract, np.random.default_rng(2)
    joints = [f"{name}.pos" for name in contract.action.joints]
    images = {
        name: random.integers(0, 256, (3, one.height, one.width, 3), np.uint8)
        for name, one in contract.cameras.items()
    }
    states = random.normal(0.0, 10.0, (3, 6)).astype(np.float32)
    steps = [[0, 0], [0, 1], [1, 2]]  # before the first frame, the policy sees the first
    seen = {f"cameras.{name}": array[steps] for name, array in images.items()}
    noise = {name: array.repeat(3, axis=0) for name, array in drawn_noise(contract, 1).items()}
    rows = Rows(source="frames", inputs={"state": states[steps], **seen, **noise}, outputs={})
    with open_models(ours.models, ["onnx"]) as models:
        answers = play_chunks(contract, models, rows)["chunk"]
    columns = {f"observation.images.{name}": array for name, array in images.items()}
    dataset = write_frames(
        tmp_path / "dataset",
        [{"observation.state": states, "action": answers[:, 0].astype(np.float32), **columns}],
        {"observation.state": joints, "action": joints},
    )

    status = main(["replay", str(dataset), "--bundle", str(ours.path), "--json", "--every", "1"])

    assert status == 0
    found = json.loads(capsys.readouterr().out)
    assert max(one["error"]["largest"] for one in found["joints"].values()) < 3e-3
    assert np.ptp(answers[:, 0], axis=0).max() > 0.1


def test_joints_are_found_by_name_in_state_and_action(
    golden_chunks: dict[str, Tensor], tmp_path: Path, replay: Replay
) -> None:
    given, order = golden_columns(golden_chunks, followed(golden_chunks, 4)), [2, 0, 1]
    for name in VECTORS:
        given[name] = given[name][:, order]
    names = {key: [NAMES[i].removesuffix(".pos") for i in order] for key in VECTORS}

    status, found = replay(write_frames(tmp_path / "dataset", [given], names))

    assert status == 0
    assert max(one["error"]["largest"] for one in found["joints"].values()) < 3e-4


def test_episodes_are_chosen_by_number(
    golden_chunks: dict[str, Tensor], write_golden: Callable[..., Path], replay: Replay
) -> None:
    actions = followed(golden_chunks, 4)
    dataset = write_golden(*(actions + i for i in range(5)), tasks=("Stack", "Sort"))

    _, found = replay(dataset, "--episodes", "3,0-1")

    assert [one["episode"] for one in found["episodes"]] == [0, 1, 3]
    assert [one["tasks"] for one in found["episodes"]] == [["Stack"], ["Sort"], ["Sort"]]
    assert [one["joints"]["gripper"]["error"]["mean"] for one in found["episodes"]] == (
        pytest.approx([0, 1, 3], abs=3e-4)
    )
    assert found["joints"]["gripper"]["error"]["mean"] == pytest.approx(4 / 3, abs=3e-4)


@pytest.mark.parametrize(
    "arguments", [["--episodes", "0-7"], ["--every", "9"], ["--backend", "rknn"]]
)
def test_what_cannot_be_is_refused(
    write_golden: Callable[..., Path],
    tmp_path: Path,
    replay: Replay,
    caplog: pytest.LogCaptureFixture,
    arguments: list[str],
) -> None:
    assert replay(write_golden(), *arguments) == (4, None)
    check_wording(*caplog.messages)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "dataset"]


@pytest.mark.parametrize(
    "change",
    [
        {"codebase_version": "v2.1"},
        {"fps": 50},
        {"without": "observation.images.phone"},
        {"without": "action"},
        {"smaller": "observation.images.phone"},
    ],
)
def test_a_dataset_of_something_else_is_refused(
    golden_chunks: dict[str, Tensor],
    tmp_path: Path,
    replay: Replay,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, Any],
) -> None:
    given = golden_columns(golden_chunks, followed(golden_chunks, 4))
    given.pop(change.pop("without", ""), None)
    if smaller := change.pop("smaller", None):
        given[smaller] = given[smaller][:, :8, :8]
    dataset = write_frames(tmp_path / "dataset", [given], VECTORS, **change)

    assert replay(dataset) == (4, None)
    check_wording(*caplog.messages)


def test_frames_in_which_a_person_drove_are_left_out_and_counted(
    golden_chunks: dict[str, Tensor],
    tmp_path: Path,
    replay: Replay,
    replay_text: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    actions = followed(golden_chunks, 4)
    driven = np.zeros(len(actions), np.bool_)
    driven[1:3] = True
    actions = np.where(driven[:, np.newaxis], actions + 20, actions)
    episodes = [
        {**golden_columns(golden_chunks, actions), "intervention": flags}
        for flags in (driven, np.ones_like(driven))
    ]
    dataset = write_frames(tmp_path / "dataset", episodes, VECTORS)

    status, found = replay(dataset)

    assert status == 0
    assert (found["frames"], found["frames_left_out"]) == (len(driven) - 2, len(driven) + 2)
    assert [one["episode"] for one in found["episodes"]] == [0]
    assert found["episodes"][0]["frames"] == len(driven) - 2
    assert max(one["error"]["largest"] for one in found["joints"].values()) < 3e-4
    said = replay_text(dataset)
    check_wording(*lines_with(said, "frames"))

    status, found = replay(dataset, "--with-interventions")

    assert (found["frames"], found["frames_left_out"]) == (2 * len(driven), 0)
    assert found["joints"]["gripper"]["error"]["largest"] == pytest.approx(20.0, abs=3e-4)

    assert replay(dataset, "--episodes", "1")[0] == 4
    check_wording(*lines_with(caplog.messages, "frames"))


FRAMES = 60


@pytest.fixture
def three_joint_contract(tmp_path: Path) -> ChunkContract:
    """Return a contract: pan, elbow (reversed) in degrees; gripper 0 to 100 over 1.91986 rad."""
    return load_bundle(write_chunk_bundle(tmp_path / "bundle"), kind=ChunkBundle).contract


def course(frames: int = FRAMES, seed: int = 0) -> F64:
    """Return actions [frames, 3] that do not repeat over time."""
    walk = np.cumsum(np.random.default_rng(seed).normal(size=(frames, 3)), axis=0)
    return walk * [2.0, 1.0, 1.0] + [0.0, 5.0, 40.0]


def episode(
    actions: F64,
    predicted: F64,
    every: int = 4,
    index: int = 0,
    state: F64 | None = None,
    driven: slice = slice(0),
) -> Predicted:
    where: Any = SimpleNamespace(index=index, length=len(actions))
    compared = np.ones(len(actions), np.bool_)
    compared[driven] = False
    return Predicted(
        episode=where,
        begins=tuple(range(0, len(actions), every)),
        actions=actions,
        predicted=predicted,
        state=actions if state is None else state,
        compared=compared,
    )


def test_errors_are_in_the_units_of_the_dataset_and_in_rad(
    three_joint_contract: ChunkContract,
) -> None:
    actions = course(20)
    errors = np.zeros((20, 3))
    errors[:, 0], errors[:, 1], errors[7, 2] = 3.0, np.linspace(-2.0, 2.0, 20), 10.0

    pan, elbow, gripper = measure(
        three_joint_contract, [episode(actions, actions + errors, index=5)]
    ).joints

    assert [pan.name, elbow.name, gripper.name] == ["shoulder_pan", "elbow_flex", "gripper"]
    assert (pan.error.mean, pan.error.p95, pan.error.largest) == pytest.approx((3.0, 3.0, 3.0))
    assert pan.error_rad.mean == pytest.approx(math.radians(3.0))
    assert elbow.error.mean == pytest.approx(np.abs(np.linspace(-2, 2, 20)).mean())
    assert elbow.error_rad.largest == pytest.approx(math.radians(2.0))
    assert elbow.worst[1] in (0, 19)
    assert gripper.error.mean == pytest.approx(0.5)
    assert gripper.error.largest == pytest.approx(10.0)
    assert gripper.error_rad.largest == pytest.approx(0.1 * (1.74533 + 0.17453))
    assert gripper.worst == (5, 7)


def test_correlation_is_that_of_the_courses(three_joint_contract: ChunkContract) -> None:
    actions = course()
    predicted = np.stack([2 * actions[:, 0] + 1, -actions[:, 1], np.full(FRAMES, 40.0)], axis=1)

    found = [
        one.correlation
        for one in measure(three_joint_contract, [episode(actions, predicted)]).joints
    ]

    assert found[:2] == pytest.approx([1.0, -1.0])
    assert math.isnan(found[2])


@pytest.mark.parametrize("lag", [0, 3, -5])
def test_a_delay_is_found_over_all_episodes(three_joint_contract: ChunkContract, lag: int) -> None:
    whole = [course(90, seed) for seed in (1, 2)]
    episodes = [
        episode(one[10:80], one[10 + lag : 80 + lag], index=i) for i, one in enumerate(whole)
    ]

    found = measure(three_joint_contract, episodes).lag

    assert found is not None
    assert found.frames == lag
    assert found.error == pytest.approx(0.0, abs=1e-12)
    assert (found.error_unshifted > 0.01) is (lag != 0)


@pytest.mark.parametrize(
    ("lag", "follows"),
    [
        (Lag(frames=3, error=0.9, error_unshifted=1.0, error_of_mean=0.95), False),
        (Lag(frames=3, error=0.5, error_unshifted=1.0, error_of_mean=0.95), True),
        (Lag(frames=0, error=0.9, error_unshifted=0.9, error_of_mean=0.95), True),
    ],
    ids=["not shifted", "shifted", "in time"],
)
def test_the_stated_error_is_compared_with_that_of_the_mean(
    tmp_path: Path, lag: Lag, follows: bool
) -> None:
    bundle = load_bundle(write_chunk_bundle(tmp_path / "bundle"), kind=ChunkBundle)
    where: Any = SimpleNamespace(index=0, length=FRAMES, tasks=())
    one = dataclasses.replace(episode(course(), course()), episode=where)
    figures = dataclasses.replace(measure(bundle.contract, [one]), lag=lag)
    report = open_loop_report(
        Replayed(
            dataset=tmp_path,
            bundle=bundle,
            backend="onnx",
            artifacts=[],
            every=4,
            episodes=[one],
            each=[figures],
            all=figures,
            left_out=0,
        )
    )
    sentences = [part for part in report.parts if isinstance(part, str)]
    assert any("do not follow the recorded ones" in text for text in sentences) is not follows
    check_wording(sentences)


def test_the_trembling_of_a_robot_that_rests_has_no_delay(
    three_joint_contract: ChunkContract,
) -> None:
    noise = np.random.default_rng(0).normal(scale=[0.2, 0.2, 0.1], size=(FRAMES, 3))

    assert measure(three_joint_contract, [episode(7.0 + noise[:-5], 7.0 + noise[5:])]).lag is None


def test_frames_in_which_a_person_drove_do_not_count(three_joint_contract: ChunkContract) -> None:
    actions = course(90)
    shown = actions[3:83].copy()
    shown[30:40] = 1e3
    whole = episode(actions[:80], shown, driven=slice(30, 40), index=2)
    parts = [episode(actions[:30], shown[:30]), episode(actions[40:80], shown[40:80])]

    found, expected = measure(three_joint_contract, [whole]), measure(three_joint_contract, parts)

    assert found.lag == expected.lag
    assert found.lag is not None
    assert found.lag.frames == 3
    for one, other in zip(found.joints, expected.joints, strict=True):
        assert (one.error, one.correlation) == (other.error, other.correlation)
        assert one.worst[1] not in range(30, 40)


def test_errors_are_counted_by_the_step_of_the_chunk(three_joint_contract: ChunkContract) -> None:
    actions = course()
    steps = np.arange(FRAMES) % 4
    predicted = actions + actions.std(axis=0) * steps[:, np.newaxis]

    assert measure(three_joint_contract, [episode(actions, predicted)]).by_step == pytest.approx(
        [0, 1, 2, 3]
    )


def test_values_that_the_limits_do_not_allow_are_named(three_joint_contract: ChunkContract) -> None:
    actions, state = np.full((5, 3), 30.0), np.full((5, 3), 30.0)
    actions[3, 2], state[1, 0] = 140.0, -180.0

    found = measure(three_joint_contract, [episode(actions, actions, state=state)]).strange

    assert len(found) == 2
    check_wording(found[0])
    check_wording(found[1])


def test_rad_in_the_place_of_degrees_is_named(three_joint_contract: ChunkContract) -> None:
    # In training, these joints reached about 20, 20 and 65; a right angle is 1.6 rad.
    actions = course() / 57.3
    large = course()

    (found,) = measure(three_joint_contract, [episode(actions, actions, state=large)]).strange
    check_wording(found)
