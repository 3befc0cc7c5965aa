# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The learning curve: a CSV file during the training, a chart at the end, a line of progress."""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

PANELS = (
    ("reward per second", ("reward_per_s",)),
    (
        "following in the plane, and in turning (dashed); 1 is perfect",
        ("follow_xy", "follow_wz", "follow_joints"),
    ),
    ("difficulty, and standard deviation of the actions (dashed)", ("difficulty", "std")),
    ("falls per robot and minute", ("falls_per_min",)),
)
_FOLLOWING = PANELS[1][1]
Rows = list[dict[str, float]]


class Curve:
    """Writes `curve.csv` and, when it is closed, `curve.png`."""

    def __init__(self, folder: Path) -> None:
        """Begin a new curve in `folder`."""
        self._folder, self._begin = folder, time.monotonic()
        self._file = (folder / "curve.csv").open("w", newline="", buffering=1, encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._rows: Rows = []

    def close(self) -> None:
        """Close the file and draw what is in it."""
        self._file.close()
        if self._rows:
            draw({self._folder.name: self._rows}, self._folder / "curve.png")

    def add(self, samples: int, figures: dict[str, float]) -> None:
        """Write a row."""
        minutes = (time.monotonic() - self._begin) / 60.0
        row = {"minutes": minutes, "samples": float(samples)} | figures
        if not self._rows:
            self._writer.writerow(row)
        self._writer.writerow(f"{value:.5g}" for value in row.values())
        self._rows.append(row)

    def progress(self, samples_wanted: int) -> str:
        """Return the latest row as a line."""
        row = self._rows[-1]
        left = row["minutes"] * (samples_wanted / row["samples"] - 1.0)
        return (
            f"{row['samples'] / 1e6:6.2f} of {samples_wanted / 1e6:g} million samples, "
            f"{row['minutes']:4.1f} min, {left:4.1f} to go: reward {row['reward_per_s']:5.2f}/s, "
            f"follows {' '.join(f'{row[name]:.2f}' for name in _FOLLOWING if name in row)}, "
            f"falls {row['falls_per_min']:3.1f}/min, difficulty {row['difficulty']:.2f}"
        )


def read_curve(file: Path) -> Rows:
    """Read a `curve.csv`."""
    with file.open(encoding="utf-8", newline="") as stream:
        return [
            {name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)
        ]


def draw(curves: Mapping[str, Rows], path: Path) -> None:
    """Draw curves, by the name of their run, into one chart."""
    figure = Figure(figsize=(10.0, 6.0), layout="constrained")
    for axis, (title, names) in zip(figure.subplots(2, 2, sharex=True).flat, PANELS, strict=True):
        for colour, (run, rows) in enumerate(curves.items()):
            samples = np.array([row["samples"] for row in rows]) / 1e6
            shown = [name for name in names if name in rows[0]]
            for style, name in zip(("-", "--"), shown, strict=False):
                label = run if name == shown[0] else None
                values = [row[name] for row in rows]
                axis.plot(samples, values, style, color=f"C{colour}", linewidth=1.1, label=label)
        axis.set_title(title, loc="left", fontsize=10)
        axis.grid(visible=True, color="#e6e8eb")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=len(curves), frameon=False)
    figure.supxlabel("million samples", fontsize=10)
    figure.savefig(path, dpi=100)


def main() -> None:
    """Draw several trainings into one chart: `python -m tools.train_walk.curve --help`."""
    parser = argparse.ArgumentParser(prog="curve", description="Draw trainings into one chart.")
    parser.add_argument("runs", type=Path, nargs="+", help="folders with a curve.csv")
    parser.add_argument("--output", type=Path, required=True, help="the chart")
    given = parser.parse_args()
    draw({run.name: read_curve(run / "curve.csv") for run in given.runs}, given.output)


if __name__ == "__main__":
    main()
