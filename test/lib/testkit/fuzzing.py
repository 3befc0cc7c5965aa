# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile input for tests with Hypothesis: changed bytes, changed values of a YAML file.

A test that takes its input from here carries the mark `fuzz`. It leaves the number of examples to
the profile: a second of them in `make test`, minutes in `make acceptance` (`conftest.py`).
"""

from __future__ import annotations

import copy
import datetime
import math
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

LONGEST_CPU_S = 1.0
LARGEST_BYTES = 1 << 30
"""What reading one hostile input may take beyond what the process has already."""
_ODD_BYTES = (0x00, 0x01, 0x30, 0x7F, 0x80, 0xFE, 0xFF)
_ODD_VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1, 2, 127, 2**31 - 1, 2**31, 2**63, 2**64, 10**308, 10**400),
    *(-0.0, 0.5, 5e-324, 1e-308, 1e300, -1e300, 1.7976931348623157e308),
    *(math.inf, -math.inf, math.nan),
    *("", " ", "0", "1", "null", "~", ".*", "(a|b)*", "[", "\\", "{name}", "a" * 64, "a" * 5000),
    *("/etc/passwd", "../policy.yaml", "a/../../b", "C:\\x", "sub\\x", ".", "a\0b", "a\nb\x1b[2J"),
    *("é", "ﬁ", "\u202e", "\u2028", "\x85", "\U0001d51e", "٣", "İ", "a\u0301"),
    *([], {}, [[]], {"": 0}, {1: 2}, {None: None}, [None], [0] * 200, ["a"] * 200),
    *(datetime.date(2026, 1, 1), b"\xff\x00", {"a"}),
)
# Escapes of control characters, of which a YAML file has none, would end most drawings.
_TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)
_DEEP: Any = 0
for _ in range(30):
    _DEEP = [_DEEP]


def examples(share: float = 1.0) -> settings:
    """Return the settings for a test of which an example takes longer, so that it gets a share."""
    return settings(max_examples=max(1, round(settings().max_examples * share)))


@contextmanager
def bounded(cpu_s: float = LONGEST_CPU_S, largest_bytes: int = LARGEST_BYTES) -> Iterator[None]:
    """Fail what computes for longer, and deny memory to what asks for more.

    Args:
        cpu_s: Time of the processor, s, in the main thread's own code; the clock does not count.
        largest_bytes: Of address space beyond what there is; more is a `MemoryError`.
    """
    late = list[str]()

    def too_long(_: int, frame: FrameType | None) -> None:
        late.append(str(frame))
        raise AssertionError(f"more than {cpu_s} s of computing in {frame}")

    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGVTALRM, too_long)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + largest_bytes, hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGVTALRM, before)
    assert not late, late  # swallowed by what catches everything


def changed_bytes(*originals: bytes) -> st.SearchStrategy[bytes]:
    """Draw one of some files or messages, of which some bytes are others, or gone, or doubled."""

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(originals)))
        for _ in range(draw(st.integers(1, 6))):
            _BYTE_CHANGES[draw(st.sampled_from(sorted(_BYTE_CHANGES)))](
                draw, data, draw(st.integers(0, len(data)))
            )
        return bytes(data)

    return changed()


def changed_values(*originals: object) -> st.SearchStrategy[object]:
    """Draw what one of some YAML files says, with some of it changed: values, names, nesting."""

    @st.composite
    def changed(draw: st.DrawFn) -> object:
        root = [copy.deepcopy(draw(st.sampled_from(originals)))]
        for _ in range(draw(st.integers(1, 4))):
            places = list(_places(root[0]))
            if not places:
                break
            parent, key = places[draw(st.integers(0, len(places) - 1))]
            _CHANGES[draw(st.sampled_from(sorted(_CHANGES)))](draw, parent, key, places)
        return root[0]

    # Not the composite itself, whose description has its arguments: whole files.
    return changed()


def _put(draw: st.DrawFn, data: bytearray, at: int) -> None:
    data[at : at + 1] = bytes([draw(st.sampled_from(_ODD_BYTES) | st.integers(0, 255))])


def _insert(draw: st.DrawFn, data: bytearray, at: int) -> None:
    data[at:at] = draw(st.binary(min_size=1, max_size=16))


def _cut_out(draw: st.DrawFn, data: bytearray, at: int) -> None:
    del data[at : at + draw(st.integers(1, 64) | st.just(len(data)))]


def _repeat(draw: st.DrawFn, data: bytearray, at: int) -> None:
    data[at:at] = data[at : at + draw(st.integers(1, 64))]


def _put_count(draw: st.DrawFn, data: bytearray, at: int) -> None:
    """Put a number of the kind that states how much of something follows."""
    bits = draw(st.sampled_from((16, 32, 64)))
    number = draw(st.sampled_from((0, 1, (1 << bits - 1) - 1, 1 << bits - 1, (1 << bits) - 1)))
    data[at : at + bits // 8] = number.to_bytes(bits // 8, draw(st.sampled_from(_ORDERS)))


_ORDERS: tuple[Any, ...] = ("little", "big")
_BYTE_CHANGES: dict[str, Callable[[st.DrawFn, bytearray, int], None]] = {
    change.__name__: change for change in (_put, _insert, _cut_out, _repeat, _put_count)
}
_Place = tuple[Any, Any]
"""A mapping or a list, and the key or index of a value in it."""


def _places(node: object) -> Iterator[_Place]:
    """Yield the place of each value in a value."""
    items: Any = ()
    if isinstance(node, dict):
        items = list(node.items())
    elif isinstance(node, list):
        items = list(enumerate(node))
    for key, value in items:
        yield node, key
        yield from _places(value)


def _put_odd(draw: st.DrawFn, parent: Any, key: Any, places: Sequence[_Place]) -> None:
    parent[key] = copy.deepcopy(draw(st.sampled_from((*_ODD_VALUES, _DEEP)) | _TEXT))


def _put_number(draw: st.DrawFn, parent: Any, key: Any, places: Sequence[_Place]) -> None:
    parent[key] = draw(st.integers() | st.floats())


def _put_other(draw: st.DrawFn, parent: Any, key: Any, places: Sequence[_Place]) -> None:
    other, where = places[draw(st.integers(0, len(places) - 1))]
    parent[key] = copy.deepcopy(other[where])


def _delete(draw: st.DrawFn, parent: Any, key: Any, places: Sequence[_Place]) -> None:
    del parent[key]


def _double(draw: st.DrawFn, parent: Any, key: Any, places: Sequence[_Place]) -> None:
    if isinstance(parent, list):
        parent[key:key] = [parent[key]] * draw(st.sampled_from((1, 2, 100)))
    else:
        parent[f"{key}2"] = copy.deepcopy(parent[key])


def _wrap(draw: st.DrawFn, parent: Any, key: Any, places: Sequence[_Place]) -> None:
    parent[key] = draw(st.sampled_from(([parent[key]], {"a": parent[key]}, str(parent[key]))))


def _rename(draw: st.DrawFn, parent: Any, key: Any, places: Sequence[_Place]) -> None:
    if isinstance(parent, dict):
        odd = st.sampled_from((f"{key} ", f"{key}*", f".*{key}", "", "x\x1b", "(", 1, None, True))
        parent[draw(odd | _TEXT)] = parent.pop(key)


def _change_text(draw: st.DrawFn, parent: Any, key: Any, places: Sequence[_Place]) -> None:
    if isinstance(parent[key], str):
        at = draw(st.integers(0, len(parent[key])))
        parent[key] = parent[key][:at] + draw(_TEXT)[:3] + parent[key][at + 1 :]


_CHANGES: dict[str, Callable[[st.DrawFn, Any, Any, Sequence[_Place]], None]] = {
    change.__name__: change
    for change in (
        *(_put_odd, _put_number, _put_other, _delete),
        *(_double, _wrap, _rename, _change_text),
    )
}
