# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The image of the operator's screen in docs/operator.md, taken from the screen with a robot.

    python -m tools.operator_screen docs/images/operator.svg

Starts an emulated Lite3, its driver and a policy node, takes control, stands up and walks with the
screen's keys, and writes the screen's content.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import threading
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from textual.pilot import Pilot

from examples.demos.runner import Processes, own_domain
from robot_operator.nodes.operator_node import OperatorNode
from robot_operator.requests import OperatorError
from robot_operator.screen import Screen

SIZE = 80, 24
_HERE, _HOST_PORT, _STATE_PORT = "127.0.0.1", 44_897, 44_898
_REPEAT_S, _TYPED_S, _WITHIN_S, _WALK_S = 0.05, 0.5, 60.0, 6.0
_FAULT = "reset"
_STEPS = (("t", "take control"), ("s", "stand"), ("w", "run"))


def main() -> int:
    """Write the image; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path, help="SVG to write")
    image = parser.parse_args().image
    os.environ.update(own_domain(seed=os.getpid()))
    with tempfile.TemporaryDirectory() as folder, Processes() as robot:
        _start(robot, Path(folder))
        rclpy.init(args=[])
        node, executor = OperatorNode(), SingleThreadedExecutor()
        executor.add_node(node)
        node.trigger_configure()
        node.trigger_activate()
        spinning = threading.Thread(target=executor.spin, daemon=True)
        spinning.start()
        try:
            image.write_text(asyncio.run(_walk(node)), "utf-8")
        finally:
            executor.shutdown()
            spinning.join()
            node.leave()
            node.destroy_node()
            rclpy.try_shutdown()
    return 0


def _start(robot: Processes, folder: Path) -> None:
    ports = {"host_address": _HERE, "host_port": _HOST_PORT, "state_port": _STATE_PORT}
    robot.start("lite3_emulator", {**ports, "state_address": _HERE}, folder / "emulator.log")
    robot.start(
        "lite3_driver",
        {**ports, "interface_address": _HERE, "angular_velocity_checked": True},
        folder / "driver.log",
    )
    robot.start("joint_policy_node", {"bundle": "lite3_walk"}, folder / "policy.log")


async def _walk(node: OperatorNode) -> str:
    """Request each step when it is the next one, hold the arrow key, and return the content."""
    app = Screen(node)
    async with app.run_test(size=SIZE) as pilot:
        for key, step in _STEPS:
            await _until(pilot, step, node)
            await pilot.press(key)
            await asyncio.sleep(_TYPED_S)  # simultaneous keys count as pasted, and move nothing
            await pilot.press("enter")
        await _until(pilot, "drive", node)
        for _ in range(round(_WALK_S / _REPEAT_S)):
            await pilot.press("up")
            await asyncio.sleep(_REPEAT_S)
        await _until(pilot, "drive", node)
        return app.export_screenshot(title="robot_operator")


def _next(node: OperatorNode) -> str:
    """Return the next step, with the reasons that block it."""
    step, _, rest = dict(node.view().lines).get("next", "").partition(" (")
    return f"{step} ({rest}" if ": " in rest else step


async def _until(pilot: Pilot[None], step: str, node: OperatorNode) -> None:
    """Wait until a step is the next one."""
    for _ in range(round(_WITHIN_S / _REPEAT_S)):
        if (found := _next(node)) == step:
            return
        if found == _FAULT:
            break
        await pilot.pause(_REPEAT_S)
    raise OperatorError(f"next: expected {step} within {_WITHIN_S:g} s, found {node.view()}")


if __name__ == "__main__":
    sys.exit(main())
