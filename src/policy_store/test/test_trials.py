# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A version goes on trial, is kept or ended; the version in use is always whole and known."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from policy_core.bundle.store import TRIALS_FILE
from policy_store.trial_record import TrialEvent, TrialState, VersionTrial, newest_trial
from testkit.disks import fill_up, small_disk
from testkit.store import (
    NAME,
    MakeVersion,
    hidden_names,
    in_use,
    tool,
    tool_refused,
    verify_problems,
    versions,
)
from testkit.wording import check_wording

TRIAL = "run_time_s: 60\n"


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    file = tmp_path / "trial.yaml"
    file.write_text(TRIAL)
    return file


@pytest.fixture
def root_on_trial(root: Path, make_version: MakeVersion, trial: Path) -> Path:
    """A root whose version 1.3.0 is on trial, and 1.2.0 in use."""
    assert tool("install", make_version("1.3.0"), "--trial", trial, "--root", root) == 0
    return root


def latest_trial(root: Path) -> VersionTrial:
    found = newest_trial(root / NAME)
    assert found is not None
    return found


def append_to_trial(root: Path, event: TrialEvent, **values: Any) -> None:
    latest_trial(root).append(event, **values)


def gate_fails(root: Path) -> None:
    append_to_trial(
        root,
        TrialEvent.GATE_FAILED,
        reason="tilt_rad 0.6, limit 0.5",
        gate="tilt_rad",
        value=0.6,
        limit=0.5,
    )


def trial_state(root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert tool("trial", "status", NAME, "--json", "--root", root) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_version_in_use_stays_in_use_during_a_trial(
    root_on_trial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_use(root_on_trial) == ("1.2.0", ["1.1.0", "1.0.0"])
    found = trial_state(root_on_trial, capsys)
    assert (found["state"], found["nodes_take"], found["current"]) == ("open", "1.3.0", "1.2.0")
    assert (found["version"], found["version_before"]) == ("1.3.0", "1.2.0")
    assert (found["run_time_s"], found["run_time_limit_s"]) == (0.0, 60.0)
    assert len(found["bundle_sha256"]) == len(found["trial_sha256"]) == 64
    assert tool("trial", "status", NAME, "--root", root_on_trial) == 0
    check_wording(capsys.readouterr().out.splitlines()[0])
    assert verify_problems(root_on_trial) == []


def test_version_that_passed_is_kept(
    root_on_trial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool_refused("trial", "keep", NAME, "--root", root_on_trial)
    append_to_trial(root_on_trial, TrialEvent.PASSED, counts={"run_time_s": 60.0})
    assert trial_state(root_on_trial, capsys)["state"] == "passed"
    assert tool("trial", "keep", NAME, "--root", root_on_trial) == 0
    assert in_use(root_on_trial) == ("1.3.0", ["1.2.0", "1.1.0", "1.0.0"])
    assert trial_state(root_on_trial, capsys)["state"] == "kept"
    assert (
        tool("trial", "keep", NAME, "--root", root_on_trial) == 0
    )  # as after one that was cut off
    assert tool("rollback", NAME, "--root", root_on_trial) == 0
    assert in_use(root_on_trial)[0] == "1.2.0"


@pytest.mark.parametrize("left", [("rollback",), ("activate", "1.1.0")], ids=lambda left: left[0])
def test_version_that_was_kept_and_left_on_purpose_is_not_kept_again(
    root_on_trial: Path, left: tuple[str, ...]
) -> None:
    """As by a roll-out that goes on after a person has taken the version back."""
    append_to_trial(root_on_trial, TrialEvent.PASSED, counts={"run_time_s": 60.0})
    assert tool("trial", "keep", NAME, "--root", root_on_trial) == 0
    assert tool(left[0], NAME, *left[1:], "--root", root_on_trial) == 0
    before = in_use(root_on_trial)
    tool_refused("trial", "keep", NAME, "--root", root_on_trial)
    assert in_use(root_on_trial) == before


@pytest.mark.parametrize(
    ("passed", "order"),
    [(True, ("trial", "keep", NAME)), (False, ("activate", NAME, "1.1.0", "--trial"))],
    ids=["keep", "try another one"],
)
def test_full_disk_leaves_the_trial_as_it_was(
    tmp_path: Path,
    three: Path,
    make_version: MakeVersion,
    trial: Path,
    passed: bool,
    order: tuple[str, ...],
) -> None:
    """A line of the record may have room where a file has none."""
    with small_disk(tmp_path / "disk", 1200) as disk:
        root = shutil.copytree(three, disk / "models", symlinks=True)
        assert tool("install", make_version("1.3.0"), "--trial", trial, "--root", root) == 0
        if passed:
            append_to_trial(root, TrialEvent.PASSED, counts={"run_time_s": 60.0})
        before, used = latest_trial(root), in_use(root)
        command = (*order, *([trial] if order[-1] == "--trial" else []), "--root", root)
        fill_up(disk / "of_others")
        assert tool(*command) == 4
        assert (latest_trial(root), in_use(root)) == (before, used)
        assert hidden_names(root) == []
        (disk / "of_others").unlink()
        assert tool(*command) == 0
        assert latest_trial(root) != before


def test_rollback_passes_over_a_version_that_failed_its_trial(
    root_on_trial: Path, trial: Path
) -> None:
    assert tool("activate", NAME, "1.1.0", "--trial", trial, "--root", root_on_trial) == 0
    gate_fails(root_on_trial)
    assert tool("rollback", NAME, "--root", root_on_trial) == 0
    assert in_use(root_on_trial)[0] == "1.0.0"


@pytest.mark.parametrize(
    ("damaged", "command"), [("1.3.0", ("trial", "keep", NAME)), ("1.2.0", ("rollback", NAME))]
)
def test_damaged_version_is_neither_kept_nor_gone_back_to(
    root_on_trial: Path, damaged: str, command: tuple[str, ...]
) -> None:
    append_to_trial(root_on_trial, TrialEvent.PASSED, counts={"run_time_s": 60.0})
    (root_on_trial / NAME / damaged / "golden.npz").unlink()
    before = latest_trial(root_on_trial), in_use(root_on_trial)
    tool_refused(*command, "--root", root_on_trial)
    assert (latest_trial(root_on_trial), in_use(root_on_trial)) == before


@pytest.mark.parametrize("command", [("trial", "end"), ("rollback",)], ids=["end", "rollback"])
def test_trial_is_ended_by_a_person(
    root_on_trial: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool(*command, NAME, "--root", root_on_trial) == 0
    assert in_use(root_on_trial) == ("1.2.0", ["1.1.0", "1.0.0"])
    found = trial_state(root_on_trial, capsys)
    assert (found["state"], found["nodes_take"]) == ("ended", "1.2.0")
    check_wording(found["reason"])
    assert tool("trial", "end", NAME, "--root", root_on_trial) == 4


def test_failed_version_is_not_activated_again_without_a_newer_order(
    root_on_trial: Path, trial: Path, make_version: MakeVersion
) -> None:
    gate_fails(root_on_trial)
    source = make_version("1.3.0")
    for args in (
        ["activate", NAME, "1.3.0"],
        ["activate", NAME, "1.3.0", "--trial", trial],
        ["install", source, "--activate"],
        ["install", source, "--trial", trial],
    ):
        tool_refused(*args, "--root", root_on_trial)
    assert in_use(root_on_trial)[0] == "1.2.0"
    assert "1.3.0" in versions(root_on_trial)
    again = ("activate", NAME, "1.3.0", "--again", "--root", root_on_trial)
    assert tool(*again, "--trial", trial) == 0
    assert latest_trial(root_on_trial).state is TrialState.OPEN
    gate_fails(root_on_trial)
    assert tool(*again) == 0
    for version in ("1.2.0", "1.3.0"):
        assert tool("activate", NAME, version, "--root", root_on_trial) == 0
        assert in_use(root_on_trial)[0] == version


def test_activation_or_trial_of_another_version_ends_the_trial(
    root_on_trial: Path, trial: Path, make_version: MakeVersion, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool("install", make_version("1.4.0"), "--trial", trial, "--root", root_on_trial) == 0
    newest = latest_trial(root_on_trial)
    assert (newest.version, newest.trial, newest.version_before) == ("1.4.0", 2, "1.2.0")
    assert tool("activate", NAME, "1.1.0", "--root", root_on_trial) == 0
    assert in_use(root_on_trial)[0] == "1.1.0"
    found = trial_state(root_on_trial, capsys)
    assert (found["state"], found["nodes_take"]) == ("ended", "1.1.0")
    check_wording(found["reason"])


def test_first_version_has_no_trial(tmp_path: Path, make_version: MakeVersion, trial: Path) -> None:
    root = tmp_path / "empty"
    tool_refused("install", make_version("1.0.0"), "--trial", trial, "--root", root)
    assert in_use(root) == (None, [])
    assert not (root / NAME / TRIALS_FILE).exists()


@pytest.mark.parametrize(
    "text",
    ["run_time_s: 0", "run_time_s: 5\ngates: {falls: {limit: 0}}", "run_time_s: ["],
    ids=["no time", "gate of another policy", "no YAML"],
)
def test_trial_that_is_not_valid_changes_nothing(root: Path, trial: Path, text: str) -> None:
    trial.write_text(text)
    tool_refused("activate", NAME, "1.1.0", "--trial", trial, "--root", root)
    assert in_use(root) == ("1.2.0", ["1.1.0", "1.0.0"])
    assert newest_trial(root / NAME) is None


@pytest.mark.parametrize(
    ("gate", "limit", "after_s"),
    [("{limit: 0.3}", 0.3, 10.0), ("{after_s: 3}", 0.05, 3.0)],
)
def test_gate_keeps_the_default_of_a_key_that_is_left_out(
    root: Path, make_version: MakeVersion, trial: Path, gate: str, limit: float, after_s: float
) -> None:
    trial.write_text(f"run_time_s: 60\ngates: {{hold_share: {gate}}}\n")
    assert tool("install", make_version("1.3.0"), "--trial", trial, "--root", root) == 0
    found = latest_trial(root).settings.gates.hold_share
    assert found is not None
    assert (found.limit, found.after_s) == (limit, after_s)


def test_status_names_the_gates_that_the_trial_leaves_out(
    root: Path, make_version: MakeVersion, trial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gate that cannot be judged for the policy is not among them."""
    trial.write_text("run_time_s: 60\ngates: {falls: null, temperature_c: null}\n")
    assert tool("install", make_version("1.3.0"), "--trial", trial, "--root", root) == 0
    assert trial_state(root, capsys)["unchecked_gates"] == ["temperature_c"]


def test_trial_needs_another_version_a_whole_way_back_and_a_known_user(
    root: Path, trial: Path
) -> None:
    options = ("--trial", trial, "--root", root)
    tool_refused("activate", NAME, "1.2.0", *options)
    tool_refused("activate", NAME, "1.1.0", *options, "--node-user", "no-such-user")
    model = root / NAME / "1.2.0" / "policy.onnx"
    model.chmod(0o644)
    model.write_bytes(b"other")
    tool_refused("activate", NAME, "1.1.0", *options)
    assert newest_trial(root / NAME) is None


def test_prune_leaves_what_is_on_trial(root_on_trial: Path) -> None:
    for version in ("1.3.0", "1.2.0"):
        assert tool("prune", NAME, "--keep", 0, "--force", "--root", root_on_trial) == 0
        assert version in versions(root_on_trial)
    gate_fails(root_on_trial)
    assert tool("prune", NAME, "--keep", 0, "--force", "--root", root_on_trial) == 0
    assert "1.3.0" not in versions(root_on_trial)


def test_record_that_cannot_be_read_is_found(root_on_trial: Path) -> None:
    (root_on_trial / NAME / TRIALS_FILE).unlink()
    (root_on_trial / NAME / TRIALS_FILE).mkdir()
    check_wording(*verify_problems(root_on_trial))


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user, as root does")
def test_record_belongs_to_the_user_of_the_node(root: Path, trial: Path) -> None:
    args = ["activate", NAME, "1.1.0", "--trial", trial, "--node-user", "nobody"]
    assert tool(*args, "--root", root) == 0
    assert (root / NAME / TRIALS_FILE).owner() == "nobody"
    assert (root / NAME).stat().st_uid == 0


SOFTER = ("effort_limit: 1, stiffness: 1", "effort_limit: 1, stiffness: 0.8")


@pytest.mark.parametrize(
    ("accepted", "code"), [("[]", 4), ("[joints.damping]", 4), ("[joints.stiffness]", 0)]
)
def test_trial_of_another_contract_begins_only_if_its_differences_are_accepted(
    accepted: str, code: int, root: Path, make_version: MakeVersion, trial: Path
) -> None:
    trial.write_text(f"{TRIAL}accepted_differences: {accepted}\n")
    bundle = make_version("1.3.0", SOFTER)
    assert tool("install", bundle, "--trial", trial, "--root", root) == code
    assert (newest_trial(root / NAME) is not None) is (code == 0)
    assert in_use(root)[0] == "1.2.0"


@pytest.mark.parametrize(("accepted", "code"), [((), 4), (("--accept", "joints.stiffness"), 0)])
def test_another_contract_comes_into_use_only_if_its_differences_are_accepted(
    accepted: tuple[str, ...], code: int, root: Path, make_version: MakeVersion
) -> None:
    bundle = make_version("1.3.0", SOFTER)
    assert tool("install", bundle, "--activate", *accepted, "--root", root) == code
    assert in_use(root)[0] == ("1.3.0" if code == 0 else "1.2.0")
    assert tool("activate", NAME, "1.3.0", *accepted, "--root", root) == code
    # The way back is free, and from there the way to what was in use.
    if code == 0:
        tool_refused("install", bundle, *accepted, "--root", root)
        assert tool("rollback", NAME, "--root", root) == 0
        assert tool("activate", NAME, "1.3.0", "--root", root) == 0
