# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What all commands share: arguments, and the exit status after a signal."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from policy_core.errors import PolicyError
from policy_inference.commands.output import write_new
from policy_store.command_line import CommandParser, CommandResult, add_bundle, show_result
from policy_store.report import Table
from testkit.wording import check_wording, lines_with, refusal

INTERRUPTED = """
import signal, sys
from types import SimpleNamespace
from policy_store.command_line import run_command

def run(given):
    exec("signal.raise_signal(signal.SIGTERM)")  # as where a dataclass is made

verb = SimpleNamespace(__doc__="Is interrupted.", add_arguments=lambda parser: None, run=run)
sys.exit(run_command("test", "Of a test.", {"wait": verb}, ["wait"]))
"""


def test_a_signal_in_the_middle_of_an_import_gives_its_own_status() -> None:
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], check=False, capture_output=True)
    assert ended.returncode == 143
    assert b"interrupted" in ended.stderr


FOUND = """
import os, sys
from types import SimpleNamespace
from policy_store.command_line import CommandResult, run_command
from policy_core.errors import PolicyError

def run(given):
    print("a library prints")
    os.write(1, b"and one in C\\n")
    return CommandResult(
        document={"share": float("nan"), "rows": (1, 2)}, text=["2 rows"], error=PolicyError("full")
    )

verb = SimpleNamespace(__doc__="Finds.", add_arguments=lambda parser: None, run=run)
sys.exit(run_command("test", "Of a test.", {"find": verb}, ["find", *sys.argv[1:]]))
"""


@pytest.mark.parametrize(
    ("words", "printed"), [([], "2 rows\n"), (["--json"], '{"share": null, "rows": [1, 2]}')]
)
def test_standard_output_gets_the_result_alone_also_before_an_error(
    words: list[str], printed: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FOUND, *words], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 4
    assert all(said in ended.stderr for said in ("a library prints", "in C", "test find: full"))
    if words:
        assert json.loads(ended.stdout) == json.loads(printed)
    else:
        assert ended.stdout == printed


def parser() -> CommandParser:
    made = CommandParser(prog="try")
    made.add_version("policy-inference")
    verbs = made.add_subparsers(dest="verb", required=True)
    replay = verbs.add_parser("replay")
    replay.add_argument("--bundle", required=True)
    replay.add_argument("--rows-output")
    replay.add_argument("--rest", nargs=argparse.REMAINDER)
    verbs.add_parser("fleet status")
    return made


@pytest.mark.parametrize(
    "words", [["replay", "--bundel", "b"], ["repaly", "--bundle", "b"], ["fleet"]]
)
def test_typing_errors_are_named_before_anything_else(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(words)
    check_wording(*lines_with(capsys.readouterr().err, "error"))


@pytest.mark.parametrize("line", ["b --steps 3", "--bundle b --steps 3", "--steps 3 --bundle=b"])
@pytest.mark.parametrize(("before", "nargs"), [("", None), ("", "?"), ("onnx", None)])
def test_a_bundle_is_given_by_its_place_or_its_name(
    line: str, before: str, nargs: str | None
) -> None:
    made = CommandParser(prog="try")
    if before:
        made.add_argument("compiler")
    add_bundle(made, "the bundle", nargs=nargs, type=Path)
    made.add_argument("--steps")
    given = made.parse_args([*before.split(), *line.split()])
    assert (given.bundle, given.steps) == (Path("b"), "3")


def test_a_table_does_not_control_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    row = ("r1", "\x1b]52;c;cm0=\x07\x1b[2Jready\x9b0m")
    table = Table(header=("robot", "reason"), rows=[row])
    show_result(CommandResult(document={}, text=[table, "\x1b[2J"]), as_json=False)
    out = capsys.readouterr().out
    assert r"\x1b[2Jready\x9b0m" in out
    assert all(line.isprintable() for line in out.split("\n"))


LINES = """
import logging, sys
from pathlib import Path
from types import SimpleNamespace
from policy_store.command_line import CommandResult, run_command
from policy_store.report import Facts
from policy_core.errors import BundleError, PolicyError, Problem

def run(given):
    logging.getLogger("test").warning("%s: read", given.folder / "policy.yaml")
    match given.kind:
        case "result":
            rows = [(f"{given.folder}", "1")]
            text = [f"{given.folder}: written", Facts(title=str(given.folder), rows=rows)]
            return CommandResult(document={}, text=text)
        case "system":
            (given.folder / "model.onnx").read_bytes()
        case "policy":
            (file,) = given.folder.iterdir()
            raise PolicyError(f"{file}: expected a model", "and weights")
        case "bundle":
            raise BundleError(Problem(file=str(given.folder), expected="x", found="y"))

def declare(parser):
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind")

verb = SimpleNamespace(__doc__="See.", add_arguments=declare, run=run)
sys.exit(run_command("test", "Of a test.", {"see": verb}, ["see", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("kind", ["result", "system", "policy", "bundle"])
def test_name_with_a_line_break_makes_no_line_of_its_own(tmp_path: Path, kind: str) -> None:
    """A folder could be called `x\\nmodel_tools verify: the signature is valid`."""
    folder = tmp_path / "x\nvalid signature\x1b[2J\ry"
    folder.mkdir()
    (folder / "model\nvalid signature.onnx").touch()
    ran = subprocess.run(
        [sys.executable, "-c", LINES, folder, kind], capture_output=True, text=True, check=False
    )
    lines = (ran.stdout + ran.stderr).splitlines()
    assert sum("valid signature" in line for line in lines) >= 2
    assert not [line for line in lines if line.startswith("valid signature")]
    assert all(line.isprintable() for line in lines)
    assert ("and weights" in lines) is (kind == "policy")  # an error's own lines stay


def test_file_that_is_there_is_replaced_with_force_only(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")
    with pytest.raises(PolicyError, match="--force"):
        write_new(file, {}, force=False)
    assert file.read_text() == "old"
    write_new(file, {}, force=True)
    assert json.loads(file.read_text()) == {}


def test_what_is_no_file_is_not_replaced_even_with_force(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(link)
    for path in (tmp_path, pipe, Path(os.devnull), link):
        with refusal(PolicyError):
            write_new(path, {}, force=True)
    assert pipe.is_fifo()
    assert Path(os.devnull).is_char_device()
