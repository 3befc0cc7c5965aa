# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The image of the operator's screen in the documentation shows what the screen shows."""

import re
from html import unescape
from pathlib import Path

from policy_msgs.msg import RobotStatus

from robot_operator.nodes.words import driver_lines

IMAGE = Path(__file__).resolve().parents[2] / "docs" / "images" / "operator.svg"


def test_the_image_has_each_line_of_a_driver() -> None:
    texts = [
        unescape(text).replace("\N{NO-BREAK SPACE}", " ")
        for text in re.findall(r"<text[^>]*>(.*?)</text>", IMAGE.read_text("utf-8"))
    ]
    shown = {text.split()[0] for text in texts if text.strip()}
    assert {"reason", "next", "velocity", "joystick"} <= shown
    assert {name for name, _ in driver_lines(RobotStatus())} <= shown
