# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The recorder without ROS: turns messages and requests into episodes on the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lerobot_bridge.episode import EpisodeSidecar, Mark
from lerobot_bridge.recording.disk import Disk, News
from lerobot_bridge.recording.folder import SessionFolder
from lerobot_bridge.recording.session import Course, Ended, RecordingSession, State
from lerobot_bridge.recording.watches import PolicyWatch, Watch

OnMark = Callable[[Mark, int, int], None]
"""Function called for each mark with its kind, the episode's number, and the time in ns."""
_MB = 1_000_000
_FROM_POLICY = "policy"
FROM_TOPIC = "topic"
"""Source name of the interventions reported on the `intervention` topic, on which a policy node
states who drives.
"""


class Recorder:
    """Connects the session, the topics and the disk; any thread may use it.

    Times must not decrease: read the clock within `at`, or use a single thread.

    Attributes:
        session: State of the session; request changes within `at`.
        watches: The recorded topics, by full name.
        problems: Current problems of the running episode, by topic.
        messages: Number of messages in the newest episode.
        gone: Why the newest episode was lost; empty if it was not.
    """

    def __init__(
        self,
        course: Course,
        sidecar: EpisodeSidecar,
        min_free_mb: float,
        folder: SessionFolder,
        disk: Disk,
        watches: Mapping[str, Watch],
        policy: PolicyWatch | None,
        on_mark: OnMark,
    ) -> None:
        """Start idle.

        Args:
            course: Settings for the session's sequence of episodes.
            sidecar: Task, tags and rate of each episode.
            min_free_mb: Space to leave free on the disk.
            folder: Folder of the session.
            disk: The writer of the episodes.
            watches: The recorded topics, by full name.
            policy: The evaluated policy, if the session is an evaluation.
            on_mark: Function called with each mark.
        """
        self.watches = watches
        self.problems: dict[str, str] = {}
        self.messages, self.gone = 0, ""
        self._sidecar, self._min_free_mb = sidecar, min_free_mb
        self._folder, self._disk, self._on_mark = folder, disk, on_mark
        self._policy = policy
        self._lock = threading.RLock()
        self._recording = False
        self._known = set[str]()
        self._lost: dict[str, int] = {}
        self._kinds: dict[str, str] = {}
        self._crowds: dict[str, str] = {}
        self.session = RecordingSession(
            course, self, number=folder.next_number, done=folder.finished
        )

    @contextmanager
    def at(self) -> Iterator[RecordingSession]:
        """Lock the recorder; return its session for requests."""
        with self._lock:
            yield self.session

    def arrived(self, topic: str, now_ns: int, data: bytes) -> None:
        with self._lock:
            if self._recording:
                self.session.tick(now_ns)  # the episode ends exactly between two messages
            watch = self.watches[topic]
            watch.arrived(now_ns, data)
            if watch.kind not in self._known:
                self._known.add(watch.kind)
                self._disk.learn(watch.kind)
            # a topic has one type in a recording
            if self._recording and self._kinds.setdefault(topic, watch.kind) == watch.kind:
                self.messages += 1
                self._disk.write(topic, watch.kind, now_ns, data)

    def policy_said(
        self,
        mode: str,
        reason: str,
        name: str,
        version: str,
        now_ns: int,
        done: bool | None = None,
    ) -> None:
        with self._lock:
            policy = self._policy
            assert policy is not None
            came = policy.said(mode, reason, name, version, done)
            self.session.signalled = done is not None
            if came or (done and not policy.drives):
                self.session.policy_is_done(now_ns, over=not policy.drives)
            self._look_at_policy(now_ns)

    def tick(self, now_ns: int) -> list[News]:
        """Do everything that is due; return the events since the last call, for the log."""
        with self._lock:
            said = self._from_disk()
            self._look_at_policy(now_ns)
            self.session.tick(now_ns)
            if self.session.state is State.EPISODE:
                said += self._watch(now_ns)
            else:
                self.problems.clear()
            return said

    def _look_at_policy(self, now_ns: int) -> None:
        if self._policy is not None:
            self.session.intervene(_FROM_POLICY, bool(self._policy.problem()), now_ns)
            if self._policy.lost:
                # a node that was killed while a person drove cannot report that the person stopped
                self.session.intervene(FROM_TOPIC, False, now_ns)

    def _from_disk(self) -> list[News]:
        said = [self._disk.news.popleft() for _ in range(len(self._disk.news))]
        for news in said:
            if news.episode is None:
                continue
            if news.failed:
                self.gone = news.text
                self._recording = self._recording and news.episode != self.session.number
                self.session.failed(news.episode)
            else:
                self.session.kept(news.episode)
        return said

    def _watch(self, now_ns: int) -> list[News]:
        found = {
            name: problem
            for name, watch in self.watches.items()
            if (problem := watch.problem(now_ns))
        }
        self._note_crowds()
        found |= {f"{name} publishers": text for name, text in self._crowds.items()}
        if self._policy is not None and (problem := self._policy.problem()):
            found[_FROM_POLICY] = (
                f"{problem}; from now on, the episode is marked as an intervention"
            )
        if self._disk.lost:
            found["disk"] = (
                f"{self._disk.lost} messages arrived faster than the disk could write; "
                "record on a faster disk, or send images compressed"
            )
        new = [text for name, text in found.items() if name not in self.problems]
        self.problems = found
        if room := self._room(self._disk.waiting_bytes):
            self.session.cut(now_ns, f"the disk is full: {room}")
            new.append(f"no episode follows: {room}")
        return [News(text, failed=True) for text in new]

    def _note_crowds(self) -> None:
        """Note the topics that have had several publishers at any time during the episode."""
        for name, watch in self.watches.items():
            if text := watch.crowd():
                self._crowds.setdefault(name, text)

    def obstacle(self, now_ns: int) -> str:
        """Return the reasons that no episode can start; empty if one can."""
        found = [
            problem
            for watch in self.watches.values()
            for problem in (watch.problem(now_ns) or watch.unfit(), watch.crowd())
            if problem
        ]
        kinds = {watch.kind for watch in self.watches.values() if watch.wanted.needed}
        found += [text for kind, text in self._disk.unknown.items() if kind in kinds]
        if self._policy is not None and (problem := self._policy.problem()):
            found.append(problem)
        if not now_ns:
            found.append(
                "/clock: expected simulated time (use_sim_time), found none yet; is the "
                "simulator running?"
            )
        rate = sum(watch.bytes_per_s(now_ns) for watch in self.watches.values())
        found += filter(None, [self._room(rate * self.session.course.episode_s)])
        return "\n".join(found)

    def _room(self, need_bytes: float) -> str:
        """Return why the disk has no room for this many bytes; empty if it has."""
        try:
            free_mb = self._folder.free_bytes() / _MB
        except OSError as error:
            return f"{self._folder.path}: {error.strerror}"
        need_mb = need_bytes / _MB + self._min_free_mb
        if free_mb >= need_mb:
            return ""
        return (
            f"{self._folder.path}: expected {need_mb:.0f} MB of free space, found "
            f"{free_mb:.0f} MB; move episodes away, or choose another output"
        )

    def begin(self, number: int, now_ns: int) -> None:
        """Record from now on, starting with the messages that are still valid."""
        self._disk.begin(number, self._folder.growing(number), self._folder.place(number))
        self._recording, self.messages, self.gone = True, 0, ""
        self._crowds = {}
        self._lost = {name: watch.lost for name, watch in self.watches.items()}
        self._kinds = {}
        for name, watch in self.watches.items():
            kind, newest = watch.kind, watch.newest
            if watch.keeps and newest is not None:
                self._kinds[name] = kind
                self._disk.write(name, kind, now_ns, newest)

    def end(self, ended: Ended) -> list[str]:
        self._recording = False
        self._note_crowds()
        said = [*self._crowded(), *self._not_received(), *self._absent()]
        if ended.fault:
            self._disk.news.append(News(f"episode {ended.number} ends here: {ended.why}", True))
        self._disk.news += [
            news._replace(text=f"episode {ended.number}: {news.text}") for news in said
        ]
        spans = ended.interventions
        self._disk.end(
            replace(
                self._sidecar,
                number=ended.number,
                success=ended.success,
                interventions=None if spans is None else tuple(tuple(span) for span in spans),
                policy=self._policy.ran if self._policy else None,
                ended=ended.why,
                lost=self._disk.lost,
                not_received=self.not_received,
                problems=tuple(self._crowds.values()),
            )
        )
        return [news.text for news in said]

    @property
    def not_received(self) -> dict[str, int]:
        """By topic, the number of the newest episode's messages that were sent but not received."""
        lost = {name: watch.lost - self._lost.get(name, 0) for name, watch in self.watches.items()}
        return {name: count for name, count in lost.items() if count}

    def _crowded(self) -> Iterator[News]:
        for text in self._crowds.values():
            yield News(f"{text}; convert leaves the episode out", failed=True)

    def _not_received(self) -> Iterator[News]:
        for name, count in self.not_received.items():
            yield News(
                f"{name}: {count} messages were sent but did not arrive; send images "
                "compressed, increase the publisher's QoS depth, or record on its "
                "machine",
                failed=True,
            )

    def _absent(self) -> Iterator[News]:
        for name, watch in self.watches.items():
            if watch.wanted.needed and name not in self._kinds:
                yield News(
                    f"{name}: expected messages, found none in the whole episode", failed=True
                )

    def discard(self) -> None:
        self._recording = False
        self._disk.discard()

    def judge(self, number: int, success: bool) -> None:
        self._disk.judge(self._folder.place(number), success)

    def place(self, number: int) -> Path:
        return self._folder.place(number)

    def mark(self, kind: Mark, number: int, now_ns: int) -> None:
        self._on_mark(kind, number, now_ns)
