# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is no recording, or of another policy, is refused with what was expected and found."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_tools import cli
from model_tools.prove.replaying.replay import Judgement, replay
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.store import ROOT_VARIABLE
from policy_core.errors import PolicyError
from testkit.wording import refusal

from ...small_bag import every, joint_states, write_bag
from ...tiny_bundle import make_bundle
from .small_flights import remade
from .small_policies import alike


def refused(path: Path, given: Path | None = None) -> str:
    """Replay what is refused; return the message."""
    with refusal(PolicyError) as caught:
        replay(path, given, "", {})
    return str(caught.value)


def test_what_is_no_whole_recording_is_refused(tmp_path: Path, flown: Path) -> None:
    refused(tmp_path / "none")
    refused(write_bag(tmp_path / "bag", joint_states(every(20, 1000, 1100))))
    (file,) = flown.glob("*.mcap")
    assert replay(file, None, "", {})
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    refused(flown)


def replaced(**fields: Any) -> Callable[[Any], Any]:
    return lambda message: dataclasses.replace(message, **fields)


def shorter(*fields: str, end: int = -1) -> Callable[[Any], Any]:
    return lambda message: dataclasses.replace(
        message, **{field: getattr(message, field)[:end] for field in fields}
    )


def other_contract(info: Any) -> Any:
    digest = hashlib.sha256(b"kind: x").hexdigest()
    return dataclasses.replace(info, contract="kind: x", bundle_sha256=digest)


def flat_tensors(tick: Any) -> Any:
    for tensor in tick.inputs:
        tensor.shape = np.array([6], np.int64)
    return tick


def cut_tensors(tick: Any) -> Any:
    for tensor in tick.inputs:
        tensor.data = tensor.data[:-1]
    return tick


def a_word_as_limit(info: Any) -> Any:
    (entry,) = (entry for entry in info.settings if entry.key == "limits.margin")
    entry.value = "much"
    return info


def only_limit(name: str) -> Callable[[Any], Any]:
    return lambda info: dataclasses.replace(
        info, settings=[entry for entry in info.settings if entry.key == f"limits.{name}"]
    )


SPOILT_MESSAGES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "no ticks": ("policy_tick", lambda _: None),
    "no info": ("flight_info", lambda _: None),
    "other contract": ("flight_info", other_contract),
    "a word as limit": ("flight_info", a_word_as_limit),
    "only the limit of the tilt": ("flight_info", only_limit("max_tilt_rad")),
    "only the margin": ("flight_info", only_limit("margin")),
    "ticks go back": ("policy_tick", lambda tick: replaced(tick=100 - tick.tick)(tick)),
    "short state": ("policy_tick", shorter("state")),
    "other shape": ("policy_tick", flat_tensors),
    "cut tensors": ("policy_tick", cut_tensors),
    "RUN without numbers": ("policy_tick", replaced(inputs=[], outputs=[], target=np.zeros(0))),
    "STAND called RUN": (
        "policy_tick",
        lambda tick: replaced(mode=3)(tick) if tick.mode in (1, 2) else tick,
    ),
    "RUN called READY": (
        "policy_tick",
        lambda tick: replaced(mode=2)(tick) if tick.mode == 3 else tick,
    ),
    "no answers": ("policy_tick", replaced(outputs=[])),
    "no inputs": ("policy_tick", replaced(inputs=[])),
    "short target": ("policy_tick", shorter("target")),
    "no ages": ("policy_tick", shorter("ages_s", end=0)),
}


@pytest.mark.parametrize("case", SPOILT_MESSAGES)
def test_messages_that_lack_or_contradict_something_are_refused(flown: Path, case: str) -> None:
    topic, change = SPOILT_MESSAGES[case]
    refused(remade(flown, topic, change))


def test_a_bundle_that_was_changed_since_is_not_taken_for_the_one_that_ran(
    tiny_policy: JointBundle, flown: Path
) -> None:
    file = tiny_policy.path / "policy.yaml"
    file.write_text(file.read_text("utf-8") + "\n# changed\n", "utf-8")
    text = refused(flown)
    assert tiny_policy.sha256 in text
    assert load_bundle(tiny_policy.path, kind=JointBundle).sha256 in text
    assert alike(flown, tiny_policy.path).judgement is Judgement.EXACT


def test_a_bundle_that_is_gone_has_to_be_given_unless_it_is_installed(
    tmp_path: Path, tiny_policy: JointBundle, flown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "models"))
    moved = Path(shutil.move(tiny_policy.path, tmp_path / "moved"))
    refused(flown)
    assert replay(flown, moved, "", {})
    assert cli.main(["install", str(moved)]) == 0
    found = alike(flown)
    assert found.judgement is Judgement.EXACT
    assert found.bundle.path == tmp_path / "models" / "tiny" / "1.0.0"


def test_a_policy_of_other_joints_or_unrecorded_inputs_is_refused(
    tmp_path: Path, flown: Path
) -> None:
    other = make_bundle(tmp_path / "other")
    file = other / "policy.yaml"
    file.write_text(file.read_text("utf-8").replace("knee", "ankle"), "utf-8")
    refused(flown, other)
    scanning = "{term: external, topic: scan, size: 2}"
    refused(flown, make_bundle(tmp_path / "scanning", last=scanning))


def test_a_contract_that_was_changed_in_the_recording_is_refused(
    tiny_policy: JointBundle, flown: Path
) -> None:
    def slower(info: Any) -> Any:
        assert "rate_hz: 50" in info.contract
        return replaced(contract=info.contract.replace("rate_hz: 50", "rate_hz: 49"))(info)

    path = remade(flown, "flight_info", slower)
    assert tiny_policy.sha256 in refused(path)
    assert tiny_policy.sha256 in refused(path, tiny_policy.path)


def test_nan_everywhere_is_replayed_to_the_end_and_differs(flown: Path) -> None:
    def spoil(tick: Any) -> Any:
        for name in ("state", "target", "ages_s"):
            getattr(tick, name)[:] = np.nan
        for tensor in (*tick.inputs, *tick.outputs):
            tensor.data.view(np.float32)[:] = np.nan
        return tick

    found = replay(remade(flown, "policy_tick", spoil), None, "", {})
    assert not found
    assert found.replayer.stages["guard"].first is not None
