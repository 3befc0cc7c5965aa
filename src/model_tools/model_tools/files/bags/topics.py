# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which topics of a recording are the inputs of a policy."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from policy_core.bundle.state_fields import COMMAND

_log = logging.getLogger("model_tools")


def is_named(topic: str, name: str) -> bool:
    """Return whether a full topic name is that of an input, in any namespace or none."""
    return f"/{topic.lstrip('/')}".endswith(f"/{name}")


def find_topics(
    bag: Bag,
    types: Mapping[str, Sequence[str]],
    given: Mapping[str, str],
    optional: Collection[str] = (COMMAND,),
) -> dict[str, str]:
    """Return the topic of each input; that of an optional one only where it was recorded.

    Args:
        bag: The recording.
        types: Message types that each input may have.
        given: Topics that the user named, by input; others go by their name, in one namespace.
        optional: Inputs that need not be there.
    """
    unknown = [name for name in given if name not in types]
    if unknown:
        raise ToolError(
            f"{bag.path}: expected topics for inputs of the policy ({', '.join(types)})"
            f", found one for {', '.join(unknown)}"
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
            wrong.append(str(error))
    if wrong:
        raise ToolError("\n  ".join(wrong))
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
    """Raise where topics that were found by their names are not in one namespace."""
    if len({topic.removesuffix(name) for name, topic in named.items()}) > 1:
        name, topic = next(iter(named.items()))
        raise ToolError(
            f"{bag.path}: expected the inputs of the policy in one namespace, as of "
            f"one robot, found {', '.join(named.values())}; name those that belong "
            f"together, as --topic {name}={topic}"
        )


def _given(bag: Bag, topic: str) -> str:
    full = f"/{topic.lstrip('/')}"
    if full not in bag.topics or not bag.topics[full].count:
        raise ToolError(
            f"{bag.path}: expected messages on {full}, found them on "
            f"{', '.join(_recorded(bag)) or 'no topic'}"
        )
    return full


def _named(bag: Bag, name: str, types: Sequence[str]) -> list[str]:
    """Return the topics of that name: those of a fitting type, if there are any."""
    named = [topic for topic in _recorded(bag) if is_named(topic, name)]
    return [topic for topic in named if bag.topics[topic].type in types] or named


def _keep_one_robot(named: dict[str, list[str]]) -> None:
    """Where only one namespace has all inputs, as `joint_states` and `leader/joint_states`: it."""
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
    """Return the only topic of that name; None for an optional one that was not recorded."""
    if len(named) > 1:
        raise ToolError(
            f"{bag.path}: expected one topic for the input {name}, found "
            f"{', '.join(named)}; choose one with --topic {name}={named[0]}"
        )
    if named or optional:
        return next(iter(named), None)
    recorded = _recorded(bag)
    alike = [topic for topic in recorded if bag.topics[topic].type in types]
    remedy = f"; it may be --topic {name}={' or '.join(alike)}" if alike else ""
    raise ToolError(
        f"{bag.path}: expected messages of the input {name} ({' or '.join(types)}), "
        f"found those of {', '.join(recorded) or 'no topic'}{remedy}"
    )


def _recorded(bag: Bag) -> list[str]:
    return [name for name, topic in bag.topics.items() if topic.count]
