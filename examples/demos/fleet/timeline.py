# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Samples the version and mode of each robot over time, and draws them as an image."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from examples.demos.fleet.robot import DemoRobot, RobotView
from examples.demos.plots import GREY, INK, STYLE

TIMELINE = "timeline.png"
_SAMPLED_EVERY_S = 0.5
_COLOURS = (
    "#9fb8d0",
    "#d9534f",
    "#e8a33d",
    "#2f8f5b",
    "#7a5fa8",
    "#1f9e9e",
    "#b5739d",
    "#5b7f3a",
    "#c9793f",
    "#4c6faf",
)
"""Colors of the versions, in the order in which the versions are made."""
_NO_POWER = "#ffffff"
_SHADOW_HATCH, _CANARY_HATCH = "....", "////"
_MARKERS = {
    "registry": ("X", "registry killed"),
    "network": ("v", "network cut"),
    "power": ("*", "power cut"),
}
_FLEET = "fleet"
"""Row for the events that concern all robots."""
_TEXT_POINTS = 7.0
_LANES = 6
"""Number of text lines in the fleet's row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEvent:
    """An event of the demo.

    Attributes:
        at_s: Time since the start of the demo.
        kind: `stage`, `stopped`, or the kind of an interruption.
        robot: Affected robot; empty if the event concerns the whole fleet.
        text: Description of the event.
    """

    at_s: float
    kind: str
    robot: str
    text: str


@dataclass(slots=True)
class Timeline:
    """Samples the robots' states in a separate thread, and stores events.

    Attributes:
        events: The events.
        spans: For each robot, its states and the time at which each began, s.
    """

    robots: Sequence[DemoRobot]
    events: list[TimelineEvent] = field(default_factory=list)
    spans: dict[str, list[tuple[float, RobotView]]] = field(default_factory=dict)
    _began_s: float = field(default_factory=time.monotonic)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def now_s(self) -> float:
        """Time since the start of the demo."""
        return time.monotonic() - self._began_s

    def start(self) -> None:
        self._thread = threading.Thread(target=self._sample, name="timeline", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def add(self, kind: str, text: str, robot: str = "") -> None:
        """Store an event that happens now."""
        self.events.append(
            TimelineEvent(at_s=round(self.now_s, 2), kind=kind, robot=robot, text=text)
        )

    def document(self) -> dict[str, Any]:
        """Return the timeline as JSON-compatible data."""
        return {
            "events": [asdict(event) for event in self.events],
            "robots": {
                robot: [{"from_s": round(at_s, 2), **asdict(view)} for at_s, view in spans]
                for robot, spans in self.spans.items()
            },
        }

    def _sample(self) -> None:
        while not self._ended.wait(_SAMPLED_EVERY_S):
            for robot in self.robots:
                spans, now = self.spans.setdefault(robot.name, []), robot.view
                if not spans or _shown(spans[-1][1]) != _shown(now):
                    spans.append((self.now_s, now))


def _shown(view: RobotView) -> tuple[str, str, bool]:
    return view.version, view.stage, view.mode == "RUN"


def draw(timeline: Timeline, titles: Mapping[str, str], path: Path) -> None:
    """Draw the timeline as an image file.

    Args:
        timeline: The recorded timeline.
        titles: Title of each version, in the order of the colors.
        path: File to write.
    """
    colours = {version: _COLOURS[number % len(_COLOURS)] for number, version in enumerate(titles)}
    with mpl.rc_context({**STYLE, "hatch.linewidth": 0.7}):
        figure = Figure(figsize=(13.0, 6.4), layout="constrained")
        axes = figure.subplots()
        rows = {name: row for row, name in enumerate([*timeline.spans, _FLEET])}
        end_s = timeline.now_s
        for robot, spans in timeline.spans.items():
            _draw_robot(axes, rows[robot], spans, end_s, colours)
        _draw_events(axes, rows, timeline.events)
        axes.set_yticks([*rows.values()], [*rows])
        axes.set_ylim(len(rows) - 0.3, -0.9)
        axes.set_xlim(0.0, end_s)
        axes.set_xlabel("time [s]")
        axes.set_title("version on each robot")
        axes.grid(visible=False)
        used = [event.kind for event in timeline.events]
        _write_legend(figure, titles, colours, [kind for kind in _MARKERS if kind in used])
        figure.savefig(path, dpi=130)


def _draw_robot(
    axes: Axes,
    row: int,
    spans: Sequence[tuple[float, RobotView]],
    end_s: float,
    colours: Mapping[str, str],
) -> None:
    ends = [at_s for at_s, _ in spans[1:]] + [end_s]
    for (begin_s, view), until_s in zip(spans, ends, strict=True):
        hatch = {"shadow": _SHADOW_HATCH, "canary": _CANARY_HATCH}.get(view.stage)
        # a robot that does not run its policy is drawn narrower
        height = 0.62 if view.mode == "RUN" else 0.3
        axes.barh(
            row,
            until_s - begin_s,
            left=begin_s,
            height=height,
            color=colours.get(view.version, _NO_POWER),
            hatch=hatch,
            edgecolor=INK if hatch else "none",
            linewidth=0.0,
        )


def _draw_events(axes: Axes, rows: Mapping[str, int], events: Sequence[TimelineEvent]) -> None:
    lanes = cycle(range(_LANES))  # so that labels do not overlap
    for event in events:
        if event.kind in _MARKERS:
            shape, _ = _MARKERS[event.kind]
            row = rows[event.robot] if event.robot else rows[_FLEET] - 0.45
            axes.plot(
                event.at_s, row, shape, color=INK, markersize=9, markeredgecolor="white", zorder=5
            )
            continue
        colour = "#b02a2a" if event.kind == "stopped" else GREY
        axes.axvline(event.at_s, color=colour, linewidth=0.9, zorder=0.5)
        axes.annotate(
            event.text,
            (event.at_s, rows[_FLEET] - 0.3 + 0.16 * next(lanes)),
            xytext=(3, 0),
            textcoords="offset points",
            color=colour if event.kind == "stopped" else INK,
            fontsize=_TEXT_POINTS,
            va="center",
        )


def _write_legend(
    figure: Figure, titles: Mapping[str, str], colours: Mapping[str, str], kinds: Sequence[str]
) -> None:
    handles: list[Any] = [
        Patch(color=colours[version], label=f"{version}: {title}")
        for version, title in titles.items()
    ]
    handles += [
        Patch(facecolor="white", edgecolor=INK, hatch=_SHADOW_HATCH, label="a shadow beside it"),
        Patch(facecolor="white", edgecolor=INK, hatch=_CANARY_HATCH, label="on trial"),
        Patch(facecolor="white", edgecolor=GREY, label="without power"),
        Line2D([], [], color=GREY, linewidth=3.0, label="narrow: the policy does not run"),
    ]
    for kind in kinds:
        shape, text = _MARKERS[kind]
        handles.append(
            Line2D([], [], color=INK, marker=shape, linestyle="none", markersize=8, label=text)
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8.0)
