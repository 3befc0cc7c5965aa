# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command's help comes at once: what a verb needs is imported when it runs."""

import subprocess
import sys

import pytest

from lerobot_bridge import cli

HEAVY = {
    "av",
    "cv2",
    "lerobot",
    "matplotlib",
    "numpy",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "rich",
    "rosbags",
    "torch",
    "yaml",
}


@pytest.mark.parametrize("verb", cli.COMMANDS)
def test_help_loads_nothing_heavy(verb: str) -> None:
    code = (
        "import sys\nfrom lerobot_bridge import cli\n"
        f"try:\n    cli.main([{verb!r}, '--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        f"print('loaded', sorted({HEAVY} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert f"usage: lerobot_bridge {verb}" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded []"
