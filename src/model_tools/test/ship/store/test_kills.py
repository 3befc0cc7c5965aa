# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Killed at any moment, an installer leaves what ran running, and the way back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path

import pytest

from model_tools.ship.store.activation import missing

from .conftest import Bundles
from .stores import NAME, hidden_names, in_use, killed, problems, run, versions

pytestmark = [pytest.mark.forks, pytest.mark.slow]

Prepare = Callable[[Path], object]
Uses = Mapping[str | None, list[str]]
"""What may be in use after a kill, and the way back from there."""

BEFORE: Uses = {"1.2.0": ["1.1.0", "1.0.0"]}
THEN = "1.2.0", "1.1.0", "1.0.0"
FEWEST_CHANGES = 4


def kill_everywhere(
    tmp_path: Path,
    three: Path | None,
    args: Sequence[object],
    allowed: Uses,
    done: tuple[str | None, list[str]],
    prepare: Prepare = lambda root: None,
) -> None:
    """Kill a command at its first change, at its second, and so on until it comes to its end."""
    for at in count(1):
        root = tmp_path / str(at)
        if three is not None:
            shutil.copytree(three, root, symlinks=True)
            prepare(root)
        before = versions(root)
        was_killed = killed(at, *args, "--root", root)
        assert problems(root) == []
        used = in_use(root)
        assert used[1] == allowed[used[0]]
        if args[0] != "prune":
            assert set(before) <= set(versions(root))
        if not was_killed:
            assert used == done
            assert hidden_names(root) == []
            assert at > FEWEST_CHANGES
            return
        # Nothing of what a kill left is in the way of anybody.
        if args[0] != "rollback" or used[0] in BEFORE:
            assert run(*args, "--root", root) == 0
            assert in_use(root) == done
        if versions(root):
            assert run("prune", NAME, "--keep", 99, "--force", "--root", root) == 0
            assert hidden_names(root) == []
            assert in_use(root)[1] == allowed[in_use(root)[0]]
        shutil.rmtree(root, ignore_errors=True)


@pytest.mark.parametrize("activate", [False, True], ids=["install", "install and activate"])
def test_install_as_the_first(tmp_path: Path, bundles: Bundles, activate: bool) -> None:
    args = ["install", bundles(), *(["--activate"] if activate else [])]
    done = ("1.0.0" if activate else None), list[str]()
    kill_everywhere(tmp_path, None, args, {None: [], "1.0.0": []}, done)


@pytest.mark.parametrize("activate", [False, True], ids=["install", "install and activate"])
def test_install_of_another_version(
    tmp_path: Path, three: Path, bundles: Bundles, activate: bool
) -> None:
    args = ["install", bundles("1.3.0"), *(["--activate"] if activate else [])]
    after: Uses = {"1.3.0": [*THEN]}
    kill_everywhere(
        tmp_path,
        three,
        args,
        {**BEFORE, **after},
        ("1.3.0", [*THEN]) if activate else ("1.2.0", [*THEN[1:]]),
    )


@pytest.mark.parametrize(
    ("version", "back"),
    [("1.0.0", ["1.2.0", "1.1.0"]), ("1.1.0", ["1.2.0", "1.0.0"]), ("1.2.0", ["1.1.0", "1.0.0"])],
)
def test_activation_of_one_that_was_in_use_before(
    tmp_path: Path, three: Path, version: str, back: list[str]
) -> None:
    if version == "1.2.0":  # from the way back, on again
        kill_everywhere(
            tmp_path,
            three,
            ["activate", NAME, version],
            {"1.1.0": ["1.0.0"], version: back},
            (version, back),
            lambda root: run("rollback", NAME, "--root", root),
        )
    else:
        kill_everywhere(
            tmp_path, three, ["activate", NAME, version], {**BEFORE, version: back}, (version, back)
        )


def test_rollback(tmp_path: Path, three: Path) -> None:
    kill_everywhere(
        tmp_path, three, ["rollback", NAME], {**BEFORE, "1.1.0": ["1.0.0"]}, ("1.1.0", ["1.0.0"])
    )


def test_rollback_after_an_activation_that_was_killed(tmp_path: Path, three: Path) -> None:
    """Of one that was in use before, so that the record has it twice."""
    for at in count(1):
        root = shutil.copytree(three, tmp_path / str(at), symlinks=True)
        was_killed = killed(at, "activate", NAME, "1.1.0", "--root", root)
        used, back = in_use(root)
        for version in back:
            assert run("rollback", NAME, "--root", root) == 0
            assert in_use(root)[0] == version
        assert run("rollback", NAME, "--root", root) == 4
        assert back == (["1.1.0", "1.0.0"] if used == "1.2.0" else ["1.2.0", "1.0.0"])
        if not was_killed:
            return


def test_prune(tmp_path: Path, three: Path, bundles: Bundles) -> None:
    """Of the oldest two: one was in use, one never."""
    full = shutil.copytree(three, tmp_path / "full", symlinks=True)
    for version in ("0.9.0", "1.3.0"):
        assert run("install", bundles(version), "--root", full) == 0
    assert run("activate", NAME, "1.3.0", "--root", full) == 0
    back = ["1.2.0", "1.1.0", "1.0.0"]
    for at in count(1):
        root = shutil.copytree(full, tmp_path / str(at), symlinks=True)
        was_killed = killed(at, "prune", NAME, "--keep", 0, "--force", "--root", root)
        assert problems(root) == []
        used, way = in_use(root)
        assert used == "1.3.0"
        assert way in (back, back[:2])
        assert run("prune", NAME, "--keep", 0, "--force", "--root", root) == 0
        assert versions(root) == ["1.1.0", "1.2.0", "1.3.0"]
        assert in_use(root) == ("1.3.0", back[:2])
        assert missing(root / NAME) == []
        assert hidden_names(root) == []
        if not was_killed:
            assert at > FEWEST_CHANGES
            return
