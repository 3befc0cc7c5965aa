# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Draws a diagram of boxes and arrows as SVG, from a text that people can read and compare.

    python -m tools.docs.diagram docs/diagrams/*.txt    # writes docs/images/NAME.svg

A line with `|` is a row of boxes, `name: Title, second line`; an empty place is `-`. A line
`a -> b: label` is an arrow. Lines that begin with `#` are comments.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

WIDTH, HEIGHT = 190, 64
GAP_X, GAP_Y, MARGIN = 120, 66, 16
_STYLE = """
  text { font: 14px sans-serif; fill: #1f2933; text-anchor: middle; }
  .second, .label { font-size: 12px; fill: #52606d; }
  rect { fill: #f0f4f8; stroke: #486581; stroke-width: 1.5; }
  path { stroke: #486581; stroke-width: 1.5; fill: none; marker-end: url(#tip); }
  marker path { fill: #486581; stroke: none; marker-end: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e7eb; } .second, .label { fill: #9fb3c8; }
    rect { fill: #243b53; stroke: #829ab1; } path { stroke: #829ab1; }
    marker path { fill: #829ab1; }
  }"""


class Box(NamedTuple):
    """A box: its place in the grid, and its text."""

    column: int
    row: int
    lines: tuple[str, ...]

    @property
    def left(self) -> int:
        """Left border, px."""
        return MARGIN + self.column * (WIDTH + GAP_X)

    @property
    def top(self) -> int:
        """Upper border, px."""
        return MARGIN + self.row * (HEIGHT + GAP_Y)


class Arrow(NamedTuple):
    """An arrow from one box to another."""

    source: str
    target: str
    label: str


def read(text: str) -> tuple[dict[str, Box], list[Arrow]]:
    """Parse a text; return its boxes by name, and its arrows."""
    boxes, arrows, row = dict[str, Box](), list[Arrow](), 0
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("#"):
            continue
        if "|" in line:
            for column, cell in enumerate(part.strip() for part in line.strip("|").split("|")):
                name, colon, words = cell.partition(":")
                if colon:
                    lines = tuple(word.strip() for word in words.split(",", 1))
                    boxes[name.strip()] = Box(column, row, lines)
            row += 1
        elif found := re.fullmatch(r"(\w+) -> (\w+)(?:: (.*))?", line):
            arrows.append(Arrow(found[1], found[2], found[3] or ""))
        else:
            raise ValueError(f"expected a row with | or an arrow a -> b, found {line!r}")
    for arrow in arrows:
        for name in (arrow.source, arrow.target):
            if name not in boxes:
                raise ValueError(f"{arrow.source} -> {arrow.target}: expected a box, found {name}")
    return boxes, arrows


def draw(text: str) -> str:
    boxes, arrows = read(text)
    width = max(box.left for box in boxes.values()) + WIDTH + MARGIN
    height = max(box.top for box in boxes.values()) + HEIGHT + MARGIN
    parts = [_arrow(boxes[arrow.source], boxes[arrow.target], arrow.label) for arrow in arrows]
    parts += [_box(box) for box in boxes.values()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">\n<style>{_STYLE}\n</style>\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker></defs>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _box(box: Box) -> str:
    middle = box.left + WIDTH // 2
    places = (box.top + 38,) if len(box.lines) == 1 else (box.top + 27, box.top + 46)
    texts = (
        f'<text{kind} x="{middle}" y="{y}">{escape(line)}</text>'
        for kind, line, y in zip(("", ' class="second"'), box.lines, places, strict=False)
    )
    rect = f'<rect x="{box.left}" y="{box.top}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
    return rect + "".join(texts)


def _arrow(source: Box, target: Box, label: str) -> str:
    if source.row == target.row:
        forward = target.column > source.column
        begin = source.left + (WIDTH if forward else 0)
        end = target.left + (0 if forward else WIDTH)
        y = source.top + HEIGHT // 2 + (-8 if forward else 8)
        return _line(
            f"M{begin} {y} H{end}", (begin + end) // 2, y - 6 if forward else y + 16, label
        )
    down = target.row > source.row
    begin, end = source.top + (HEIGHT if down else 0), target.top + (0 if down else HEIGHT)
    x, to = source.left + WIDTH // 2, target.left + WIDTH // 2
    if source.column == target.column:
        shift = -12 if down else 12
        path = f"M{x + shift} {begin} V{end}"
        return _line(path, x + (-60 if down else 60), (begin + end) // 2 + 4, label)
    bend = (begin + end) // 2
    return _line(f"M{x} {begin} V{bend} H{to} V{end}", (x + to) // 2, bend - 6, label)


def _line(path: str, x: int, y: int, label: str) -> str:
    text = f'<text class="label" x="{x}" y="{y}">{escape(label)}</text>' if label else ""
    return f'<path d="{path}"/>{text}'


def main(args: Sequence[str] | None = None) -> int:
    """Draw each file into docs/images; return the exit status."""
    for file in map(Path, sys.argv[1:] if args is None else args):
        target = file.parents[1] / "images" / f"{file.stem}.svg"
        target.write_text(draw(file.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
