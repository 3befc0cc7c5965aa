# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Values per joint, and joints by name: the only place where patterns of names are matched."""

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from policy_core.bundle.schema import PerJointYaml
from policy_core.interfaces import F64

LONGEST_PATTERN = 128
"""Characters."""


def per_joint(value: PerJointYaml, names: Sequence[str]) -> F64:
    """Return one float64 per name.

    A map's keys are names, or patterns (`name_pattern`) that must match a whole name. A name takes
    the value of the key that equals it, else of the only pattern that matches it; a key that no
    name takes its value from is an error.

    Raises:
        ValueError: The number of values or the names do not fit; its two arguments are what was
            expected and what was found.
    """
    if isinstance(value, Mapping):
        return np.array([value[key] for key in _key_of_each(names, value)], dtype=np.float64)
    if isinstance(value, (int, float)):
        return np.full(len(names), float(value))
    if len(value) != len(names):
        raise ValueError(f"{len(names)} values ({_brief(names)})", f"{len(value)}")
    return np.array(value, dtype=np.float64)


def matched(entries: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that a list of names or patterns means, entry by entry.

    A pattern stands for all names that it matches, in the order of `names`. An entry that is a
    name is that name, and one that matches nothing stays as it is, for the caller to find.

    Raises:
        ValueError: An entry is neither a name nor a pattern; as `per_joint`.
    """
    found = list[str]()
    for entry in entries:
        pattern = None if entry in names else _pattern(entry)
        found += (pattern and list(filter(pattern.fullmatch, names))) or [entry]
    return tuple(found)


def robot_names(names: Sequence[str], renamed: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a robot calls joints, given its names by name or pattern of a contract's.

    A joint that no key is for has the same name on the robot. In a robot's name `{name}` stands
    for the contract's.

    Raises:
        ValueError: Several patterns match a name; as `per_joint`.
    """
    patterns = _patterns(renamed, names)
    found = list[str]()
    for name in names:
        key = name if name in renamed else _only_match(name, patterns, or_none=True)
        found.append(renamed[key].replace("{name}", name) if key else name)
    return tuple(found)


def _key_of_each(names: Sequence[str], keys: Collection[str]) -> list[str]:
    patterns = _patterns(keys, names)
    chosen = [name if name in keys else _only_match(name, patterns) for name in names]
    for key in patterns:
        if key not in chosen:
            raise ValueError("keys that are needed", f"{key!r}, whose names have keys of their own")
    return chosen


def _patterns(keys: Collection[str], names: Sequence[str]) -> dict[str, re.Pattern[str]]:
    """Return the patterns among keys, of which each matches a name."""
    patterns = {key: _pattern(key) for key in keys if key not in names}
    for key, pattern in patterns.items():
        if not any(map(pattern.fullmatch, names)):
            raise ValueError(f"keys that match one of {_brief(names)}", repr(key))
    return patterns


def name_pattern(text: str) -> re.Pattern[str]:
    """Return the regular expression that a pattern of names is; `fullmatch` it with a name.

    A hostile one may take minutes: a node that holds a robot reads contracts in another process
    first.

    Raises:
        ValueError: It is none, or too long; the text says why.
    """
    if len(text) > LONGEST_PATTERN:
        raise ValueError(f"more than {LONGEST_PATTERN} characters")
    try:
        return re.compile(text, re.ASCII)
    except (re.error, OverflowError) as error:
        raise ValueError(str(error)) from error


def _pattern(key: str) -> re.Pattern[str]:
    try:
        return name_pattern(key)
    except ValueError as error:
        raise ValueError(
            "names or patterns of names (docs/bundle.md)", f"{_short(key)}: {error}"
        ) from error


def _only_match(
    name: str, patterns: Mapping[str, re.Pattern[str]], *, or_none: bool = False
) -> str:
    """Return the only key that matches a name, or, where that is allowed, an empty one."""
    keys = [key for key, pattern in patterns.items() if pattern.fullmatch(name)]
    if or_none and not keys:
        return ""
    if len(keys) != 1:
        found = f"the keys {', '.join(map(repr, keys))}" if keys else "none"
        raise ValueError(f"exactly one key for {name!r}", found)
    return keys[0]


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _brief(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{names[0]}, {names[1]}, ... {names[-1]}"
