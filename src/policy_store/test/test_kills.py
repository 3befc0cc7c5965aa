# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Without power before any change of the disk, an installer leaves one whole version in use.

What it wrote and did not sync is then lost. The way back from there is whole too, and the same
command comes to its end.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from policy_core.bundle.store import TRIALS_FILE
from policy_store.activation import recorded_in
from policy_store.trial_record import TrialEvent, TrialState, append_event, newest_trial
from testkit.disks import DyingDisk, working
from testkit.store import (
    NAME,
    MakeVersion,
    hidden_names,
    in_use,
    store_violations,
    tool,
    tool_killed,
    verify_problems,
    versions,
)

pytestmark = [pytest.mark.forks, pytest.mark.slow]

Uses = Mapping[str | None, list[str]]
"""What may be in use after a kill, and the way back from there."""

BEFORE: Uses = {"1.2.0": ["1.1.0", "1.0.0"]}
KEPT: Uses = {"1.3.0": ["1.2.0", "1.1.0", "1.0.0"]}
FEWEST_CHANGES = 2


@dataclass(frozen=True, kw_only=True)
class KilledCommand:
    """A command, and what may be in use after it was killed."""

    words: str
    allowed: Uses
    done: str | None
    before: tuple[str, ...] = ()
    on_empty_root: bool = False


COMMANDS = {
    "install and activate the first": KilledCommand(
        words="install 1.0.0 --activate",
        allowed={None: [], "1.0.0": []},
        done="1.0.0",
        on_empty_root=True,
    ),
    "install": KilledCommand(words="install 1.3.0", allowed=BEFORE, done="1.2.0"),
    "install and activate": KilledCommand(
        words="install 1.3.0 --activate", allowed={**BEFORE, **KEPT}, done="1.3.0"
    ),
    "activate the oldest": KilledCommand(
        words="activate tiny 1.0.0", allowed={**BEFORE, "1.0.0": ["1.2.0", "1.1.0"]}, done="1.0.0"
    ),
    "activate after a rollback": KilledCommand(
        words="activate tiny 1.2.0",
        allowed={**BEFORE, "1.1.0": ["1.0.0"]},
        done="1.2.0",
        before=("rollback tiny",),
    ),
    "rollback": KilledCommand(
        words="rollback tiny", allowed={**BEFORE, "1.1.0": ["1.0.0"]}, done="1.1.0"
    ),
    "begin a trial": KilledCommand(
        words="install 1.3.0 --trial trial.yaml", allowed=BEFORE, done="1.2.0"
    ),
    "keep a trial": KilledCommand(
        words="trial keep tiny",
        allowed={**BEFORE, **KEPT},
        done="1.3.0",
        before=("install 1.3.0 --trial trial.yaml", "passes"),
    ),
    "end a trial": KilledCommand(
        words="trial end tiny",
        allowed=BEFORE,
        done="1.2.0",
        before=("install 1.3.0 --trial trial.yaml",),
    ),
}


def store_state(root: Path) -> tuple[object, ...]:
    trial = newest_trial(root / NAME)
    return (in_use(root), versions(root), trial and trial.state)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_killed_at_any_change_leaves_a_whole_version(
    name: str, tmp_path: Path, three: Path, make_version: MakeVersion
) -> None:
    command, trial = COMMANDS[name], tmp_path / "trial.yaml"
    trial.write_text("run_time_s: 60\n")
    sources = {version: make_version(version) for version in ("1.0.0", "1.3.0")}

    def arguments(words: str, root: Path) -> list[object]:
        verb, *rest = words.split()
        given = [sources.get(word, word) if verb == "install" else word for word in rest]
        return [verb, *(trial if word == "trial.yaml" else word for word in given), "--root", root]

    whole, prepared = tmp_path / "whole", tmp_path / "prepared"
    if not command.on_empty_root:
        shutil.copytree(three, prepared, symlinks=True)
    for words in command.before:
        if words == "passes":
            append_event(prepared / NAME / TRIALS_FILE, 1, TrialEvent.PASSED)
        else:
            assert tool(*arguments(words, prepared)) == 0
    if not command.on_empty_root:
        shutil.copytree(prepared, whole, symlinks=True)
    before = versions(whole)
    assert tool(*arguments(command.words, whole)) == 0
    done = store_state(whole)
    assert in_use(whole) == (command.done, command.allowed[command.done])
    for at in count(1):
        root = tmp_path / str(at)
        if not command.on_empty_root:
            shutil.copytree(prepared, root, symlinks=True)
        was_killed = tool_killed(at, *arguments(command.words, root))
        assert verify_problems(root) == []
        used, back = in_use(root)
        assert back == command.allowed[used]
        assert set(before) <= set(versions(root))
        found = newest_trial(root / NAME)
        if found is not None and used == "1.3.0":
            assert found.state is TrialState.KEPT
        if not was_killed:
            assert store_state(root) == done
            assert hidden_names(root) == []
            assert at > FEWEST_CHANGES
            return
        # Nothing that a kill left stops the next command.
        if store_state(root) != done:
            assert tool(*arguments(command.words, root)) == 0
            assert store_state(root) == done
        assert tool("prune", NAME, "--keep", 99, "--force", "--root", root) == 0
        assert hidden_names(root) == []
        assert store_state(root) == done
        shutil.rmtree(root)


def test_command_on_a_disk_that_is_full_at_any_change_can_be_repeated(
    tmp_path: Path, three: Path, make_version: MakeVersion
) -> None:
    source = make_version("1.3.0")
    for at in count(1, 7):
        root = shutil.copytree(three, tmp_path / str(at), symlinks=True)
        install = ("install", source, "--activate", "--root", root)
        with working(DyingDisk(root, at, full=True)):
            status = tool(*install)
        assert not store_violations(root)
        if status == 0:
            assert at > FEWEST_CHANGES
            return
        assert in_use(root) == ("1.2.0", BEFORE["1.2.0"])
        assert tool(*install) == 0
        assert in_use(root) == ("1.3.0", KEPT["1.3.0"])


@pytest.mark.acceptance
def test_rollback_after_an_activation_that_was_killed(tmp_path: Path, three: Path) -> None:
    """Of one that was in use before, so that the record has it twice."""
    for at in count(1):
        root = shutil.copytree(three, tmp_path / str(at), symlinks=True)
        was_killed = tool_killed(at, "activate", NAME, "1.1.0", "--root", root)
        used, back = in_use(root)
        for version in back:
            assert tool("rollback", NAME, "--root", root) == 0
            assert in_use(root)[0] == version
        assert tool("rollback", NAME, "--root", root) == 4
        assert back == (["1.1.0", "1.0.0"] if used == "1.2.0" else ["1.2.0", "1.0.0"])
        if not was_killed:
            assert at > FEWEST_CHANGES
            return


@pytest.mark.acceptance
def test_prune_that_is_killed_loses_only_the_oldest_way_back(
    tmp_path: Path, three: Path, make_version: MakeVersion
) -> None:
    """Of the oldest two: one was in use, one never."""
    full = shutil.copytree(three, tmp_path / "full", symlinks=True)
    for version in ("0.9.0", "1.3.0"):
        assert tool("install", make_version(version), "--root", full) == 0
    assert tool("activate", NAME, "1.3.0", "--root", full) == 0
    back = KEPT["1.3.0"]
    for at in count(1):
        root = shutil.copytree(full, tmp_path / str(at), symlinks=True)
        prune = ("prune", NAME, "--keep", 0, "--force", "--root", root)
        was_killed = tool_killed(at, *prune)
        assert verify_problems(root) == []
        used, way = in_use(root)
        assert used == "1.3.0"
        assert way in (back, back[:2])
        assert tool(*prune) == 0
        assert versions(root) == ["1.1.0", "1.2.0", "1.3.0"]
        assert in_use(root) == ("1.3.0", back[:2])
        assert set(recorded_in(root / NAME)) <= set(versions(root))
        assert hidden_names(root) == []
        if not was_killed:
            assert at > FEWEST_CHANGES
            return
