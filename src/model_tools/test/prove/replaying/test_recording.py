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
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.store import ROOT_VARIABLE
from policy_inference.errors import PolicyError

from ...small_bag import every, joint_states, write_bag
from ...tiny_bundle import make_bundle
from .small_flights import SmallFlight, rewritten

OLD_TICK = """
builtin_interfaces/Time stamp
uint64 tick
int64 time_ns
uint8 mode
"""


def refusal(path: Path, given: Path | None = None) -> str:
    """Return why it is refused."""
    with pytest.raises(PolicyError) as refused:
        replay(path, given, "", {})
    return str(refused.value)


def changed(flown: Path, topic: str, edit: Callable[[Any], Any], **more: Any) -> Path:
    """Change the messages of a topic."""
    return rewritten(
        flown,
        flown.parent / "changed",
        lambda name, message: edit(message) if name == topic else message,
        **more,
    )


def test_the_file_alone_is_a_recording_too(flown: Path) -> None:
    (file,) = flown.glob("*.mcap")
    assert replay(file, None, "", {})


def test_nothing_and_a_bag_without_ticks_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").endswith("none: expected a flight recording, found nothing")
    bag = write_bag(tmp_path / "bag", joint_states(every(20, 1000, 1100)))
    assert (
        "expected a recording of the flight recorder, with policy_msgs/msg/PolicyTick, found "
        "/joint_states"
    ) in refusal(bag)


def test_a_truncated_file_is_refused(flown: Path) -> None:
    (file,) = flown.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    assert "expected a whole rosbag2 recording, found a broken one" in refusal(flown)


def test_a_recording_without_ticks_is_refused(flown: Path) -> None:
    assert "expected ticks of a policy, found an empty recording" in refusal(
        changed(flown, "policy_tick", lambda _: None)
    )


def test_a_recording_that_does_not_say_what_ran_is_refused(flown: Path) -> None:
    assert "expected a message on /flight_info, which says what ran, found none" in refusal(
        changed(flown, "flight_info", lambda _: None)
    )


def test_ticks_of_another_version_are_refused(flown: Path) -> None:
    def old(message: Any) -> Any:
        return message

    path = changed(flown, "policy_tick", old, definitions={"policy_msgs/msg/PolicyTick": OLD_TICK})
    assert "expected messages as this version records them, found some without ages_s" in refusal(
        path
    )


def test_a_bundle_that_was_changed_since_is_not_taken_for_the_one_that_ran(
    bundle: JointBundle, flown: Path
) -> None:
    file = bundle.path / "policy.yaml"
    file.write_text(file.read_text("utf-8") + "\n# changed\n", "utf-8")
    text = refusal(flown)
    assert f"has the sha256 {bundle.sha256}, found {bundle.path}: " in text
    assert load_bundle(bundle.path, kind=JointBundle).sha256 in text
    assert text.endswith("with --bundle")
    again = replay(flown, bundle.path, "", {})
    assert again
    assert again.judgement is Judgement.EXACT


def test_a_bundle_that_is_gone_has_to_be_given(
    tmp_path: Path, bundle: JointBundle, flown: Path
) -> None:
    moved = shutil.move(bundle.path, tmp_path / "moved")
    assert f"{bundle.path}: no bundle" in refusal(flown)
    assert replay(flown, Path(moved), "", {})


def test_an_installed_version_is_found_where_the_folder_that_ran_is_gone(
    tmp_path: Path, bundle: JointBundle, flown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "models"))
    assert cli.main(["install", str(bundle.path)]) == 0
    shutil.rmtree(bundle.path)
    found = replay(flown, None, "", {})
    assert found
    assert found.judgement is Judgement.EXACT
    assert found.bundle.path == tmp_path / "models" / "tiny" / "1.0.0"


def test_a_policy_for_other_joints_is_refused(tmp_path: Path, flown: Path) -> None:
    other = make_bundle(tmp_path / "other")
    file = other / "policy.yaml"
    file.write_text(file.read_text("utf-8").replace("knee", "ankle"), "utf-8")
    assert (
        "expected a policy for the joints of the recording (hip, knee), found one for hip, ankle"
    ) in refusal(flown, other)


def test_a_policy_that_sees_what_was_not_recorded_is_refused(tmp_path: Path, flown: Path) -> None:
    other = make_bundle(tmp_path / "other", last="{term: external, topic: scan, size: 2}")
    assert "found nothing of external:scan" in refusal(flown, other)


def test_a_contract_that_is_none_is_refused(flown: Path) -> None:
    text = "kind: x"
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = changed(
        flown, "flight_info", lambda m: dataclasses.replace(m, contract=text, bundle_sha256=digest)
    )
    assert "flight_info: contract: expected the policy.yaml that ran, found" in refusal(path)


def test_a_contract_that_was_changed_in_the_recording_is_refused(
    bundle: JointBundle, flown: Path
) -> None:
    def edit(message: Any) -> Any:
        text = message.contract.replace("rate_hz: 50", "rate_hz: 49")
        assert text != message.contract
        return dataclasses.replace(message, contract=text)

    path = changed(flown, "flight_info", edit)
    for given in (None, bundle.path):
        text = refusal(path, given)
        assert f"expected the policy.yaml that ran, of the recorded sha256 {bundle.sha256}" in text
        assert text.endswith("the recording was changed")


def test_a_contract_with_line_ends_of_another_system_has_its_hash(
    tmp_path: Path, bundle: JointBundle
) -> None:
    file = bundle.path / "policy.yaml"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    flight = SmallFlight(load_bundle(bundle.path, kind=JointBundle))
    flight.stand_and_run(5)
    assert replay(flight.save(tmp_path / "flown"), None, "", {})


def without_numbers(message: Any) -> Any:
    return dataclasses.replace(message, inputs=[], outputs=[], target=np.zeros(0))


def stand_called_run(message: Any) -> Any:
    return dataclasses.replace(message, mode=3) if message.mode in (1, 2) else message


def run_called_ready(message: Any) -> Any:
    return dataclasses.replace(message, mode=2) if message.mode == 3 else message


def without_answers(message: Any) -> Any:
    return dataclasses.replace(message, outputs=[])


def without_what_was_given(message: Any) -> Any:
    return dataclasses.replace(message, inputs=[])


def with_a_short_target(message: Any) -> Any:
    return dataclasses.replace(message, target=message.target[:1])


def with_fewer_ages(message: Any) -> Any:
    return dataclasses.replace(message, ages_s=message.ages_s[:0])


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (without_numbers, "tick 51: expected a target of the policy in RUN, found none"),
        (stand_called_run, "tick 1: expected a target of the policy in RUN, found none"),
        (run_called_ready, "tick 51: expected no target of the policy in READY, found one"),
        (without_answers, "tick 51: expected what the model has answered, where there is a target"),
        (
            without_what_was_given,
            "tick 51: expected what the model was given, where it has answered",
        ),
        (with_a_short_target, "tick 51: expected 2 values of target, found 1"),
        (with_fewer_ages, "tick 0: expected 1 values of ages_s, found 0"),
    ],
)
def test_ticks_that_contradict_their_mode_or_lack_a_part_are_refused(
    flown: Path, edit: Callable[[Any], Any], text: str
) -> None:
    assert text in refusal(changed(flown, "policy_tick", edit))


def test_tensors_of_another_shape_are_refused(flown: Path) -> None:
    def flatten(message: Any) -> Any:
        for tensor in message.inputs:
            tensor.shape = np.array([6], np.int64)
        return message

    assert refusal(changed(flown, "policy_tick", flatten)) == (
        "tiny: tick 51: expected tensors of the model, obs[1, 6], found obs[6]"
    )


def test_ticks_that_go_back_are_refused(flown: Path) -> None:
    path = changed(flown, "policy_tick", lambda m: dataclasses.replace(m, tick=100 - m.tick))
    assert "expected ticks in their order, found 99 after 100" in refusal(path)


def test_a_state_of_another_size_and_a_broken_tensor_are_refused(
    tmp_path: Path, flown: Path
) -> None:
    path = changed(flown, "policy_tick", lambda m: dataclasses.replace(m, state=m.state[:-1]))
    assert "tick 0: expected a state of the fields that flight_info names, found 5 val" in refusal(
        path
    )
    shutil.rmtree(path)

    def cut(message: Any) -> Any:
        for tensor in message.inputs:
            tensor.data = tensor.data[:-1]
        return message

    assert "expected a tensor obs of float32[1, 6], found" in refusal(
        changed(flown, "policy_tick", cut)
    )


def test_limits_that_are_no_numbers_are_refused(flown: Path) -> None:
    def spoil(message: Any) -> Any:
        for entry in message.settings:
            if entry.key == "limits.margin":
                entry.value = "much"
        return message

    assert "limits.margin: expected a number, found 'much'" in refusal(
        changed(flown, "flight_info", spoil)
    )


@pytest.mark.parametrize("spared", ["limits.max_tilt_rad", "limits.margin"])
def test_limits_that_are_missing_are_refused(flown: Path, spared: str) -> None:
    def clear(message: Any) -> Any:
        message.settings = [entry for entry in message.settings if entry.key == spared]
        return message

    assert "settings: limits.state_timeout_ns: expected the limit that was in force" in refusal(
        changed(flown, "flight_info", clear)
    )


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("ages for joint_states", ("inputs", "ages_s")),
        ("fields of the state for joint_pos, joint_vel", ("state_fields", "state_sizes", "state")),
    ],
)
def test_a_recording_without_what_the_policy_needs_is_refused(
    flown: Path, what: str, fields: tuple[str, ...]
) -> None:
    def clear(_: str, message: Any) -> Any:
        for name in fields:
            if hasattr(message, name) and len(getattr(message, name)):
                setattr(message, name, getattr(message, name)[:0])
        return message

    path = rewritten(flown, flown.parent / "changed", clear)
    assert f"expected a recording of what the policy needs, found no {what}" in refusal(path)


def test_nan_everywhere_is_replayed_to_the_end_and_differs(flown: Path) -> None:
    def spoil(message: Any) -> Any:
        for name in ("state", "target", "ages_s"):
            getattr(message, name)[:] = np.nan
        for tensor in (*message.inputs, *message.outputs):
            tensor.data.view(np.float32)[:] = np.nan
        return message

    found = replay(changed(flown, "policy_tick", spoil), None, "", {})
    assert not found
    assert found.replayer.stages["guard"].first is not None


def test_the_replay_ends_where_another_bundle_was_loaded(tmp_path: Path, flown: Path) -> None:
    path = rewritten(flown, tmp_path / "changed", lambda _, message: message, loads_at=60)
    found = replay(path, None, "", {})
    assert found
    assert len(found.flight.time_s) == 60
    assert "another bundle or back end was loaded" in found.recording.ended_by
