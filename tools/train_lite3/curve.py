# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The learning curve: a CSV file on the way, a picture at the end, a line of progress."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from types import TracebackType

import numpy as np
from matplotlib.figure import Figure

PANELS = (
    ("reward per second", ("reward_per_s",)),
    ("following the command, 1 is perfect", ("follow_xy", "follow_wz")),
    ("difficulty; standard deviation of actions", ("difficulty", "std")),
    ("falls per robot and minute", ("falls_per_min",)),
)


class Curve:
    """Writes `curve.csv` and, when the `with` block ends, `curve.png`."""

    def __init__(self, folder: Path) -> None:
        """Begin a new curve in `folder`."""
        self._folder, self._begin = folder, time.monotonic()
        self._file = (folder / "curve.csv").open("w", newline="", buffering=1, encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._rows: list[dict[str, float]] = []

    def __enter__(self) -> Curve:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file and draw what is in it."""
        self._file.close()
        if self._rows:
            self._draw()

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
            f"follows {row['follow_xy']:.2f} {row['follow_wz']:.2f}, "
            f"falls {row['falls_per_min']:3.1f}/min, difficulty {row['difficulty']:.2f}"
        )

    def _draw(self) -> None:
        figure = Figure(figsize=(10.0, 6.0), layout="constrained")
        samples = np.array([row["samples"] for row in self._rows]) / 1e6
        for axis, (title, names) in zip(figure.subplots(2, 2, sharex=True).flat, PANELS,
                                        strict=True):  # fmt: skip
            for name in names:
                axis.plot(samples, [row[name] for row in self._rows], label=name, linewidth=1.2)
            axis.set_title(title, loc="left", fontsize=10)
            axis.grid(visible=True, color="#e6e8eb")
            if len(names) > 1:
                axis.legend(frameon=False)
        minutes = self._rows[-1]["minutes"]
        figure.supxlabel(f"million samples ({minutes:.0f} minutes in all)", fontsize=10)
        figure.savefig(self._folder / "curve.png", dpi=100)
