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


@pytest.mark.parametrize("source", ["policy.pt", "policy.onnx"])
def test_without_pytorch_or_a_need_for_it_other_ways_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    given = parser.parse_args([source, "--config", "c.yaml", "--output", str(tmp_path / "p")])
    with refusal(ToolError):
        export.run(given)
    with pytest.raises(SystemExit):
        parser.parse_args([source, "--config", "c", "--output", "o", "--opset", "9"])
