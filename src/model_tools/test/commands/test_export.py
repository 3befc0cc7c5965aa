# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What `model_tools export` needs before it needs PyTorch."""

import argparse
import sys
from pathlib import Path

import pytest

from model_tools.commands import export
from model_tools.errors import ToolError
from testkit.wording import refusal


def test_without_pytorch_the_ways_to_it_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    given = parser.parse_args(["policy.pt", "--config", "c.yaml", "--output", str(tmp_path / "p")])
    with refusal(ToolError):
        export.run(given)


def test_an_opset_that_cannot_be_written_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["p.pt", "--config", "c", "--output", "o", "--opset", "9"])
    assert "--opset" in capsys.readouterr().err


def test_a_model_that_needs_no_export_is_sent_to_import(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    given = parser.parse_args(["p.onnx", "--config", "c.yaml", "--output", str(tmp_path / "p")])
    with refusal(ToolError):
        export.run(given)
