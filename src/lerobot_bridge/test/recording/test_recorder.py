# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Episodes on disks that are full, slow, or another's."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader

from lerobot_bridge.episode import EpisodeSidecar, read_sidecar
from lerobot_bridge.mapping_file import parse_mapping
from lerobot_bridge.recording.disk import Disk, EpisodeFile
from lerobot_bridge.recording.folder import SessionFolder
from lerobot_bridge.recording.recorder import FROM_TOPIC
from lerobot_bridge.recording.session import State
from policy_inference.bundle.schema import parse_yaml
from policy_inference.errors import PolicyError, RefusedError
from policy_inference.testing.disks import small_disk

from .sessions import MAPPING, MS, TEXT, TOPIC, Fed, until


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    with small_disk(tmp_path / "disk", 8192) as folder:
        yield folder


def count(episode: Path) -> int:
    """Return how many messages an episode has."""
    with AnyReader([episode]) as reader:
        return len(
            [
                reader.deserialize(data, connection.msgtype)
                for connection, _, data in reader.messages()
            ]
        )


def times(episode: Path) -> list[int]:
    """Return when the messages of an episode came, ns."""
    with AnyReader([episode]) as reader:
        return [time for _, time, _ in reader.messages()]


def test_messages_of_an_episode_and_none_of_others(tmp_path: Path) -> None:
    fed = Fed(tmp_path / "session")
    fed.send(5)
    fed.start()
    fed.send(20)
    fed.stop()
    fed.send(5)
    fed.close()

    episode = tmp_path / "session" / "episode_0000"
    assert count(episode) == 20
    assert times(episode) == [*range(70 * MS, 270 * MS, 10 * MS)]
    assert read_sidecar(episode) == EpisodeSidecar(
        number=0, task="Wave.", rate_hz=10, ended="stop was asked for"
    )


def test_episode_ends_with_the_last_message_before_its_end(tmp_path: Path) -> None:
    fed = Fed(tmp_path / "session", episode_s=0.1)
    fed.start()
    fed.send(30)
    fed.close()

    assert count(tmp_path / "session" / "episode_0000") == 9
    assert fed.recorder.session.state is State.IDLE


def test_a_policy_that_was_killed_under_a_person_drives_again_when_it_is_back(
    tmp_path: Path,
) -> None:
    fed = Fed(tmp_path / "session", evaluates=True, judged=True)

    def policy_runs() -> None:
        fed.recorder.policy_said("RUN", "the policy runs", "reach", "1.0.0", fed.now_ns)

    policy_runs()
    fed.start()
    fed.send(10)
    with fed.recorder.at() as session:
        session.intervene(FROM_TOPIC, True, fed.now_ns)
    for _ in range(30):  # its status is lost after 2 s
        fed.send(10)
        fed.tick()
    assert "has it ended?" in fed.all_said
    policy_runs()
    fed.send(10)
    fed.stop()
    fed.close()

    (span,) = read_sidecar(tmp_path / "session" / "episode_0000").interventions or ()
    assert span == (110 * MS, 3_110 * MS)


def test_episode_ends_before_its_clock_goes_back(tmp_path: Path) -> None:
    fed = Fed(tmp_path / "session", auto=True, warm_up_s=0.0, reset_s=0.05, judged=True)
    fed.now_ns = 500_000 * MS
    fed.start()
    fed.send(5)
    with fed.recorder.at() as session:
        session.intervene("topic", True, fed.now_ns)
    fed.send(3)
    fed.now_ns = 1_000 * MS  # the simulator was reset
    fed.send(6)
    fed.tick()
    fed.send(4)
    fed.stop()
    fed.close()

    first, second = (tmp_path / "session" / f"episode_{number:04d}" for number in range(2))
    assert read_sidecar(first).ended == "the clock went back by 499.080 s"
    assert read_sidecar(first).interventions == ((500_060 * MS, 500_090 * MS),)
    assert times(first) == [*range(500_020 * MS, 500_100 * MS, 10 * MS)]
    assert times(second) == [*range(1_070 * MS, 1_110 * MS, 10 * MS)]
    assert read_sidecar(second).interventions == ((1_060 * MS, 1_100 * MS),)
    assert "episode 0 ends here: the clock went back by 499.080 s" in fed.all_said


def test_start_is_refused_until_there_is_simulated_time(tmp_path: Path) -> None:
    fed = Fed(tmp_path / "session")
    fed.recorder.arrived(TOPIC, fed.now_ns, fed.data)

    assert fed.recorder.obstacle(0).startswith("/clock: expected simulated time")
    assert fed.recorder.obstacle(1) == ""
    fed.close()


def test_full_disk_ends_the_episode_which_is_kept_up_to_there(disk: Path) -> None:
    fed = Fed(disk / "session", min_free_mb=4.0, message_bytes=10_000, episode_s=2.0)
    fed.start()
    fed.send(10)
    fed.stop()
    fed.start()
    (disk / "of_another").write_bytes(bytes(3_500_000))
    while fed.recorder.session.state is State.EPISODE:
        fed.send()
        until(lambda: not fed.disk.waiting_bytes)
        fed.tick()
    fed.hears("episode_0001: ")

    assert "expected 4 MB of free space, found" in fed.all_said
    assert "episode 1 ends here: the disk is full" in fed.all_said
    session = disk / "session"
    assert count(session / "episode_0000") == 10
    assert count(session / "episode_0001") >= 1
    assert "the disk is full" in read_sidecar(session / "episode_0001").ended
    with fed.recorder.at() as at, pytest.raises(RefusedError, match="MB of free space, found 4"):
        at.start(fed.now_ns)

    (disk / "of_another").unlink()
    fed.start()
    fed.stop()
    fed.close()
    assert (session / "episode_0002").is_dir()


def test_disk_that_fills_up_at_once_costs_one_episode(disk: Path) -> None:
    fed = Fed(disk / "session", message_bytes=100_000, episode_s=0.3)
    fed.start()
    fed.send(10)
    fed.stop()
    fed.start()
    (disk / "of_another").write_bytes(bytes(6_500_000))
    fed.send(25)
    fed.hears("episode 1 is lost: No space left on device")

    assert fed.recorder.session.state is State.IDLE
    assert fed.recorder.session.done == 1
    session = disk / "session"
    assert sorted(path.name for path in session.glob("episode_*")) == ["episode_0000"]
    assert [*(session / ".unfinished").iterdir()] == []
    assert count(session / "episode_0000") == 10

    (disk / "of_another").unlink()
    fed.start()
    fed.send(3)
    fed.stop()
    fed.close()
    assert count(session / "episode_0002") == 3


def test_disk_without_a_byte_left_costs_an_episode_of_small_messages(disk: Path) -> None:
    fed = Fed(disk / "session", message_bytes=100)
    fed.start()
    (disk / "of_another").write_bytes(bytes(4_000_000))
    with pytest.raises(OSError, match="No space left"):
        (disk / "rest").write_bytes(bytes(9_000_000))
    fed.send(200)
    fed.stop()
    fed.hears("episode 0 is lost: No space left on device")
    assert (fed.recorder.session.done, fed.recorder.session.writing) == (0, set())
    assert "episode 0 is lost" in fed.recorder.gone

    session = disk / "session"
    (disk / "of_another").unlink()
    for number in (1, 2):
        fed.start()
        fed.send(3)
        fed.stop()
        fed.hears(f"episode_{number:04d}: kept")
    fed.close()
    assert [*(session / ".unfinished").iterdir()] == []
    assert [count(session / f"episode_{number:04d}") for number in (1, 2)] == [3, 3]
    assert fed.recorder.session.done == 2
    assert fed.recorder.gone == ""


def test_episode_counts_once_it_is_at_its_place(tmp_path: Path) -> None:
    fed = Fed(tmp_path / "session", episodes=2)
    fed.start()
    (tmp_path / "session" / "episode_0000" / "of_another").mkdir(parents=True)
    fed.stop()
    fed.start()
    with fed.recorder.at() as session:
        assert "episode 1 is over and being written" in session.stop(fed.now_ns)
        assert (session.done, session.state) == (0, State.FINISHED)
    fed.close()

    assert "episode 0 is lost: Directory not empty" in fed.all_said
    assert (fed.recorder.session.done, fed.recorder.session.writing) == (1, set())
    assert fed.recorder.session.state is State.IDLE


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_end_of_the_thread_before_its_time_is_reported(tmp_path: Path) -> None:
    disk = Disk(10**6)
    assert disk.works
    disk._orders.put(sys.exit)
    until(lambda: not disk.works)

    assert not disk.close()


def test_start_is_refused_where_the_episode_would_not_fit(disk: Path) -> None:
    fed = Fed(disk / "session", min_free_mb=1.0, message_bytes=20_000, episode_s=30.0)
    fed.send(200)  # 2 MB/s

    with pytest.raises(RefusedError, match=r"expected 61 MB of free space, found 8"):
        fed.start()
    fed.close()


def test_what_a_slow_disk_cannot_take_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    write = EpisodeFile.write

    def wait(self: EpisodeFile, topic: str, kind: str, log_ns: int, data: bytes) -> None:
        assert goes_on.wait(15.0)
        write(self, topic, kind, log_ns, data)

    monkeypatch.setattr(EpisodeFile, "write", wait)
    fed = Fed(tmp_path / "session", buffer_mb=1.0, message_bytes=100_000)
    fed.start()
    fed.send(30)
    fed.tick()
    assert "messages came faster than the disk could write" in fed.all_said
    assert fed.disk.waiting_bytes < 1e6
    goes_on.set()
    fed.stop()
    fed.close()

    episode = tmp_path / "session" / "episode_0000"
    assert count(episode) == 9
    assert read_sidecar(episode).lost == 21
    assert "21 messages came too fast for the disk" in fed.all_said


def test_messages_that_did_not_come_are_in_the_sidecar_by_episode(tmp_path: Path) -> None:
    fed = Fed(tmp_path / "session")
    fed.watch.lost = 3
    for lost in (2, 0):
        fed.start()
        fed.watch.lost += lost
        fed.send(3)
        assert fed.recorder.not_received == ({TOPIC: lost} if lost else {})
        fed.stop()
    fed.close()

    sidecars = [read_sidecar(tmp_path / "session" / f"episode_{number:04d}") for number in range(2)]
    assert [each.not_received for each in sidecars] == [{TOPIC: 2}, {}]
    assert "episode 0: /values: 2 messages were sent but did not arrive" in fed.all_said


# At 10 Hz a message counts for 0.2 s, one frame may be missing, and a message may be late by an
# eighth of a period: after 0.3125 s it depends on the moments of the frames.
@pytest.mark.parametrize(
    ("gap_ms", "said"),
    [
        (310, ""),
        (320, ": 0.32 s without a message, of which the mapping allows 0.31 s; convert may leave"),
        (420, ": 0.42 s without a message, of which the mapping allows 0.31 s; convert leaves"),
    ],
)
def test_gap_of_more_than_the_mapping_allows_is_reported_at_the_end(
    gap_ms: int, said: str, tmp_path: Path
) -> None:
    fed = Fed(tmp_path / "session")
    fed.send(5)
    fed.now_ns += 1000 * MS  # before the episode
    fed.start()
    fed.send(20)
    fed.now_ns += (gap_ms - 10) * MS
    fed.send(20)
    fed.now_ns += 1000 * MS  # at its end no frame is missing
    answer = fed.stop()
    fed.start()
    assert "without" not in fed.stop()
    fed.close()

    if not said:
        assert "without" not in answer + fed.all_said
        return
    assert f"\n/values{said} the episode out" in answer
    assert [news.warns for news in fed.said if f"episode 0: /values{said}" in news.text] == [True]


def test_unfinished_episode_stays_and_its_number_is_not_used_again(tmp_path: Path) -> None:
    session = tmp_path / "session"
    fed = Fed(session)
    fed.start()
    fed.stop()
    fed.close()
    left = session / ".unfinished" / "episode_0001"
    left.mkdir()
    (left / "episode_0001.mcap").write_bytes(b"the beginning")

    fed = Fed(session)
    assert fed.folder.unfinished == [left]
    fed.start()
    fed.stop()
    fed.close()

    assert (left / "episode_0001.mcap").read_bytes() == b"the beginning"
    assert sorted(path.name for path in session.glob("episode_*")) == [
        "episode_0000",
        "episode_0002",
    ]
    assert fed.recorder.session.done == 2


def test_session_of_another_mapping_is_refused(tmp_path: Path) -> None:
    SessionFolder(tmp_path / "session", MAPPING, TEXT).close()
    other = TEXT.replace(b"rate_hz: 10", b"rate_hz: 20")

    with pytest.raises(PolicyError, match=r"mapping\.yaml: expected the mapping of this session"):
        SessionFolder(tmp_path / "session", parse_mapping(parse_yaml(other, "b"), "b"), other)

    assert (tmp_path / "session" / "mapping.yaml").read_bytes() == TEXT


def test_same_mapping_in_other_words_is_the_same(tmp_path: Path) -> None:
    SessionFolder(tmp_path / "session", MAPPING, TEXT).close()

    SessionFolder(tmp_path / "session", MAPPING, b"# as before" + TEXT).close()


def test_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("Dear Sir")

    with pytest.raises(PolicyError, match=r"expected an empty folder.* found letters\.txt"):
        SessionFolder(tmp_path, MAPPING, TEXT)


def test_session_that_is_being_recorded_is_refused(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path / "session", MAPPING, TEXT)

    with pytest.raises(PolicyError, match="another recorder has open"):
        SessionFolder(tmp_path / "session", MAPPING, TEXT)
    folder.close()

    SessionFolder(tmp_path / "session", MAPPING, TEXT).close()


def test_type_that_is_not_installed_is_named(tmp_path: Path) -> None:
    fed = Fed(tmp_path / "session")
    fed.watch.kind = "no_such_msgs/msg/Thing"
    fed.send()
    until(lambda: fed.disk.unknown)

    with pytest.raises(RefusedError, match=r"share/no_such_msgs/msg/Thing\.msg, found"):
        fed.start()
    fed.close()
