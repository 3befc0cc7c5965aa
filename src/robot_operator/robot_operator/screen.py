# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Terminal screen, 80 columns by 24 lines; needs no display or mouse, and works over SSH."""

import signal
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar, TextIO

from textual._xterm_parser import XTermParser
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.widgets import Static

from policy_core.errors import printable
from robot_operator.cockpit import Cockpit, RobotCondition

_REFRESH_HZ = 10.0
_NARROWEST = 40
_NEWS_LINES = 4
_HELP = (
    "e, Esc E-STOP  arrows , . (hold) drive  + - faster  space stop  q quit (damps)\n"
    "t Enter take control  s Enter stand  w Enter walk  d damp  g give back  c clear\n"
    "[ less, ] Enter more authority  o take over with a leader arm  p Enter hand back\n"
    "n next value, page up and down change it, if the policy takes values such as a height"
)


class _Output:
    """Writes to a terminal until it closes, then discards the output, so the caller can go on."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()


class _Terminal(LinuxDriver):
    """Textual's terminal, made robust against invalid bytes and SIGCONT."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Open the terminal; ignore bytes that are not UTF-8."""
        super().__init__(*arguments, **options)
        assert self._file is not None
        self._file = _Output(self._file)  # type: ignore[assignment]  # all that is used of it
        # textual interprets SIGCONT as the end of a Ctrl-Z, and starts a second reader. But SIGCONT
        # also arrives with SIGHUP when a terminal closes; two readers then keep textual from
        # ending.
        signal.signal(signal.SIGCONT, signal.SIG_DFL)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)

    def run_input_thread(self) -> None:
        """Read keys until the end, including keys that arrive together with an invalid byte."""
        while True:
            try:
                super().run_input_thread()
            except UnicodeDecodeError as error:
                parser = XTermParser()
                for character in (*error.object.decode(errors="ignore"), ""):
                    for event in parser.feed(character):
                        self.process_message(event)
            else:
                return


class Screen(App[None]):
    """Shows a cockpit, and passes keys on to it."""

    CSS = """
    #headline { height: 1; text-align: center; text-style: bold; color: white; }
    .at_rest { background: blue; }
    .moving { background: green; }
    .fault { background: red; }
    .unknown { background: magenta; }
    #state { height: 1fr; }
    #news { height: 5; border-top: solid gray; }
    #help { height: 4; color: gray; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,Q,ctrl+c", "quit", "quit", priority=True)]

    def __init__(self, cockpit: Cockpit) -> None:
        super().__init__(driver_class=_Terminal)
        self._cockpit = cockpit
        self._shown: dict[Static, str] = {}
        # Content is plain text, even if it looks like markup.
        self._headline = Static(id="headline", markup=False)
        self._state = Static(id="state", markup=False)
        self._news = Static(id="news", markup=False)

    def compose(self) -> ComposeResult:
        yield self._headline
        yield self._state
        yield self._news
        yield Static(_HELP, id="help", markup=False)

    def on_mount(self) -> None:
        self._show()
        self.set_interval(1.0 / _REFRESH_HZ, self._show)

    def on_key(self, event: Key) -> None:
        self._cockpit.press(event.key)
        self._show()

    def _show(self) -> None:
        view, width = self._cockpit.view(), max(self.size.width, _NARROWEST)
        self._put(self._headline, view.headline)
        for condition in RobotCondition:
            self._headline.set_class(condition is view.condition, condition.name.lower())
        self._put(self._state, "\n".join(_table(view.lines, width)))
        # The newest events are at the bottom, in full: a refusal ends with its remedy.
        news = [row for text in view.news for row in textwrap.wrap(text, width)]
        self._put(self._news, "\n".join(news[-_NEWS_LINES:]))

    def _put(self, place: Static, text: str) -> None:
        """Show a text unless it is already shown, since the connection may be slow."""
        if self._shown.get(place) != text:
            self._shown[place] = text
            place.update(printable(text))  # part of it is from the robot


def _table(lines: Sequence[tuple[str, str]], width: int) -> list[str]:
    column = max((len(name) for name, _ in lines), default=0) + 1
    return [
        row
        for name, value in lines
        for row in textwrap.wrap(
            value, width, initial_indent=name.ljust(column), subsequent_indent=" " * column
        )
        or [name]
    ]
