# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A version goes on trial, is kept or ended; the version in use is always whole and known."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from policy_inference.bundle.store import current_version
from policy_inference.core.trial.journal import RECORD, TrialEvent, append_event
from policy_inference.core.trial.record import TrialState, VersionTrial, newest_trial
from policy_inference.testing.disks import fill_up, small_disk

from .conftest import Bundles
from .stores import NAME, hidden_names, in_use, problems, run, versions

TRIAL = "run_time_s: 60\n"
INTERRUPTIONS = 40
SEED = 7


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """A `trial.yaml`."""
    file = tmp_path / "trial.yaml"
    file.write_text(TRIAL)
    return file


@pytest.fixture
def tried(root: Path, bundles: Bundles, trial: Path) -> Path:
    """A root whose version 1.3.0 is on trial, and 1.2.0 in use."""
    assert run("install", bundles("1.3.0"), "--trial", trial, "--root", root) == 0
    return root


def newest(root: Path) -> VersionTrial:
    found = newest_trial(root / NAME)
    assert found is not None
    return found


def happens(root: Path, event: TrialEvent, **values: Any) -> None:
    append_event(root / NAME / RECORD, newest(root).number, event, **values)


def fails(root: Path) -> None:
    happens(
        root,
        TrialEvent.GATE_FAILED,
        reason="tilt_rad 0.6, limit 0.5",
        gate="tilt_rad",
        value=0.6,
        limit=0.5,
    )


def status(root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert run("trial", "status", NAME, "--json", "--root", root) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_version_in_use_stays_in_use_during_a_trial(
    tried: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_use(tried) == ("1.2.0", ["1.1.0", "1.0.0"])
    found = status(tried, capsys)
    assert (found["state"], found["nodes_take"], found["current"]) == ("open", "1.3.0", "1.2.0")
    assert run("trial", "status", NAME, "--root", tried) == 0
    assert "1.2.0 is in use, policy nodes take 1.3.0" in capsys.readouterr().out
    assert (found["version"], found["version_before"]) == ("1.3.0", "1.2.0")
    assert (found["run_time_s"], found["run_time_limit_s"]) == (0.0, 60.0)
    assert len(found["bundle_sha256"]) == len(found["trial_sha256"]) == 64
    assert problems(tried) == []


def test_status_without_a_trial(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(root, capsys) == {
        "name": NAME,
        "state": "none",
        "nodes_take": "1.2.0",
        "current": "1.2.0",
    }
    assert run("trial", "status", NAME, "--root", root) == 0
    assert "no trial; 1.2.0 is in use" in capsys.readouterr().out
    assert run("trial", "status", "other", "--root", root) == 4


def test_version_that_passed_is_kept(
    tried: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert run("trial", "keep", NAME, "--root", tried) == 4
    assert "expected a version that passed its trial, found 1.3.0: on trial" in caplog.text
    happens(tried, TrialEvent.PASSED, counts={"run_time_s": 60.0})
    assert status(tried, capsys)["state"] == "passed"
    assert run("trial", "keep", NAME, "--root", tried) == 0
    assert in_use(tried) == ("1.3.0", ["1.2.0", "1.1.0", "1.0.0"])
    assert status(tried, capsys)["state"] == "kept"
    assert run("trial", "keep", NAME, "--root", tried) == 0  # as after one that was cut off
    assert run("rollback", NAME, "--root", tried) == 0
    assert in_use(tried)[0] == "1.2.0"


@pytest.mark.parametrize("left", [("rollback",), ("activate", "1.1.0")], ids=lambda left: left[0])
def test_version_that_was_kept_and_left_on_purpose_is_not_kept_again(
    tried: Path, left: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """As by a roll-out that goes on after a person has taken the version back."""
    happens(tried, TrialEvent.PASSED, counts={"run_time_s": 60.0})
    assert run("trial", "keep", NAME, "--root", tried) == 0
    assert run(left[0], NAME, *left[1:], "--root", tried) == 0
    before = in_use(tried)
    assert run("trial", "keep", NAME, "--root", tried) == 4
    assert "expected a version that passed its trial, found 1.3.0: trial ended" in caplog.text
    assert in_use(tried) == before


@pytest.mark.parametrize(
    ("passed", "order"),
    [
        (True, ("trial", "keep", NAME)),
        (False, ("activate", NAME, "1.3.0")),
        (False, ("activate", NAME, "1.1.0")),
        (False, ("activate", NAME, "1.1.0", "--trial")),
    ],
    ids=["keep", "activate it", "activate another one", "try another one"],
)
def test_full_disk_leaves_the_trial_as_it_was(
    tmp_path: Path, three: Path, bundles: Bundles, trial: Path, passed: bool, order: tuple[str, ...]
) -> None:
    """A line of the record may have room where a file has none."""
    with small_disk(tmp_path / "disk", 1200) as disk:
        root = shutil.copytree(three, disk / "models", symlinks=True)
        assert run("install", bundles("1.3.0"), "--trial", trial, "--root", root) == 0
        if passed:
            happens(root, TrialEvent.PASSED, counts={"run_time_s": 60.0})
        before, used = newest(root), in_use(root)
        command = (*order, *([trial] if order[-1] == "--trial" else []), "--root", root)
        fill_up(disk / "of_others")
        assert run(*command) == 4
        assert (newest(root), in_use(root)) == (before, used)
        assert hidden_names(root) == []
        (disk / "of_others").unlink()
        assert run(*command) == 0
        assert newest(root) != before


def test_rollback_passes_over_a_version_that_failed_its_trial(tried: Path, trial: Path) -> None:
    assert run("activate", NAME, "1.1.0", "--trial", trial, "--root", tried) == 0
    fails(tried)
    assert run("rollback", NAME, "--root", tried) == 0
    assert in_use(tried)[0] == "1.0.0"


@pytest.mark.parametrize("command", [("trial", "end"), ("rollback",)], ids=["end", "rollback"])
def test_trial_is_ended_by_a_person(
    tried: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*command, NAME, "--root", tried) == 0
    assert in_use(tried) == ("1.2.0", ["1.1.0", "1.0.0"])
    found = status(tried, capsys)
    assert (found["state"], found["nodes_take"]) == ("ended", "1.2.0")
    assert "on request" in found["reason"]
    assert run("trial", "end", NAME, "--root", tried) == 4


def test_failed_version_is_not_activated_again_without_a_newer_order(
    tried: Path, trial: Path, bundles: Bundles, caplog: pytest.LogCaptureFixture
) -> None:
    fails(tried)
    source = bundles("1.3.0")
    for args in (
        ["activate", NAME, "1.3.0"],
        ["activate", NAME, "1.3.0", "--trial", trial],
        ["install", source, "--activate"],
        ["install", source, "--trial", trial],
    ):
        caplog.clear()
        assert run(*args, "--root", tried) == 4
        message = caplog.text
        assert "tiny 1.3.0: expected a version that did not fail its trial" in message
        assert "tilt_rad 0.6, limit 0.5; --again allows it again" in message
    assert in_use(tried)[0] == "1.2.0"
    assert "1.3.0" in versions(tried)
    assert run("activate", NAME, "1.3.0", "--trial", trial, "--again", "--root", tried) == 0
    assert newest(tried).state is TrialState.OPEN
    fails(tried)
    assert run("activate", NAME, "1.3.0", "--again", "--root", tried) == 0
    assert in_use(tried)[0] == "1.3.0"
    assert run("activate", NAME, "1.2.0", "--root", tried) == 0
    assert run("activate", NAME, "1.3.0", "--root", tried) == 0


def test_activation_of_another_version_ends_the_trial(
    tried: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("activate", NAME, "1.1.0", "--root", tried) == 0
    assert in_use(tried)[0] == "1.1.0"
    assert status(tried, capsys)["reason"] == "1.1.0 was activated"
    assert status(tried, capsys)["nodes_take"] == "1.1.0"


def test_trial_of_another_version_ends_the_one_before(
    tried: Path, trial: Path, bundles: Bundles
) -> None:
    assert run("install", bundles("1.4.0"), "--trial", trial, "--root", tried) == 0
    assert (newest(tried).version, newest(tried).number) == ("1.4.0", 2)
    assert newest(tried).version_before == "1.2.0"


def test_first_version_has_no_trial(
    tmp_path: Path, bundles: Bundles, trial: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "empty"
    assert run("install", bundles("1.0.0"), "--trial", trial, "--root", root) == 4
    assert "expected a version in use, to which a trial that fails goes back" in caplog.text
    assert in_use(root) == (None, [])
    assert not (root / NAME / RECORD).exists()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("run_time_s: 0", "run_time_s: expected a number > 0, found 0"),
        ("run_time_s: 5\ngates: {falls: {limit: 0}}", "gates.falls: expected a policy with"),
        ("run_time_s: [", "expected YAML"),
    ],
)
def test_trial_that_is_not_valid_changes_nothing(
    root: Path, trial: Path, text: str, found: str, caplog: pytest.LogCaptureFixture
) -> None:
    trial.write_text(text)
    assert run("activate", NAME, "1.1.0", "--trial", trial, "--root", root) == 4
    assert found in caplog.text
    assert in_use(root) == ("1.2.0", ["1.1.0", "1.0.0"])
    assert newest_trial(root / NAME) is None


def test_version_in_use_is_not_tried(
    root: Path, trial: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run("activate", NAME, "1.2.0", "--trial", trial, "--root", root) == 4
    assert "expected another version than the one in use" in caplog.text


def test_broken_way_back_is_found_before_the_trial(
    root: Path, trial: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = root / NAME / "1.2.0" / "policy.onnx"
    model.chmod(0o644)
    model.write_bytes(b"other")
    assert run("activate", NAME, "1.1.0", "--trial", trial, "--root", root) == 4
    assert "1.2.0/policy.onnx" in caplog.text
    assert newest_trial(root / NAME) is None


def test_list_says_what_became_of_trials(tried: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def use_of(version: str) -> str:
        capsys.readouterr()
        assert run("list", "--root", tried) == 0
        lines = capsys.readouterr().out.splitlines()
        return next(line for line in lines if f" {version} " in line)

    assert "on trial" in use_of("1.3.0")
    assert "in use" in use_of("1.2.0")
    fails(tried)
    assert "trial failed" in use_of("1.3.0")


def test_prune_leaves_what_is_on_trial(tried: Path) -> None:
    for version in ("1.3.0", "1.2.0"):
        assert run("prune", NAME, "--keep", 0, "--force", "--root", tried) == 0
        assert version in versions(tried)
    fails(tried)
    assert run("prune", NAME, "--keep", 0, "--force", "--root", tried) == 0
    assert "1.3.0" not in versions(tried)


def test_record_that_cannot_be_read_is_found(tried: Path) -> None:
    (tried / NAME / RECORD).unlink()
    (tried / NAME / RECORD).mkdir()
    assert any("expected the record of trials" in problem for problem in problems(tried))


def test_unknown_user_of_the_node_is_refused(
    root: Path, trial: Path, caplog: pytest.LogCaptureFixture
) -> None:
    args = ["activate", NAME, "1.1.0", "--trial", trial, "--node-user", "no-such-user"]
    assert run(*args, "--root", root) == 4
    assert "--node-user: expected a user of this machine" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user, as root does")
def test_record_belongs_to_the_user_of_the_node(root: Path, trial: Path) -> None:
    args = ["activate", NAME, "1.1.0", "--trial", trial, "--node-user", "nobody"]
    assert run(*args, "--root", root) == 0
    assert (root / NAME / RECORD).owner() == "nobody"
    assert (root / NAME).stat().st_uid == 0


CHILD = """
import sys, itertools
from pathlib import Path
from model_tools import cli
from policy_inference.core.trial.journal import *
from policy_inference.core.trial.record import *
root, source, trial = sys.argv[1:]
model = Path(root, "tiny")
def run(*args):
    return cli.main([*args, "--root", root])
def node(event, **values):
    t = newest_trial(model)
    append_event(t.file, t.number, event, **values)
print("ready", flush=True)
for i in itertools.count():
    run("install", source, "--trial", trial, "--again")
    begin_run(newest_trial(model))
    node(TrialEvent.RUN_ENDED, counts={"run_time_s": 1.0})
    if i % 3 == 0:
        node(TrialEvent.GATE_FAILED, reason="a gate")
    elif i % 3 == 1:
        node(TrialEvent.PASSED)
        run("trial", "keep", "tiny")
        run("rollback", "tiny")
    else:
        run("trial", "end", "tiny")
"""


@pytest.mark.slow
def test_killed_at_any_moment_leaves_a_whole_known_version(
    three: Path, tmp_path: Path, bundles: Bundles, trial: Path
) -> None:
    moments, source = random.Random(SEED), bundles("1.3.0")
    states = set[str]()
    for at in range(INTERRUPTIONS):
        root = shutil.copytree(three, tmp_path / str(at), symlinks=True)
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(root), str(source), str(trial)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0.0, 0.5))
            child.send_signal(signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL
        assert problems(root) == []
        used, found = current_version(root / NAME), newest_trial(root / NAME)
        assert used in ("1.2.0", "1.3.0")
        if used == "1.3.0":
            assert found is not None
            assert found.state is TrialState.KEPT
        states.add(found.state.value if found else "none")
        # Nothing of what a kill left is in the way of the next order.
        if used == "1.3.0":
            assert run("rollback", NAME, "--root", root) == 0
        assert run("install", source, "--trial", trial, "--again", "--root", root) == 0
        assert newest(root).state is TrialState.OPEN
        shutil.rmtree(root)
    assert len(states) > 1


SOFTER = ("effort_limit: 1, stiffness: 1", "effort_limit: 1, stiffness: 0.8")


@pytest.mark.parametrize(
    ("accepted", "code"), [("[]", 4), ("[joints.damping]", 4), ("[joints.stiffness]", 0)]
)
def test_trial_of_another_contract_begins_only_if_its_differences_are_accepted(
    accepted: str, code: int, root: Path, bundles: Bundles, trial: Path
) -> None:
    trial.write_text(f"{TRIAL}accepted_differences: {accepted}\n")
    bundle = bundles("1.3.0", SOFTER)
    assert run("install", bundle, "--trial", trial, "--root", root) == code
    tried = newest_trial(root / NAME)
    assert (tried is not None and tried.version == "1.3.0") is (code == 0)
    assert in_use(root)[0] == "1.2.0"


@pytest.mark.parametrize(("accepted", "code"), [((), 4), (("--accept", "joints.stiffness"), 0)])
def test_another_contract_comes_into_use_only_if_its_differences_are_accepted(
    accepted: tuple[str, ...], code: int, root: Path, bundles: Bundles
) -> None:
    bundle = bundles("1.3.0", SOFTER)
    assert run("install", bundle, "--activate", *accepted, "--root", root) == code
    assert in_use(root)[0] == ("1.3.0" if code == 0 else "1.2.0")
    assert run("activate", NAME, "1.3.0", *accepted, "--root", root) == code
    # The way back is free, and from there the way to what was in use.
    if code == 0:
        assert run("rollback", NAME, "--root", root) == 0
        assert run("activate", NAME, "1.3.0", "--root", root) == 0
