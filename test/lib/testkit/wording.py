# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The wording of messages stands once: in `wording.yaml`, beside the tests of each package.

Tests compare what a program can compare: types, keys, rules, numbers, exit statuses. They leave the
text of a message to that file, so that other words change the file and no test:

    with refusal(ToolError):
        install(damaged)
    check_wording(caplog.messages[-1])

`pytest -n 0 --write-wording TESTS` writes what these tests have heard; read its diff as prose.
Times, decimals, quantities with a unit and integers of five digits match any other number, and
`<*>` in the file matches any text, such as another library's; an entry that matches is kept as it
is.
"""

from __future__ import annotations

import fcntl
import functools
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

Texts = dict[str, dict[str, list[str]]]
"""By file below the package's folder of tests, then by test."""
Key = tuple[Path, str, str]
"""Wording file, test file below its folder, and test."""
ErrorTypes = type[BaseException] | tuple[type[BaseException], ...]

FILE = "wording.yaml"
_HEADER = """\
# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
# The wording of messages, by the test that hears them; see test/lib/testkit/wording.py.
"""
ROOT = Path(__file__).resolve().parents[3]
_UNIT = r"(?:ns|us|µs|ms|s|min|h|%|B|kB|KB|MB|GB|KiB|MiB|GiB|bytes|Hz|steps)"
_NUMBER = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"
    r"|\d+(?:\.\d+)?e[+-]?\d+"
    r"|\d+\.\d+"
    rf"|(?:\d+,)*\d+(?= ?{_UNIT}(?![A-Za-z]))"
    # A process has a number of four digits as well as one of five.
    r"|(?<=\bprocess )\d+"
    r"|\d{5,}|\d+(?:,\d{3})+"
)
_PLACES = (
    # The checkout may be below /tmp.
    (re.compile(re.escape(sys.prefix)), "<python>"),
    (re.compile(re.escape(str(ROOT))), "<root>"),
    (re.compile(r"/tmp/pytest-of-[^/]+/pytest-\d+(?:/popen-gw\d+)?(?:/[\w.\[\]-]+)?"), "<tmp>"),
    (re.compile(r"/tmp/[\w.-]+"), "<tmp>"),
    (re.compile(r"\b0x[0-9a-f]{6,}"), "<address>"),
    (re.compile(r"\b[0-9a-f]{32,}\b"), "<hash>"),
)


class _Hearing:
    """The test that runs, and what it has heard."""

    item: pytest.Item | None = None
    count = 0
    last: str | None = None
    writes = False
    heard: dict[Key, list[str]] = {}  # noqa: RUF012


def check_wording(*messages: object) -> None:
    """Compare messages with the wording file of the package whose test runs.

    Args:
        *messages: Texts, or errors, in a fixed order; one that repeats the last adds nothing.
    """
    item = _Hearing.item
    assert item is not None, "no test runs"
    assert messages, "nothing was said"
    key = _key(item)
    known = _known(key)
    for message in messages:
        text = _anywhere(str(message))
        if _Hearing.last is not None and _matches(_Hearing.last, text):
            continue  # the same again, as in a loop
        place, _Hearing.count = _Hearing.count, _Hearing.count + 1
        expected = known[place] if place < len(known) else None
        matches = expected is not None and _matches(expected, text)
        _Hearing.last = expected if matches else text
        if _Hearing.writes:
            _Hearing.heard.setdefault(key, []).append(_Hearing.last or text)
            continue
        assert expected is not None, f"no wording yet, see {__name__}: {text}"
        assert matches, f"another wording, see {__name__}:\n  {expected}\n  {text}"


def lines_with(said: str | Iterable[str], word: str) -> list[str]:
    """Return the lines of a text, or the messages of a log, that contain a word; at least one."""
    lines = said.splitlines() if isinstance(said, str) else said
    found = [line for line in lines if word in line]
    assert found, f"nothing was said with {word!r}"
    return found


@contextmanager
def refusal(kind: ErrorTypes) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect an error, and compare its message with the wording file.

    Args:
        kind: As `pytest.raises` takes it.

    Yields:
        As `pytest.raises`.
    """
    with pytest.raises(kind) as caught:
        yield caught
    check_wording(caught.value)


def _anywhere(text: str) -> str:
    """Return a text without what differs from machine to machine."""
    for pattern, instead in _PLACES:
        text = pattern.sub(instead, text)
    return text


def _any_number(text: str) -> str:
    return _NUMBER.sub("#", text)


def _matches(expected: str, text: str) -> bool:
    parts = [re.escape(_any_number(part)) for part in expected.split("<*>")]
    return re.fullmatch(".*".join(parts), _any_number(text), re.DOTALL) is not None


def _key(item: pytest.Item) -> Key:
    folder = next((each for each in item.path.parents if each.name == "test"), item.path.parent)
    # Both cores say the same.
    test = re.sub(r"\[(python|native)-", "[", item.nodeid.partition("::")[2])
    test = re.sub(r"\[(python|native)\]$", "", test)
    return folder / FILE, str(item.path.relative_to(folder)), test


def _known(key: Key) -> list[str]:
    """Return what the wording file has of a test."""
    file, path, test = key
    return _read(file).get(path, {}).get(test, [])


@functools.cache
def _read(file: Path) -> Texts:
    content = yaml.load(file.read_text("utf-8"), _Loader) if file.is_file() else None
    return {
        path: {test: [texts] if isinstance(texts, str) else texts for test, texts in tests.items()}
        for path, tests in (content or {}).items()
    }


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Dumper(yaml.SafeDumper):
    """Writes what has several lines as a block."""


def _as_prose(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _as_prose)


def _write(file: Path, heard: dict[tuple[str, str], list[str]]) -> None:
    """Put what tests have heard in the place of what the file has of them."""
    with file.open("a+", encoding="utf-8") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        _read.cache_clear()
        texts = _read(file)
        for (path, test), messages in heard.items():
            texts.setdefault(path, {})[test] = messages
        shown = {
            path: {test: said[0] if len(said) == 1 else said for test, said in tests.items()}
            for path, tests in texts.items()
        }
        opened.truncate(0)
        opened.write(_HEADER)
        yaml.dump(shown, opened, _Dumper, width=10_000, allow_unicode=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--write-wording`."""
    parser.addoption(
        "--write-wording",
        action="store_true",
        help=f"write the messages of the tests that run to {FILE} instead of comparing them",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take the option."""
    _Hearing.writes = config.getoption("--write-wording")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin with the first message of a test; a test that runs again begins again."""
    _Hearing.item, _Hearing.count, _Hearing.last = item, 0, None
    _Hearing.heard.pop(_key(item), None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Have a test fail that passes without hearing all that the file has of it."""
    yield
    unheard = [] if _Hearing.writes else _known(_key(item))[_Hearing.count :]
    assert not unheard, f"not said any more, see {__name__}: {unheard}"


def pytest_sessionfinish() -> None:
    """Write what was heard, of each package to its own file."""
    for file in {file for file, _, _ in _Hearing.heard}:
        heard = {key[1:]: texts for key, texts in _Hearing.heard.items() if key[0] == file}
        _write(file, heard)
