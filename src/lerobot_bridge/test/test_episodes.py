# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Episodes in recordings: recorded as a whole, marked, or cut by time."""

from pathlib import Path
from typing import Any

import pytest

from lerobot_bridge.episode import SIDECAR, Episode, EpisodeSidecar, Span, write_sidecar
from lerobot_bridge.episodes import How, find_episodes
from lerobot_bridge.frames import EpisodeFrames
from model_tools.errors import ToolError
from testkit.bags import MS, S, Said
from testkit.wording import check_wording, refusal

from .bags import START_NS, arm_mapping, mark, say_arm, say_joints, times_ns, write_rosbag


def span(begin_ms: int, end_ms: int) -> Span:
    return Span(START_NS + begin_ms * MS, START_NS + end_ms * MS)


def marked_bag(folder: Path, *marks: Said) -> Path:
    return write_rosbag(folder / "bag", [*say_joints(times_ns(100, 9000)), *marks])


def test_the_file_beside_a_recording_says_what_it_is(tmp_path: Path) -> None:
    bag = write_rosbag(tmp_path / "bag", say_arm(100))
    write_sidecar(
        bag,
        EpisodeSidecar(
            number=3,
            task="stack",
            tags=("cubes",),
            success=False,
            interventions=((5, 7),),
            rate_hz=30,
        ),
    )

    (episode,) = find_episodes([bag], task="wave", tags=["x", "cubes"]).episodes

    assert episode == Episode(
        bag=bag,
        task="stack",
        tags=("cubes", "x"),
        success=False,
        interventions=(Span(5, 7),),
        number=3,
    )


def test_the_episodes_of_a_session_are_in_order_and_unfinished_ones_are_named(
    tmp_path: Path,
) -> None:
    for name in ("episode_0010", "episode_0002", ".unfinished/episode_0011"):
        write_rosbag(tmp_path / name, say_arm(100))
    (tmp_path / "mapping.yaml").touch()

    found = find_episodes([tmp_path], task="wave")

    assert [episode.bag.name for episode in found.episodes] == ["episode_0002", "episode_0010"]
    (skipped,) = found.skipped
    assert skipped.name == str(tmp_path / ".unfinished" / "episode_0011")
    check_wording(skipped.why)


def test_marks_say_where_episodes_are_and_how_they_ended(tmp_path: Path) -> None:
    bag = marked_bag(
        tmp_path,
        mark(1000, "STOP"),  # of an episode that began before the recording
        mark(1000 * MS, "START", episode=4, task="stack", tags=["cubes"]),
        mark(1200 * MS, "INTERVENTION_BEGINS"),
        mark(1300 * MS, "INTERVENTION_ENDS"),
        mark(1900 * MS, "INTERVENTION_BEGINS"),
        mark(2000 * MS, "STOP"),
        mark(2100 * MS, "SUCCESS", episode=4),
        mark(3000 * MS, "START", episode=5),
        mark(3500 * MS, "FAILURE", episode=5),
        mark(4000 * MS, "STOP"),
    )

    found = find_episodes([bag], "marks", task="wave")

    first, second = found.episodes
    assert first == Episode(
        bag=bag,
        span=span(1000, 2000),
        task="stack",
        tags=("cubes",),
        success=True,
        number=4,
        interventions=(span(1200, 1300), span(1900, 2000)),
    )
    # The person was still driving when the episode began.
    assert second == Episode(
        bag=bag,
        span=span(3000, 4000),
        task="wave",
        success=False,
        number=5,
        interventions=(span(3000, 4000),),
    )
    assert first.name == "bag[4]"


@pytest.mark.parametrize(
    ("stamps_ms", "expected", "warned"),
    [
        ((3500, 4990), span(3500, 4990), False),
        ((-START_NS // MS, 5000), span(4000, 5000), False),
        ((1000, 2000), span(4000, 5000), True),
        ((4700, 5700), span(4000, 5000), True),
    ],
    ids=["recorded late", "without a stamp", "3.000 s behind", "0.700 s ahead"],
)
def test_mark_counts_from_its_stamp_where_that_is_of_the_clock_of_the_log(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    stamps_ms: tuple[int, int],
    expected: Span,
    warned: bool,
) -> None:
    begin_ns, end_ns = (START_NS + stamp_ms * MS for stamp_ms in stamps_ms)
    bag = marked_bag(
        tmp_path,
        mark(4000 * MS, "START", stamp_ns=begin_ns),
        mark(5000 * MS, "STOP", stamp_ns=end_ns),
    )

    (episode,) = find_episodes([bag], "marks", task="wave").episodes

    assert episode.span == expected
    assert bool(caplog.messages) is warned
    if warned:
        check_wording(*caplog.messages)


def test_episodes_that_were_not_kept_are_named(tmp_path: Path) -> None:
    bag = marked_bag(
        tmp_path,
        mark(1000 * MS, "START", episode=0),
        mark(2000 * MS, "DISCARD", episode=0),
        mark(3000 * MS, "START", episode=1),
        mark(4000 * MS, "STOP", episode=1),
        mark(4100 * MS, "DISCARD", episode=0),
        mark(5000 * MS, "START", episode=2),
        mark(5500 * MS, "STOP", episode=2),
        mark(5600 * MS, "DISCARD", episode=2),
        mark(6000 * MS, "START", episode=3),
        mark(7000 * MS, "START", episode=4),
    )

    found = find_episodes([bag], "marks", task="wave")

    assert [episode.number for episode in found.episodes] == [1]
    assert found.episodes[0].interventions is None
    assert [each.name for each in found.skipped] == ["bag[0]", "bag[2]", "bag[3]", "bag[4]"]
    check_wording(*(each.why for each in found.skipped))


def test_a_recording_whose_clock_was_set_forward_is_not_cut_into_millions(tmp_path: Path) -> None:
    ahead = say_joints(times_ns(100, 9000), stamp_ns=START_NS + 30 * 86400 * S)
    bag = write_rosbag(
        tmp_path / "bag",
        [
            *say_joints(times_ns(100, 9000)),
            *((topic, log_ns + 30 * 86400 * S, message) for topic, log_ns, message in ahead),
        ],
    )
    other = write_rosbag(tmp_path / "other", say_joints(times_ns(100, 9000)))

    broken, *episodes = find_episodes([bag, other], 4.5, task="wave").episodes

    check_wording(broken.problem)
    assert [episode.span for episode in episodes] == [span(0, 4500), span(4500, 9000)]


def test_recordings_are_cut_by_time(tmp_path: Path) -> None:
    bag = write_rosbag(tmp_path / "bag", say_joints(times_ns(100, 9000)))

    found = find_episodes([bag], 4.0, task="wave")

    assert [episode.span for episode in found.episodes] == [span(0, 4000), span(4000, 8000)]
    (skipped,) = found.skipped
    assert skipped.name == "bag[2]"
    check_wording(skipped.why)


def test_recordings_without_a_task_are_refused(tmp_path: Path) -> None:
    bag = write_rosbag(tmp_path / "bag", say_arm(100))

    with refusal(ToolError):
        find_episodes([bag])


def test_marks_without_an_episode_are_refused(tmp_path: Path) -> None:
    bag = marked_bag(tmp_path, mark(1000 * MS, "START", episode=7))

    (episode,) = find_episodes([bag], "marks", task="wave").episodes

    check_wording(episode.problem)


def truncated(bag: Path) -> Path:
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:5000])
    return bag


@pytest.mark.parametrize(("how", "numbers"), [("marks", [4]), (4.0, [0, 1])])
def test_a_broken_recording_is_left_out_and_the_others_are_not(
    tmp_path: Path, how: How, numbers: list[int]
) -> None:
    said = [
        *say_joints(times_ns(100, 8000)),
        mark(1000 * MS, "START", episode=4),
        mark(2000 * MS, "STOP"),
    ]
    broken, unmarked = (
        truncated(write_rosbag(tmp_path / "a", said)),
        write_rosbag(tmp_path / "b", []),
    )
    write_rosbag(tmp_path / "c", said)

    first, second, *others = find_episodes([tmp_path], how, task="wave").episodes

    assert [(each.bag.name, each.number, each.problem) for each in others] == [
        ("c", number, "") for number in numbers
    ]
    assert (first.bag, second.bag) == (broken, unmarked)
    check_wording(first.problem)
    check_wording(second.problem)


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with refusal(ToolError):
        find_episodes([tmp_path])
    with refusal(ToolError):
        find_episodes([tmp_path / "gone"])


@pytest.mark.parametrize("how", ["bag", 0.1])
def test_a_file_beside_a_recording_that_does_not_fit_refuses_this_one_alone(
    tmp_path: Path, how: Any
) -> None:
    for name in ("a", "b"):
        write_rosbag(tmp_path / name, say_arm(100))
    (tmp_path / "a" / SIDECAR).write_text('{"schema_version": 1, "task": 3}')

    broken, whole = find_episodes([tmp_path], how, task="wave").episodes

    assert not whole.problem
    with refusal(ToolError):
        EpisodeFrames(arm_mapping(), broken)
