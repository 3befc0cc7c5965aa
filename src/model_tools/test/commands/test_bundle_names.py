# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that take the name of an installed bundle in the place of its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from model_tools import cli

from ..tiny_bundle import make_bundle
from .test_run import ENVIRONMENT

SHARE = Path("share", "policy_inference", "config", "bundles")
COMMANDS = {
    "inspect": "inspect NAME",
    "run": "run NAME --env our_env:Env --steps 2 --reference NAME",
    "compile": "compile onnx --bundle NAME --precision fp16 --output half",
    "compare": "compare NAME tiny",
    "calibrate": (
        "calibrate --bundle NAME --env our_env:Env --output rows.npz --allow-poor --samples 16"
    ),
}


@pytest.fixture(autouse=True)
def named_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users_folder: Callable[[str], None]
) -> None:
    users_folder(ENVIRONMENT)
    make_bundle(tmp_path / "prefix" / SHARE / "named")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "prefix"))


def words(command: str, name: str) -> list[str]:
    return COMMANDS[command].replace("NAME", name).split()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bundle_is_found_by_its_name(command: str, caplog: pytest.LogCaptureFixture) -> None:
    cli.main(words(command, "named"))
    assert not [message for message in caplog.messages if "expected a" in message]
