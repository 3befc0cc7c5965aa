# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Plots of compared chunks as SVG to stand inside an HTML page."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np

from model_tools.chunk_comparison.compare import OnChunkRows
from model_tools.drawing import COLOURS, GREY, STYLE, figure, svg


def worst_chunk(label: str, rows: OnChunkRows) -> str:
    """Return the chunk with the largest error: expected and found, over the steps, by joint."""
    row = int(np.argmax(np.abs(rows.found - rows.expected).max(axis=(1, 2))))
    names = rows.chunk.names
    with mpl.rc_context(STYLE):
        drawn, axes = figure(-(-len(names) // 3), min(3, len(names)))
        for i, (name, axis) in enumerate(zip(names, axes, strict=False)):
            axis.plot(rows.expected[row, :, i], color=GREY, label="expected")
            axis.plot(rows.found[row, :, i], color=COLOURS[0], label=label, linewidth=0.9)
            axis.set_title(f"{name}, observation {row}")
            axis.set_xlabel("step")
        return svg(drawn, axes, f"chunk {label}")
