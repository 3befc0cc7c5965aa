# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import matplotlib as mpl

from model_tools.files.drawing import STYLE, figure, svg


def test_names_with_dollar_signs_are_drawn_as_they_are() -> None:
    """Matplotlib took them for mathematics, and its error ended the report."""
    name = r"$\undefined{"
    with mpl.rc_context(STYLE):
        drawn, axes = figure(1, 1)
        axes[0].plot([0, 1], label=name)
        axes[0].set_title(f"{name}$")
        text = svg(drawn, axes, "test")
    assert f"{name}$" in text
