# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The images of docs/own_policy.md, and that of the Go2 which walks in docs/isaac_lab.md.

The former show what each command of the page prints, and the walk at its end.

    python -m tools.tutorial_images docs/images

Runs the commands in this checkout, in a sourced shell, and needs `.venv-torch`. An image shows the
first lines of a command's output.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "own_policy.md"
COLUMNS, LINES = 80, 36
GO2 = "python -m examples.demos.walk --lockstep --robot go2 --output out/my/demo_go2"
WALKS = {"own_policy_walk": "demo", "isaac_lab_walk": "demo_go2"}
"""Images, and the folders below out/my with the results of the walks that they show."""
_FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)
_VERB = re.compile(r"model_tools (\w+)")


def page_commands() -> Iterator[str]:
    """Yield the commands of the page that run without a robot, each in one line."""
    text = PAGE.read_text("utf-8")
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            command = " ".join(line.partition("#")[0].split())
            if command and not command.startswith("ros2 "):
                yield command


def in_terminal(command: str) -> tuple[int, str]:
    """Run a command in a terminal of its own; return its exit status and what it printed."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    # a terminal without colours and cursor movement: lines as they appear on the screen
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "dumb"}
    with subprocess.Popen(
        ["bash", "-c", command], cwd=ROOT, env=environment, stdout=its, stderr=its
    ) as process:
        os.close(its)
        printed = b""
        with os.fdopen(ours, "rb", buffering=0) as screen, suppress(OSError):  # its end is EIO
            while part := screen.read(65536):
                printed += part
    return process.returncode, printed.decode().replace("\r\n", "\n")


def drawn(command: str, printed: str) -> str:
    """Return an SVG of a terminal: the command, and its first lines of output."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    lines = printed.rstrip().splitlines()
    more = [f"... {len(lines) - LINES} lines more"] if len(lines) > LINES else []
    console.print(Text(f"$ {command}"))
    for line in [*lines[:LINES], *more]:
        console.print(Text.from_ansi(line))
    # without the font that rich would load from a server: a page's image must not load anything
    return _FONT.sub("", console.export_svg(title="", unique_id="terminal"))


def main() -> int:
    """Write the images; return the exit status: 1 if a command failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder for the images")
    folder = parser.parse_args().folder
    for command in [*page_commands(), GO2]:
        if command.startswith(("make ", ". ")):
            continue
        status, printed = in_terminal(command)
        is_draft = command.endswith("/draft")
        if status != is_draft:
            sys.stderr.write(f"{command}\n{printed}")
            return 1
        if verb := _VERB.search(command):
            name = "draft" if is_draft else verb[1]
            image = folder / f"own_policy_{name}.svg"
            if image.name in PAGE.read_text("utf-8"):
                image.write_text(drawn(command, printed), "utf-8")
    for name, results in WALKS.items():
        sheet = Image.open(ROOT / "out" / "my" / results / "contact_sheet.png")
        sheet.resize((960, 405)).save(folder / f"{name}.webp", quality=70)
    return 0


if __name__ == "__main__":
    sys.exit(main())
