# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which topics belong to an episode, and whether they are there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lerobot_bridge.inputs import limit_ns
from lerobot_bridge.mapping import JOINT_COMMAND, Camera, RobotMapping, Source
from lerobot_bridge.resampling import slack_ns

Judge = Callable[[str, bytes], str]
"""Says of a message, by type and bytes, why no frame can be made of it; empty where one can."""
STATUS = "policy_msgs/msg/PolicyStatus"
_OVER_NS = 2_000_000_000
"""Rates are those of so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A topic that is to be recorded.

    Attributes:
        topic: As the mapping calls it.
        types: Types that its messages may have; any if empty.
        needed: Whether there is no episode without it.
        timeout_s: Age of its newest message at which it is given up; None: no age.
        holds: Whether its newest message still counts when an episode begins.
        gap_s: Time without a message up to which an episode stays whole in any case; None: any.
        alone: Whether only one node may publish it, as what frames are made of.
    """

    topic: str
    types: tuple[str, ...] = ()
    needed: bool = False
    timeout_s: float | None = None
    holds: bool = False
    gap_s: float | None = None
    alone: bool = False


def wanted_topics(
    mapping: RobotMapping, extra: Sequence[str] = (), policy_node: str = ""
) -> list[Wanted]:
    """Return what is to be recorded.

    Args:
        mapping: Its features are needed; its commands are recorded where there are any.
        extra: Topics of any type, which must have a publisher.
        policy_node: Whose status and command are recorded; empty: there is none.
    """
    found: dict[str, Wanted] = {}

    def add(each: Wanted) -> None:
        before = found.setdefault(each.topic, each)
        found[each.topic] = Wanted(
            topic=each.topic,
            types=before.types,
            needed=before.needed or each.needed,
            timeout_s=_lesser(before.timeout_s, each.timeout_s),
            gap_s=_lesser(before.gap_s, each.gap_s),
            holds=before.holds or each.holds,
            alone=before.alone or each.alone,
        )

    for sources in mapping.vectors.values():
        for source in sources:
            holds = source.resample == "hold"
            add(
                Wanted(
                    topic=source.topic,
                    types=(source.type,),
                    needed=True,
                    holds=holds,
                    alone=True,
                    gap_s=gap_s(mapping, source),
                    timeout_s=None if holds else source.timeout_s,
                )
            )
    for camera in mapping.cameras.values():
        holds = camera.resample == "hold"
        add(
            Wanted(
                topic=camera.topic,
                types=camera.types,
                needed=True,
                holds=holds,
                alone=True,
                gap_s=gap_s(mapping, camera),
                timeout_s=None if holds else camera.timeout_s,
            )
        )
    for topic in extra:
        add(Wanted(topic=topic, needed=topic not in found))
    for channel in mapping.command:
        add(Wanted(topic=channel.topic, types=(channel.type,)))
    if policy_node:
        add(Wanted(topic=f"{policy_node}/status", types=(STATUS,)))
        add(Wanted(topic="joint_command", types=(JOINT_COMMAND,)))
    return list(found.values())


def gap_s(mapping: RobotMapping, source: Source | Camera) -> float | None:
    """Return the time between two messages that leaves out no more frames than may be closed up.

    Of a time that is longer by up to a period it depends on the moments of the frames.
    """
    if source.resample == "hold":
        return None
    allowed_ns = limit_ns(mapping, source) + slack_ns(mapping.period_ns)
    return (allowed_ns + mapping.max_gap_frames * mapping.period_ns) * 1e-9


def _lesser(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)


class Watch:
    """What came on a topic.

    Attributes:
        wanted: The topic.
        name: Its full name.
        kind: Type of its messages, once there is a publisher; else empty.
        trouble: Why it cannot be subscribed to; empty where it can.
        keeps: Whether its newest message is written when an episode begins.
        publishers: The nodes that publish it, by full name.
        count: Messages that came.
        lost: Messages that were published and did not come, where the middleware numbers them.
        newest: The newest message.
        silent_s: The longest time between two messages of the newest episode.
    """

    def __init__(
        self, wanted: Wanted, name: str, steady_ns: Callable[[], int], judge: Judge | None = None
    ) -> None:
        """Watch a topic that nothing came on yet.

        Args:
            wanted: The topic.
            name: Its full name.
            steady_ns: The steady clock, ns: simulated time may run faster than messages come.
            judge: Of its messages; None where nothing is expected of them.
        """
        self.wanted, self.name, self._steady_ns = wanted, name, steady_ns
        self._judge = judge
        self.kind, self.trouble = "", ""
        self.publishers: Sequence[str] = ()
        self.count, self.lost, self.silent_s = 0, 0, 0.0
        self.newest: bytes | None = None
        self.keeps = wanted.holds
        self._came = deque[tuple[int, int]]()
        self._newest_ns: tuple[int, int] | None = None
        self._before_ns: int | None = None

    def becomes(self, kind: str) -> None:
        """Take note of the type of what comes from now on."""
        if kind != self.kind:
            self.newest = None  # before the type: nobody is to see the two together
            self.kind = kind

    def arrived(self, now_ns: int, data: bytes) -> None:
        """Take note of a message."""
        self.count += 1
        self._newest_ns = now_ns, self._steady_ns()
        if self._before_ns is not None:
            self.silent_s = max(self.silent_s, (now_ns - self._before_ns) * 1e-9)
        self._before_ns = now_ns
        self._came.append((now_ns, len(data)))
        self._forget(now_ns)
        self.newest = data

    def begin(self) -> None:
        """Take note that an episode begins."""
        self.silent_s, self._before_ns = 0.0, None

    def problem(self, now_ns: int) -> str:
        """Return why there can be no episode now; empty where nothing speaks against one."""
        wanted = self.wanted
        if self.trouble or not wanted.needed:
            return self.trouble if wanted.needed else ""
        if not self.publishers:
            kinds = f" of {' or '.join(wanted.types)}" if wanted.types else ""
            return (
                f"{self.name}: expected a publisher{kinds}, found none; start it, or look "
                "for its name with `ros2 topic list`"
            )
        if not wanted.types:
            return ""
        if self._newest_ns is None:
            return f"{self.name}: expected messages, found none yet from its publisher"
        then_ns, then_steady_ns = self._newest_ns
        # ROS time may go back.
        age_s = min(abs(now_ns - then_ns), self._steady_ns() - then_steady_ns) * 1e-9
        if wanted.timeout_s is not None and age_s > wanted.timeout_s:
            return (
                f"{self.name}: expected a message within {wanted.timeout_s:g} s, found the "
                f"newest {age_s:.1f} s old"
            )
        return ""

    def unfit(self) -> str:
        """Return why no frame can be made of the newest message; empty where one can."""
        if self._judge is None or self.newest is None:
            return ""
        problem = self._judge(self.kind, self.newest)
        return f"{self.name}: {problem}" if problem else ""

    def crowd(self) -> str:
        """Return who publishes it beside each other, where only one may; empty if only one does.

        Their messages would take turns in the frames.
        """
        if not self.wanted.alone or len(self.publishers) < 2:
            return ""
        return (
            f"{self.name}: expected one publisher, found {len(self.publishers)} "
            f"({', '.join(self.publishers)}), whose messages take turns; stop all but one (one "
            "that was killed is gone after some seconds)"
        )

    def rate_hz(self, now_ns: int) -> float:
        """Return how many messages came a second, over the last two."""
        self._forget(now_ns)
        return len(self._came) / (_OVER_NS * 1e-9)

    def bytes_per_s(self, now_ns: int) -> float:
        """Return how much came, over the last two seconds."""
        self._forget(now_ns)
        return sum(size for _, size in self._came) / (_OVER_NS * 1e-9)

    def _forget(self, now_ns: int) -> None:
        while self._came and not now_ns - _OVER_NS < self._came[0][0] <= now_ns:
            self._came.popleft()
