# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Limits for the message types that a recording defines, before rosbags makes code of them.

That code has lines for each field and element, and runs in this process: 100 bytes of a definition
can ask for gigabytes, and a sequence of empty messages for 4,294,967,295 objects from four bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from rosbags.interfaces import Connection, MessageDefinitionFormat, Nodetype
from rosbags.typesys import get_types_from_idl, get_types_from_msg

LONGEST_TEXT = 1 << 18
"""Characters of a definition with all types that it needs; those of MoveIt have 100,000."""
MOST_FIELDS = 2000
"""Of a message with those inside of it, and elements of arrays of texts or messages."""
MOST_FIELDS_IN_ALL = 20_000
_IDL_PART = "=" * 80 + "\n"
_Fields = Sequence[tuple[str, Any]]


def problem_of(connections: Iterable[Connection]) -> str:
    """Return what is wrong with the types of these connections; empty where nothing is."""
    types = dict[str, tuple[Any, _Fields]]()
    for text, kind, is_msg in {
        (one.msgdef.data, one.msgtype, one.msgdef.format is MessageDefinitionFormat.MSG)
        for one in connections
        if one.msgdef.format is not MessageDefinitionFormat.NONE
    }:
        if len(text) > LONGEST_TEXT:
            return f"a definition of {len(text)} characters, more than {LONGEST_TEXT}"
        found = get_types_from_msg(text, kind) if is_msg else _from_idl(text)
        types.update(found)
        if sum(len(fields) for _, fields in types.values()) > MOST_FIELDS_IN_ALL:
            return f"types with more than {MOST_FIELDS_IN_ALL} fields in all"
    return _too_large(types)


def _from_idl(text: str) -> dict[str, Any]:
    parts = [text]
    if text.startswith(f"{_IDL_PART}IDL: "):
        parts = [part.partition("\n")[2] for part in text.split(_IDL_PART)[1:]]
    found = dict[str, Any]()
    for part in parts:
        found.update(get_types_from_idl(part))
    return found


def _too_large(types: Mapping[str, tuple[Any, _Fields]]) -> str:
    @cache
    def fields_of(name: str) -> int:
        """Return how many fields and elements a message has at least."""
        return sum(elements(what) for _, what in types.get(name, ((), ()))[1])

    def elements(what: Any) -> int:
        node, of = what
        if node is Nodetype.BASE:
            return 1
        if node is Nodetype.NAME:
            return fields_of(of)
        part, size = of
        each = elements(part)
        if part[0] is Nodetype.NAME and not each:
            raise ValueError(f"a sequence of {part[1]}, which has no fields")
        # An array of numbers is one, as are those of a sequence, which come with their bytes.
        is_one = node is Nodetype.SEQUENCE or (part[0] is Nodetype.BASE and part[1][0] != "string")
        return 1 if is_one else each * size

    try:
        for name in types:
            if (found := fields_of(name)) > MOST_FIELDS:
                return f"{name} with {found} fields and elements, more than {MOST_FIELDS}"
    except ValueError as error:
        return str(error)
    except RecursionError:
        return "a message that contains itself"
    return ""
