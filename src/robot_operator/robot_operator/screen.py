# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The screen of a terminal: no display, no mouse, 80 columns by 24 lines, also over ssh."""

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Key
from textual.widgets import Static

from robot_operator.cockpit import Cockpit, Tone

_REFRESH_HZ = 10.0
_STYLES = {
    Tone.AT_REST: "bold white on blue", Tone.MOVING: "bold black on green",
    Tone.FAULT: "bold white on red", Tone.UNKNOWN: "bold black on yellow",
}  # fmt: skip
_NEWS_LINES = 4
_HELP = (
    "e, Esc E-STOP  hold arrows , . to drive, + - faster  space stop  Q quit (damps)\n"
    "T take control  S stand  W walk  d damp  g give back  c clear a fault"
)


class Screen(App[None]):
    """Shows a cockpit, and passes keys on to it."""

    CSS = """
    #headline { height: 1; text-align: center; }
    #state { height: 1fr; }
    #news { height: 5; border-top: solid gray; }
    #help { height: 2; color: gray; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("Q", "quit", "quit", priority=True),
        Binding("ctrl+c", "quit", "quit", priority=True),
    ]

    def __init__(self, cockpit: Cockpit) -> None:
        """Show this one."""
        super().__init__()
        self._cockpit = cockpit
        self._headline = Static(id="headline")
        self._lines = Static()
        self._news = Static(id="news")

    def compose(self) -> ComposeResult:
        """Lay out headline, state, news and keys."""
        yield self._headline
        state = VerticalScroll(self._lines, id="state")
        state.can_focus = False  # the arrows drive, they do not scroll
        yield state
        yield self._news
        yield Static(_HELP, id="help", markup=False)

    def on_mount(self) -> None:
        """Show the state now and from now on."""
        self._show()
        self.set_interval(1.0 / _REFRESH_HZ, self._show)

    def on_key(self, event: Key) -> None:
        """Pass a key on, and show at once what came of it."""
        self._cockpit.press(event.key)
        self._show()

    def _show(self) -> None:
        view = self._cockpit.view()
        self._headline.update(Text(f" {view.headline} ", style=_STYLES[view.tone]))
        table = Table.grid(padding=(0, 1))
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in view.lines:
            table.add_row(Text(name), Text(value))
        self._lines.update(table)
        # The newest are at the bottom, whole: what was refused has its remedy at the end.
        lines = Text("\n".join(view.news)).wrap(self.console, self.size.width)
        self._news.update(Text("\n").join([*lines][-_NEWS_LINES:]))
