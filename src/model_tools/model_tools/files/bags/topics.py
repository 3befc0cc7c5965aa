# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Find the topics for a policy's inputs in a recording, and check that one robot sent them."""

from __future__ import annotations

import logging
import struct
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from model_tools.files.bags.blocks import Block
from policy_core.bundle.contract import JointContract
from policy_core.bundle.state_fields import COMMAND, JOINT_STATES
from policy_core.errors import RobotError
from policy_core.interfaces import F64, Times
from policy_core.observation.state import RobotState
from policy_inference.messages.readers import state_reader

_log = logging.getLogger("model_tools")
_MESSAGES, _PAIRS = 512, 8
"""In every `_MESSAGES` messages, `_PAIRS` pairs of adjacent messages are compared."""
_JUMP_RAD, _UNTOLD, _FARTHER = 0.03, 0.5, 1.4
"""Signs that two sources alternate: positions jump by more than the first value (rad), their
correlation with the velocities is below the second, and their ratio to the velocities is above the
third.

All are medians over pairs of adjacent messages. In healthy walks, the correlation is 0.96 to 1 and
the ratio 0.7 to 1.2; when two sources alternate, they are 0.1 to 0.35 and 1.8 to 40.
"""


def is_named(topic: str, name: str) -> bool:
    """Return whether a full topic name is an input's name, in any namespace or in none."""
    return f"/{topic.lstrip('/')}".endswith(f"/{name}")


def find_topics(
    bag: Bag,
    types: Mapping[str, Sequence[str]],
    given: Mapping[str, str],
    optional: Collection[str] = (COMMAND,),
) -> dict[str, str]:
    """Return the topic for each input; an optional input is absent if it was not recorded.

    Args:
        bag: The recording.
        types: Allowed message types for each input.
        given: Topics specified by the user, by input; all others are found by name, in one
            namespace.
        optional: Inputs that may be absent.
    """
    unknown = [name for name in given if name not in types]
    if unknown:
        raise ToolError(
            f"{bag.path}: expected topics for inputs of the policy ({', '.join(types)})"
            f", found a topic for {', '.join(unknown)}"
        )
    named = {
        name: _named(bag, name, fitting) for name, fitting in types.items() if name not in given
    }
    _keep_one_robot(named)
    found, wrong = dict[str, str | None](), list[str]()
    for name in types:
        try:
            found[name] = (
                _given(bag, given[name])
                if name in given
                else _only(bag, name, types[name], named[name], name in optional)
            )
        except ToolError as error:
            wrong += str(error).split("\n")
    if wrong:
        raise ToolError(*wrong)
    topics = {name: topic for name, topic in found.items() if topic is not None}
    for name, topic in topics.items():
        if bag.topics[topic].type not in types[name]:
            raise ToolError(
                f"{bag.path}: {topic}: expected {' or '.join(types[name])} for the "
                f"input {name}, found {bag.topics[topic].type}"
            )
    _refuse_several_robots(
        bag, {name: topic for name, topic in topics.items() if name not in given}
    )
    if COMMAND in optional and COMMAND in types.keys() - topics.keys():
        _log.warning(
            "%s: no messages on %s: the policy is replayed with the velocity command 0",
            bag.path,
            COMMAND,
        )
    return topics


def _refuse_several_robots(bag: Bag, named: Mapping[str, str]) -> None:
    """Raise an error if topics found by name are in different namespaces."""
    if len({topic.removesuffix(name) for name, topic in named.items()}) > 1:
        name, topic = next(iter(named.items()))
        raise ToolError(
            f"{bag.path}: expected the policy's inputs in one namespace (from one robot), "
            f"found {', '.join(named.values())}; choose the topics of one robot, such as --topic "
            f"{name}={topic}"
        )


def _given(bag: Bag, topic: str) -> str:
    full = f"/{topic.lstrip('/')}"
    if full not in bag.topics or not bag.topics[full].count:
        raise ToolError(
            f"{bag.path}: expected messages on {full}, found messages on "
            f"{', '.join(_recorded(bag)) or 'no topic'}"
        )
    return full


def _named(bag: Bag, name: str, types: Sequence[str]) -> list[str]:
    """Return the topics with that name; if some have a suitable type, only those."""
    named = [topic for topic in _recorded(bag) if is_named(topic, name)]
    return [topic for topic in named if bag.topics[topic].type in types] or named


def _keep_one_robot(named: dict[str, list[str]]) -> None:
    """Keep the only namespace with all inputs (`joint_states`, not `leader/joint_states`)."""
    spaces = [
        {topic.removesuffix(name) for topic in topics} for name, topics in named.items() if topics
    ]
    common = set.intersection(*spaces) if spaces else set()
    if len(common) == 1:
        (space,) = common
        named.update({name: [space + name] for name, topics in named.items() if topics})


def _only(
    bag: Bag, name: str, types: Sequence[str], named: Sequence[str], optional: bool
) -> str | None:
    """Return the only topic with that name; None for an optional topic that was not recorded."""
    if len(named) > 1:
        raise ToolError(
            f"{bag.path}: expected one topic for the input {name}, found "
            f"{', '.join(named)}; choose one with --topic {name}={named[0]}"
        )
    if named or optional:
        return next(iter(named), None)
    recorded = _recorded(bag)
    alike = [topic for topic in recorded if bag.topics[topic].type in types]
    remedy = f"; try --topic {name}={' or '.join(alike)}" if alike else ""
    raise ToolError(
        f"{bag.path}: expected messages for the input {name} ({' or '.join(types)}), "
        f"found {'only ' + ', '.join(recorded) if recorded else 'none on any topic'}{remedy}"
    )


def _recorded(bag: Bag) -> list[str]:
    return [name for name, topic in bag.topics.items() if topic.count]


class OneRobot:
    """Checks joint states in adjacent messages: positions must change as the velocities predict.

    If a recording mixes two robots, or two stretches with the same times after a clock reset,
    the messages alternate, so positions jump back and forth.
    """

    def __init__(self, bag: Bag, topics: Mapping[str, str], contract: JointContract) -> None:
        self._bag, self._topic = bag, topics.get(JOINT_STATES.name, "")
        if self._topic:
            self._state = RobotState(contract)
            names = contract.joints.on_robot()
            self._reader = state_reader(JOINT_STATES.name, names, self._state)
            self._decode = bag.decoder(self._topic)

    def look(self, name: str, block: Block, times: Times, new: Times) -> None:
        """Raise an error if two sources alternate in a block; `new` indexes the new messages.

        Inputs other than the joint states are ignored.
        """
        if name != JOINT_STATES.name:
            return
        for first in range(0, len(new), _MESSAGES):
            places = new[first : first + _MESSAGES]
            if len(places) > 2 * _PAIRS:
                self._judge(block, times, places)

    def _judge(self, block: Block, times: Times, places: Times) -> None:
        pairs = np.linspace(0, len(places) - 2, _PAIRS).astype(np.intp)
        try:
            before, after = (
                np.stack([self._read(block, place) for place in places[at].tolist()])
                for at in (pairs, pairs + 1)
            )
        except (RobotError, struct.error, ValueError):
            return  # the replay reports it
        steps_ns = np.diff(times[places])
        # Messages received in a burst and stamped on reception have almost equal stamps.
        period_s = np.maximum(steps_ns[pairs], np.median(steps_ns))[:, np.newaxis] * 1e-9
        moved, rates = after[:, 0] - before[:, 0], (before[:, 1], after[:, 1])
        far = _rms(moved)
        stated = [rate * period_s for rate in (*rates, (rates[0] + rates[1]) / 2.0)]
        correlation = np.max(
            [
                np.abs((moved * each).mean(axis=0)) / np.maximum(far * _rms(each), 1e-12)
                for each in stated
            ],
            axis=0,
        )
        farther = far / np.maximum(np.max([_rms(each) for each in stated], axis=0), 1e-12)
        if (
            np.median(far) > _JUMP_RAD
            and np.median(correlation) < _UNTOLD
            and np.median(farther) > _FARTHER
        ):
            raise self._bag.problem(
                self._topic,
                int(times[places[0]]),
                "expected the messages of one robot in order, found positions that jump by "
                f"{np.median(far):.2g} rad from message to message, {np.median(farther):.1f} "
                "times what their velocities predict: two publishers are on the topic, or the "
                "clock was reset during the recording; record one robot, or cut that part out of "
                "the recording",
            )

    def _read(self, block: Block, place: int) -> F64:
        """Return positions and velocities [2, joints] of a message."""
        self._reader.read(self._decode(block.data(place)))
        return np.stack([self._state["joint_pos"], self._state["joint_vel"]])


def _rms(values: F64) -> F64:
    return np.asarray(np.sqrt(np.square(values).mean(axis=0)))
