# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Watches an episode's topics, and the policy in an evaluation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lerobot_bridge.episode import PolicyRan
from lerobot_bridge.mapping import JOINT_COMMAND, RobotMapping

Judge = Callable[[str, bytes], str]
"""Function that returns why a message (type, bytes) cannot yield a frame; empty if it can."""
STATUS = "policy_msgs/msg/PolicyStatus"
_OVER_NS = 2_000_000_000
"""Time span for measuring rates."""
RUN = "RUN"
_DRIVES = (RUN, "HOLD")
"""Modes in which the policy commands the robot; in HOLD, the last command is briefly repeated."""
_SILENT_NS = 2_000_000_000
"""Time without a status after which the policy counts as lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedTopic:
    """A topic to record.

    Attributes:
        topic: Name in the mapping.
        types: Allowed message types; any if empty.
        needed: True if an episode needs the topic.
        timeout_s: Age of the newest message at which the topic counts as lost; None for never.
        holds: True if the newest message from before an episode also counts in the episode.
        alone: True if the topic may have only one publisher, because frames are made from it.
    """

    topic: str
    types: tuple[str, ...] = ()
    needed: bool = False
    timeout_s: float | None = None
    holds: bool = False
    alone: bool = False


def wanted_topics(
    mapping: RobotMapping, extra: Sequence[str] = (), policy_node: str = ""
) -> list[WantedTopic]:
    """Return the topics to record.

    Args:
        mapping: Mapping whose features are required; its commands, if any, are also recorded.
        extra: Additional topics of any type, which must have a publisher.
        policy_node: Node whose status and command are recorded; empty for no node.
    """
    found: dict[str, WantedTopic] = {}

    def add(each: WantedTopic) -> None:
        before = found.setdefault(each.topic, each)
        found[each.topic] = WantedTopic(
            topic=each.topic,
            types=before.types,
            needed=before.needed or each.needed,
            timeout_s=_lesser(before.timeout_s, each.timeout_s),
            holds=before.holds or each.holds,
            alone=before.alone or each.alone,
        )

    for sources in mapping.vectors.values():
        for source in sources:
            holds = source.resample == "hold"
            add(
                WantedTopic(
                    topic=source.topic,
                    types=(source.type,),
                    needed=True,
                    holds=holds,
                    alone=True,
                    timeout_s=None if holds else source.timeout_s,
                )
            )
    for camera in mapping.cameras.values():
        holds = camera.resample == "hold"
        add(
            WantedTopic(
                topic=camera.topic,
                types=camera.types,
                needed=True,
                holds=holds,
                alone=True,
                timeout_s=None if holds else camera.timeout_s,
            )
        )
    for topic in extra:
        add(WantedTopic(topic=topic, needed=topic not in found))
    for channel in mapping.command:
        add(WantedTopic(topic=channel.topic, types=(channel.type,)))
    if policy_node:
        add(WantedTopic(topic=f"{policy_node}/status", types=(STATUS,)))
        add(WantedTopic(topic="joint_command", types=(JOINT_COMMAND,)))
    return list(found.values())


def _lesser(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)


class Watch:
    """Watches the messages of a topic.

    Attributes:
        wanted: The topic.
        name: Full name of the topic.
        kind: Type of its messages; empty before there is a publisher.
        trouble: Why the topic cannot be subscribed to; empty if it can.
        keeps: True if the newest message is written when an episode begins.
        publishers: Full names of the nodes that publish the topic.
        count: Number of messages that arrived.
        lost: Number of published messages that did not arrive, if the middleware numbers messages.
        newest: The newest message.
    """

    def __init__(
        self,
        wanted: WantedTopic,
        name: str,
        steady_ns: Callable[[], int],
        judge: Judge | None = None,
    ) -> None:
        """Watch a topic that has had no messages yet.

        Args:
            wanted: The topic.
            name: Full name of the topic.
            steady_ns: Function that reads a steady clock, ns, because simulated time may outrun the
                messages.
            judge: Check of the topic's messages; None for no check.
        """
        self.wanted, self.name, self._steady_ns = wanted, name, steady_ns
        self._judge = judge
        self.kind, self.trouble = "", ""
        self.publishers: Sequence[str] = ()
        self.count, self.lost = 0, 0
        self.newest: bytes | None = None
        self.keeps = wanted.holds
        self._came = deque[tuple[int, int]]()
        self._newest_ns: tuple[int, int] | None = None

    def becomes(self, kind: str) -> None:
        if kind != self.kind:
            self.newest = None  # first, so that no reader sees it with the new type
            self.kind = kind

    def arrived(self, now_ns: int, data: bytes) -> None:
        self.count += 1
        self._newest_ns = now_ns, self._steady_ns()
        self._came.append((now_ns, len(data)))
        self._forget(now_ns)
        self.newest = data

    def problem(self, now_ns: int) -> str:
        """Return the reason that no episode can start now; empty if one can."""
        wanted = self.wanted
        if self.trouble or not wanted.needed:
            return self.trouble if wanted.needed else ""
        if not self.publishers:
            kinds = f" of {' or '.join(wanted.types)}" if wanted.types else ""
            return (
                f"{self.name}: expected a publisher{kinds}, found none; start one, or find "
                "the topic's name with `ros2 topic list`"
            )
        if not wanted.types:
            return ""
        if self._newest_ns is None:
            return f"{self.name}: expected messages, found none yet from its publisher"
        then_ns, then_steady_ns = self._newest_ns
        # ROS time may jump back
        age_s = min(abs(now_ns - then_ns), self._steady_ns() - then_steady_ns) * 1e-9
        if wanted.timeout_s is not None and age_s > wanted.timeout_s:
            return (
                f"{self.name}: expected a message within the last {wanted.timeout_s:g} s, found "
                f"the newest {age_s:.1f} s old"
            )
        return ""

    def unfit(self) -> str:
        """Return why the newest message cannot yield a frame; empty if it can."""
        if self._judge is None or self.newest is None:
            return ""
        problem = self._judge(self.kind, self.newest)
        return f"{self.name}: {problem}" if problem else ""

    def crowd(self) -> str:
        """Return a problem if the topic may have only one publisher but has several; otherwise "".

        The messages of several publishers would alternate in the frames.
        """
        if not self.wanted.alone or len(self.publishers) < 2:
            return ""
        return (
            f"{self.name}: expected one publisher, found {len(self.publishers)} "
            f"({', '.join(self.publishers)}), whose messages alternate; stop all but one (a "
            "killed one disappears after a few seconds)"
        )

    def rate_hz(self, now_ns: int) -> float:
        self._forget(now_ns)
        return len(self._came) / (_OVER_NS * 1e-9)

    def bytes_per_s(self, now_ns: int) -> float:
        """Return the data rate in bytes per second, over the last two seconds."""
        self._forget(now_ns)
        return sum(size for _, size in self._came) / (_OVER_NS * 1e-9)

    def _forget(self, now_ns: int) -> None:
        while self._came and not now_ns - _OVER_NS < self._came[0][0] <= now_ns:
            self._came.popleft()


class PolicyWatch:
    """Watches, during an evaluation, whether the policy drives, using its node's status.

    Attributes:
        ran: The policy that the node runs; None before the node's first status.
        done: True once the policy's success signal has arrived in this run; None if the bundle
            defines none.
    """

    def __init__(self, node: str, steady_ns: Callable[[], int]) -> None:
        """Watch the node with this full name; ages are measured on the steady clock, ns."""
        self.ran: PolicyRan | None = None
        self.done: bool | None = None
        self._node, self._mode, self._reason = node, "", ""
        self._steady_ns, self._heard_ns = steady_ns, 0

    def said(
        self, mode: str, reason: str, name: str, version: str, done: bool | None = None
    ) -> bool:
        """Process a status; return whether it is the first to report the success signal."""
        came = done is True and self.done is False
        self._mode, self._reason, self._heard_ns = mode, reason, self._steady_ns()
        self.done = done
        self.ran = PolicyRan(node=self._node, bundle_name=name, bundle_version=version)
        return came

    @property
    def lost(self) -> bool:
        """True if statuses have arrived, but none for longer than a running node ever pauses."""
        return self.ran is not None and self._age_ns > _SILENT_NS

    @property
    def drives(self) -> bool:
        return self._mode in _DRIVES

    @property
    def _age_ns(self) -> int:
        return self._steady_ns() - self._heard_ns

    def problem(self) -> str:
        """Return why the policy does not drive; empty if it does."""
        if self.ran is None:
            return (
                f"{self._node}: expected the status of a policy node, found none; is it running "
                "in this ROS_DOMAIN_ID?"
            )
        if self.lost:
            return (
                f"{self._node}: expected its status several times a second, found the newest "
                f"{self._age_ns * 1e-9:.1f} s old; has it exited?"
            )
        if not self.drives:
            return (
                f"{self._node}: expected the mode {RUN}, found {self._mode} ({self._reason}); "
                "`robot_operator stand`, then `robot_operator run`"
            )
        return ""
