# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Commands about whole bundles: named, of another kind, and their plans."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from model_tools import cli
from policy_core.bundle.bundle import Bundle
from policy_core.bundle.load import load_bundle
from policy_core.plan import MAGIC, read_plan
from testkit.chunk_bundles import write_chunk_bundle
from testkit.wording import check_wording

from ..tiny_bundle import make_bundle

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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users_folder: Callable[[], None]
) -> None:
    users_folder()
    make_bundle(tmp_path / "prefix" / SHARE / "named")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "prefix"))


def words(command: str, name: str) -> list[str]:
    return COMMANDS[command].replace("NAME", name).split()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bundle_is_found_by_its_name(command: str, caplog: pytest.LogCaptureFixture) -> None:
    cli.main(words(command, "named"))
    assert not [message for message in caplog.messages if "expected a " in message]


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (["complete", "ARM", "--output", "OUT"], "`model_tools export act` writes bundles of "),
        (["run", "ARM", "--env", "nothing:none"], "`model_tools compare` compares the graphs of "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_command_for_joint_policies_refuses_a_chunk_policy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, command: list[str], instead: str
) -> None:
    places = {"ARM": str(write_chunk_bundle(tmp_path / "arm")), "OUT": str(tmp_path / "out")}

    assert cli.main([places.get(word, word) for word in command]) == 4

    check_wording(caplog.messages[-1])
    assert not (tmp_path / "out").exists()


SHIPPED = Path(__file__).parents[4] / "config" / "bundles"


@pytest.fixture(autouse=True)
def all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lite3_walk", "run.policy.action.output"),
        ("lite3_gaits", "run.policy.states.0.name"),
        ("so101_reach", "run.policy.sync.cameras"),
        ("lite3_so101", "run.policy.members.0.name"),
    ],
)
def test_the_plan_of_a_bundle_is_written_and_shown(
    name: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, bundle = tmp_path / "a.polplan", load_bundle(SHIPPED / name, kind=Bundle)
    assert cli.main(["inspect", str(bundle.path), "--plan", "--output", str(file)]) == 0
    assert value in capsys.readouterr().out
    _, values = read_plan(file.read_bytes(), file, bytes.fromhex(bundle.sha256))
    assert cli.main(["inspect", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["values"]
    assert shown["bundle_sha256"] == bundle.sha256
    assert {key: len(each) for key, each in shown["plan"].items()} == {
        key: len(each) for key, each in values.items()
    }
    assert "limits.state_timeout_ns" in values


def test_a_damaged_plan_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "a.polplan"
    file.write_bytes(MAGIC + bytes(20))
    assert cli.main(["inspect", str(file)]) == 4
    check_wording(caplog.messages[-1])
