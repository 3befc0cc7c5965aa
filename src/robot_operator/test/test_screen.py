# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The screen of a terminal of 80 columns and 24 lines."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Awaitable, Callable, Sequence

import pytest
from textual.pilot import Pilot as Hands

from robot_operator.cockpit import RobotCondition, View
from robot_operator.pilot import ASKING
from robot_operator.screen import Screen

COLUMN_WIDTH = 12.2
"""In an image of the screen."""
LINES = [
    ("reason", "standing"),
    ("next", "run (w, Enter)"),
    *((f"line {n}", str(n)) for n in range(12)),
]


class Recorded:
    """A cockpit that shows what it is given and keeps the keys."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.headline = "READY"
        self.lines: Sequence[tuple[str, str]] = LINES
        self.news = ["12:00:00  the oldest", "12:00:01  the newest"]

    def view(self) -> View:
        return View(
            headline=self.headline,
            condition=RobotCondition.MOVING,
            lines=self.lines,
            news=self.news,
        )

    def press(self, key: str) -> None:
        self.keys.append(key)


def screen_rows(screen: Screen) -> list[str]:
    """Return the rows of the screen as text, as an image of it has them."""
    rows: dict[int, str] = {}
    pattern = r'<text [^>]*x="([\d.]+)"[^>]*-line-(\d+)\)">([^<]*)</text>'
    for x, line, text in re.findall(pattern, screen.export_screenshot()):
        row = rows.get(int(line), "").ljust(round(float(x) / COLUMN_WIDTH))
        rows[int(line)] = row + html.unescape(text).replace("\xa0", " ")
    return [rows[line].rstrip() for line in sorted(rows)]


def on_screen(act: Callable[[Screen, Recorded, Hands[None]], Awaitable[None]]) -> None:
    """Run a screen of 80 x 24 with an operator at its keys."""

    async def run() -> None:
        cockpit = Recorded()
        screen = Screen(cockpit)
        async with screen.run_test(size=(80, 24)) as hands:
            await act(screen, cockpit, hands)

    asyncio.run(run())


def test_all_lines_news_and_keys_fit_on_80_by_24() -> None:
    async def act(screen: Screen, cockpit: Recorded, hands: Hands[None]) -> None:
        rows = screen_rows(screen)
        assert rows[0].strip() == "READY"
        for name, value in LINES:
            assert any(row.split() == [*name.split(), *value.split()] for row in rows), name
        for word in ("12:00:01", "E-STOP", "stand", "quit"):
            assert word in "\n".join(rows)

    on_screen(act)


@pytest.mark.parametrize(
    ("headline", "news", "shown"),
    [
        ("[red]RUN", "[bold]inputs[/nonsense]", ("[red]RUN", "[bold]inputs[/nonsense]")),
        (
            "\x1b]52;c;cm0=\x07RUN",
            "\x1b[2Jready\x9b0m",
            (r"\x1b]52;c;cm0=\x07RUN", r"\x1b[2Jready\x9b0m"),
        ),
    ],
    ids=["markup", "control characters"],
)
def test_texts_of_the_robot_are_shown_as_they_are(
    headline: str, news: str, shown: tuple[str, str]
) -> None:
    async def act(screen: Screen, cockpit: Recorded, hands: Hands[None]) -> None:
        cockpit.headline, cockpit.news = headline, [news]
        await hands.press("x")
        text = "\n".join(screen_rows(screen))
        assert all(each in text for each in shown)

    on_screen(act)


def test_keys_reach_the_cockpit_by_the_names_that_it_knows() -> None:
    driving = "space up down left right comma full_stop plus minus"
    keys = [*ASKING, "E", "enter", *driving.split()]

    async def act(screen: Screen, cockpit: Recorded, hands: Hands[None]) -> None:
        await hands.press(*keys)
        assert cockpit.keys == keys

    on_screen(act)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_quitting_ends_the_screen(key: str) -> None:
    async def act(screen: Screen, cockpit: Recorded, hands: Hands[None]) -> None:
        await hands.press(key)
        assert not screen.is_running
        assert cockpit.keys == []

    on_screen(act)


def test_a_small_terminal_keeps_the_mode_and_the_estop_key() -> None:
    async def run() -> None:
        screen = Screen(Recorded())
        async with screen.run_test(size=(60, 14)):
            text = "\n".join(screen_rows(screen))
            assert "READY" in text
            assert "E-STOP" in text

    asyncio.run(run())
