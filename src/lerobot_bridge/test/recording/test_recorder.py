# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Episodes on disks that are full or slow, and in folders that are not its own."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from lerobot_bridge.episode import EpisodeSidecar, read_sidecar
from lerobot_bridge.mapping_file import parse_mapping
from lerobot_bridge.recording.disk import Disk, EpisodeFile, News
from lerobot_bridge.recording.folder import SessionFolder
from lerobot_bridge.recording.recorder import FROM_TOPIC, Recorder
from lerobot_bridge.recording.session import Course, State
from lerobot_bridge.recording.watches import PolicyWatch, Watch, wanted_topics
from policy_core.bundle.schema import parse_yaml
from policy_core.errors import PolicyError, RefusedError
from testkit.disks import small_disk
from testkit.waiting import until
from testkit.wording import check_wording, lines_with, refusal

TEXT = b"""
schema_version: 1
robot_type: one_topic
rate_hz: 10
vectors:
  observation.state:
    - {topic: values, type: std_msgs/msg/Float64MultiArray, fields: {x.vel: "data[0]"}}
"""


MAPPING = parse_mapping(parse_yaml(TEXT, "one_topic.yaml"), "one_topic.yaml")


TOPIC = "/values"


MS = 1_000_000


class Fed:
    """A recorder whose clock and topic a test controls; 100 messages per second."""

    def __init__(
        self,
        folder: Path,
        *,
        buffer_mb: float = 64.0,
        min_free_mb: float = 0.0,
        message_bytes: int = 64,
        evaluates: bool = False,
        **course: object,
    ) -> None:
        self.folder = SessionFolder(folder, MAPPING, TEXT)
        self.disk = Disk(round(buffer_mb * 1e6))
        self.watch = Watch(wanted_topics(MAPPING)[0], TOPIC, lambda: self.now_ns)
        self.watch.publishers, self.watch.kind = ["/robot"], "std_msgs/msg/Float64MultiArray"
        self.now_ns, self.sent = 0, 0
        self.data = _array_on_the_wire(message_bytes)
        self.policy = PolicyWatch("/policy", lambda: self.now_ns) if evaluates else None
        self.said: list[News] = []
        self.recorder = Recorder(
            Course(**{"auto": False, **course}),  # type: ignore[arg-type]  # a test's own
            EpisodeSidecar(number=0, task="Wave.", rate_hz=10),
            min_free_mb,
            self.folder,
            self.disk,
            {TOPIC: self.watch},
            self.policy,
            lambda *_: None,
        )

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            self.now_ns += 10 * MS
            self.sent += 1
            self.recorder.arrived(TOPIC, self.now_ns, self.data)

    def tick(self) -> None:
        self.said += self.recorder.tick(self.now_ns)

    def start(self) -> None:
        self.send()
        with self.recorder.at() as session:
            session.start(self.now_ns)

    def stop(self) -> str:
        with self.recorder.at() as session:
            return session.stop(self.now_ns)

    def hears(self, text: str) -> str:
        def said() -> bool:
            self.tick()
            return text in self.all_said

        until(said)
        return self.all_said

    @property
    def all_said(self) -> str:
        return "\n".join(news.text for news in self.said)

    def close(self) -> None:
        assert self.disk.close()
        self.tick()
        self.folder.close()


def _array_on_the_wire(size: int) -> bytes:
    """Return a serialized Float64MultiArray of about this many bytes."""
    values = np.random.default_rng(1).normal(size=size // 8)
    head = np.array([0x100, 0, 0, len(values), 0], "<u4").tobytes()
    return head + values.astype("<f8").tobytes()


@pytest.fixture
def tight_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 8192) as folder:
        yield folder


def count(episode: Path) -> int:
    with AnyReader([episode]) as reader:
        return len(
            [
                reader.deserialize(data, connection.msgtype)
                for connection, _, data in reader.messages()
            ]
        )


def recorded_times(episode: Path) -> list[int]:
    """Return the log times of the messages in an episode, ns."""
    with AnyReader([episode]) as reader:
        return [time for _, time, _ in reader.messages()]


def test_messages_of_an_episode_and_none_of_others(tmp_path: Path) -> None:
    fed = Fed(tmp_path / "session")
    fed.send(5)
    fed.start()
    fed.send(20)
    fed.stop()
    fed.send(5)
    fed.hears("episode_0000: kept")
    with fed.recorder.at() as session:
        session.judge(False, fed.now_ns)
    fed.close()

    episode = tmp_path / "session" / "episode_0000"
    assert count(episode) == 20
    assert recorded_times(episode) == [*range(70 * MS, 270 * MS, 10 * MS)]
    sidecar = read_sidecar(episode)
    assert sidecar == EpisodeSidecar(
        number=0, task="Wave.", rate_hz=10, success=False, ended=sidecar.ended
    )
    check_wording(sidecar.ended)


def test_discarded_episode_leaves_nothing(tmp_path: Path) -> None:
    fed = Fed(tmp_path / "session")
    fed.start()
    fed.send(5)
    with fed.recorder.at() as session:
        session.discard(fed.now_ns)
    fed.start()
    fed.send(3)
    fed.stop()
    fed.close()

    episode = tmp_path / "session" / "episode_0000"
    assert count(episode) == 3
    assert [*(tmp_path / "session" / ".unfinished").iterdir()] == []
    assert [*(tmp_path / "session").glob("episode_*")] == [episode]


def test_episode_ends_with_the_last_message_before_its_end(tmp_path: Path) -> None:
    fed = Fed(tmp_path / "session", episode_s=0.1)
    fed.start()
    fed.send(30)
    fed.close()

    assert count(tmp_path / "session" / "episode_0000") == 9
    assert fed.recorder.session.state is State.IDLE


class Signalled(Fed):
    """A recorder for a policy that has a success signal."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, evaluates=True, judged=True, episode_s=1.0)
        self.says("RUN", done=False)
        self.start()
        self.send(10)

    def says(self, mode: str, *, done: bool) -> None:
        self.recorder.policy_said(mode, "why", "reach", "1.0.0", self.now_ns, done)

    def sidecar(self) -> EpisodeSidecar:
        self.close()
        return read_sidecar(self.folder.path / "episode_0000")


def test_the_policys_signal_ends_an_episode_as_a_success(tmp_path: Path) -> None:
    fed = Signalled(tmp_path / "session")
    fed.says("DAMP", done=True)
    assert fed.recorder.session.state is State.IDLE
    said = fed.sidecar()
    assert said.success is True
    assert said.interventions == ()
    check_wording(said.ended)


def test_a_signal_that_only_flags_lets_the_episode_go_on(tmp_path: Path) -> None:
    fed = Signalled(tmp_path / "session")
    fed.says("RUN", done=True)
    assert fed.recorder.session.state is State.EPISODE
    fed.send(100)
    assert fed.sidecar().success is True


def test_an_episode_whose_signal_did_not_come_is_a_failure(tmp_path: Path) -> None:
    fed = Signalled(tmp_path / "session")
    fed.send(100)
    assert fed.sidecar().success is False


def test_a_persons_verdict_stays_and_one_who_drove_gives_it(tmp_path: Path) -> None:
    judged, driven = (Signalled(tmp_path / name) for name in ("judged", "driven"))
    with judged.recorder.at() as session:
        session.judge(False, judged.now_ns)
    judged.says("RUN", done=True)
    judged.send(100)
    with driven.recorder.at() as session:
        session.intervene(FROM_TOPIC, True, driven.now_ns)
    driven.send(100)
    assert judged.sidecar().success is False
    assert driven.sidecar().success is None


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
    check_wording(read_sidecar(first).ended)
    assert read_sidecar(first).interventions == ((500_060 * MS, 500_090 * MS),)
    assert recorded_times(first) == [*range(500_020 * MS, 500_100 * MS, 10 * MS)]
    assert recorded_times(second) == [*range(1_070 * MS, 1_110 * MS, 10 * MS)]
    assert read_sidecar(second).interventions == ((1_060 * MS, 1_100 * MS),)
    check_wording(*lines_with(fed.all_said, "ends here"))


def test_start_is_refused_until_there_is_simulated_time(tmp_path: Path) -> None:
    fed = Fed(tmp_path / "session")
    fed.recorder.arrived(TOPIC, fed.now_ns, fed.data)

    check_wording(fed.recorder.obstacle(0))
    assert fed.recorder.obstacle(1) == ""
    fed.close()


def test_full_disk_ends_the_episode_which_is_kept_up_to_there(tight_disk: Path) -> None:
    fed = Fed(tight_disk / "session", min_free_mb=4.0, message_bytes=10_000, episode_s=2.0)
    fed.start()
    fed.send(10)
    fed.stop()
    fed.start()
    (tight_disk / "of_another").write_bytes(bytes(3_500_000))
    while fed.recorder.session.state is State.EPISODE:
        fed.send()
        until(lambda: not fed.disk.waiting_bytes)
        fed.tick()
    fed.hears("episode_0001: ")

    check_wording(*lines_with(fed.all_said, "ends here"))
    session = tight_disk / "session"
    assert count(session / "episode_0000") == 10
    assert count(session / "episode_0001") >= 1
    check_wording(read_sidecar(session / "episode_0001").ended)
    with fed.recorder.at() as at, refusal(RefusedError):
        at.start(fed.now_ns)

    (tight_disk / "of_another").unlink()
    fed.start()
    fed.stop()
    fed.close()
    assert (session / "episode_0002").is_dir()


def test_episode_counts_once_it_is_at_its_place(tmp_path: Path) -> None:
    fed = Fed(tmp_path / "session", episodes=2)
    fed.start()
    (tmp_path / "session" / "episode_0000" / "of_another").mkdir(parents=True)
    fed.stop()
    fed.start()
    with fed.recorder.at() as session:
        check_wording(session.stop(fed.now_ns))
        assert (session.done, session.state) == (0, State.FINISHED)
    fed.close()

    check_wording(*lines_with(fed.all_said, "Directory"))
    assert (fed.recorder.session.done, fed.recorder.session.writing) == (1, set())
    assert fed.recorder.session.state is State.IDLE


def test_start_is_refused_where_the_episode_would_not_fit(tight_disk: Path) -> None:
    fed = Fed(tight_disk / "session", min_free_mb=1.0, message_bytes=20_000, episode_s=30.0)
    fed.send(200)  # 2 MB/s

    with refusal(RefusedError):
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
    check_wording(*lines_with(fed.all_said, "faster"))
    assert fed.disk.waiting_bytes < 1e6
    goes_on.set()
    fed.stop()
    fed.close()

    episode = tmp_path / "session" / "episode_0000"
    assert count(episode) == 9
    assert read_sidecar(episode).lost == 21
    check_wording(*lines_with(fed.all_said, "too fast"))


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
    check_wording(*lines_with(fed.all_said, "arrive"))


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


def test_folder_of_something_else_or_another_session_is_refused(tmp_path: Path) -> None:
    session, letters = tmp_path / "session", tmp_path / "letters.txt"
    folder = SessionFolder(session, MAPPING, TEXT)
    with refusal(PolicyError):  # it is being recorded
        SessionFolder(session, MAPPING, TEXT)
    folder.close()
    SessionFolder(session, MAPPING, b"# the same" + TEXT).close()

    other = TEXT.replace(b"rate_hz: 10", b"rate_hz: 20")
    with refusal(PolicyError):
        SessionFolder(session, parse_mapping(parse_yaml(other, "b"), "b"), other)
    assert (session / "mapping.yaml").read_bytes() == TEXT

    letters.write_text("Dear Sir")
    with refusal(PolicyError):
        SessionFolder(tmp_path, MAPPING, TEXT)
