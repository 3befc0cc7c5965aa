# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command as a whole: light until a verb runs, and tidy however it ends."""

import argparse
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model_tools import cli
from model_tools.errors import ToolError
from model_tools.files.outputs import new_file
from policy_store.ros2_policy import PolicyCommand
from testkit.wording import check_wording

HEAVY = (
    "torch",
    "onnx",
    "onnxruntime",
    "onnxsim",
    "mujoco",
    "matplotlib",
    "rosbags",
    "pandas",
    "scipy",
    "rich",
    "numpy",
)
GROUPS = sorted({verb.split()[0] for verb in cli.COMMANDS if " " in verb})
Run = Callable[[Callable[[], int]], int]


def test_help_loads_nothing_heavy() -> None:
    verbs = [["--help"], *([*verb.split(), "--help"] for verb in {*cli.COMMANDS, *GROUPS})]
    code = (
        "import sys\nfrom model_tools import cli\n"
        f"for words in {verbs}:\n"
        "    try:\n        cli.main(words)\n"
        "    except SystemExit as end:\n        assert end.code == 0, words\n"
        f"    print('WITH', words, [name for name in {HEAVY} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = [line for line in done.stdout.splitlines() if line.startswith("WITH [")]
    assert len(loaded) == len(verbs)
    assert [line for line in loaded if not line.endswith(" []")] == []


@pytest.fixture
def run_verb(monkeypatch: pytest.MonkeyPatch) -> Run:
    def main(does: Callable[[], int]) -> int:
        command: Any = SimpleNamespace(
            __doc__="Try.", add_arguments=no_arguments, run=lambda _: does()
        )
        monkeypatch.setitem(cli.COMMANDS, "try", command)
        return cli.main(["try"])

    return main


def no_arguments(_: argparse.ArgumentParser) -> None:
    """Declare nothing."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ToolError("x: expected y, found z"), "x: expected y, found z"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/out"),
            "/out: expected a path that can be read or written, found: No space left on device",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "expected files that can be read and written, found: "
            "[Errno 28] No space left on device",
        ),
    ],
)
def test_an_error_that_a_user_can_mend_is_one_line(
    run_verb: Run, error: Exception, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> int:
        raise error

    assert run_verb(fail) == 4
    assert caplog.messages == [f"model_tools try: {words}"]


def test_no_name_in_a_message_commands_the_terminal(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "model_tools", "inspect", str(tmp_path / "\x1b[2J")],
        capture_output=True,
        check=False,
    )
    assert b"\x1b" not in ended.stderr
    assert rb"\x1b[2J: expected a file or folder" in ended.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_verb_that_is_interrupted_leaves_nothing_behind(
    run_verb: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int, status: int
) -> None:
    def written_halfway() -> int:
        with new_file(tmp_path / "out") as growing:
            growing.write_text("half")
            os.kill(os.getpid(), number)
        return 0

    # A shell starts what is in its background with SIGINT ignored.
    before = signal.signal(number, signal.default_int_handler)
    try:
        assert run_verb(written_halfway) == status
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert list(tmp_path.iterdir()) == []
    check_wording(*caplog.messages)


@pytest.mark.parametrize(("by_signal", "status"), [(True, 143), (False, 130)])
def test_what_other_code_makes_of_an_interruption_is_one_still(
    run_verb: Run, by_signal: bool, status: int
) -> None:
    def swallowed() -> int:
        if not by_signal:
            raise KeyboardInterrupt
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt as error:
            raise ImportError("could not import datetime") from error
        return 0

    assert run_verb(swallowed) == status


def ros2(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("ros2")
    below = parser.add_subparsers().add_parser(
        "policy", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command = PolicyCommand()
    command.add_arguments(below, "ros2 policy")
    return command.main(parser=parser, args=parser.parse_args(["policy", *words]))


def test_command_is_registered_for_ros2() -> None:
    (found,) = entry_points(group="ros2cli.command", name="policy")
    assert found.load() is PolicyCommand


def test_without_a_verb_all_of_them_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert ros2([]) == 0
    text = capsys.readouterr().out
    for verb in ("self-test", "export lerobot", "fleet status", "inspect"):
        assert f"\n  {verb} " in text


def test_exit_status_is_that_of_the_verb() -> None:
    assert ros2(["inspect", "no_such_bundle"]) == 4
