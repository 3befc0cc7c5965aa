# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Versions on a disk that loses its power between any two writes, or is full."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from model_tools.files.contract_text import set_section
from policy_core.bundle.bundle import CONTRACT_FILE
from policy_core.bundle.store import current_version, installed_versions
from policy_core.errors import PolicyError
from policy_store.activation import activate, roll_back, way_back
from policy_store.install import install
from policy_store.inventory import prune, verify
from tools.chaos.disk import WatchedDisk, working

NAME = "lite3_walk"
_BUNDLE = Path(__file__).resolve().parents[2] / "config" / "bundles" / NAME
_VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0")
_COMMANDS = 6
_CHANGES_OF = {"install": 58, "activate": 16, "roll back": 7, "prune": 13}
"""How often each command changes something, about."""


class PowerCut(BaseException):
    """The power is gone: nothing of the program happens any more."""


class VirtualDisk(WatchedDisk):
    """Counts changes of the file system; one of them is the last, or none fits any more.

    Attributes:
        ended: Whether the power is gone.
    """

    def __init__(self, at: int, *, full: bool, chance: Random) -> None:
        """Act before the `at`-th change."""
        self._left, self._full, self._chance = at, full, chance
        self.ended = False
        self._unsynced = set[int]()
        """Inodes of the files whose content may be lost."""

    def change(self, *, grows: bool = True) -> None:
        if self.ended:
            raise PowerCut
        self._left -= 1
        if self._left > 0:
            return
        if not self._full:
            self.ended = True
            raise PowerCut
        if grows:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def wrote(self, file: Any) -> None:
        self._unsynced.add(os.fstat(file.fileno()).st_ino)

    def synced(self, handle: int) -> None:
        self._unsynced.discard(os.fstat(handle).st_ino)

    def lose(self, root: Path) -> None:
        """Cut files of which the kernel had more than the disk."""
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                size = path.stat().st_size
                if path.stat().st_ino in self._unsynced:
                    os.truncate(path, self._chance.randrange(size + 1))


def make_sources(folder: Path) -> Path:
    """Write all versions into a folder; return it."""
    for version in _VERSIONS:
        file = shutil.copytree(_BUNDLE, folder / "sources" / version) / CONTRACT_FILE
        file.write_text(set_section(file.read_text("utf-8"), "version", version), "utf-8")
    return folder / "sources"


def run_store_seed(seed: int, sources: Path, checked: Counter[str] | None = None) -> list[str]:
    """Run commands on a root of installed versions, each with a cut or a full disk in between.

    Args:
        seed: Of the commands and of when they are cut.
        sources: Folder with the versions.
        checked: Counts how often each invariant was looked at.

    Returns:
        What of the invariants did not hold, as texts.
    """
    chance, broken = Random(f"store {seed}"), list[str]()

    def hold(words: str, found: Iterable[tuple[str, bool, object]]) -> None:
        for name, holds, what in found:
            if checked is not None:
                checked[name] += 1
            if not holds:
                broken.append(f"{name}: {words}: {what}")

    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        root = Path(folder) / "models"
        for version in _VERSIONS[: chance.choice([0, 2, 3])]:
            install(sources / version, root)
            activate(root, NAME, version)
        for _ in range(_COMMANDS):
            words, act, done = _draw(chance, root, sources)
            there, allowed = _versions(root), {_in_use(root), done}
            at, full = chance.randrange(1, _CHANGES_OF[words] + 3), chance.random() < 0.3
            disk = VirtualDisk(at, full=full, chance=chance)
            with suppress(PowerCut, PolicyError, OSError), working(disk):
                act()
            if disk.ended:
                disk.lose(root)
            hold(words, _look(root, allowed, there, words))
            error = _refusal(act)
            # A way back may have come to its end.
            hold(words, [("command_can_be_repeated", not error or words == "roll back", error)])
            # Repeated, the others may go further.
            after = {done} if words in ("install", "activate") else {*allowed, _in_use(root)}
            hold(f"{words}, repeated", _look(root, after, there, words))
    return broken


def _refusal(act: Callable[[], object]) -> str:
    try:
        act()
    except PolicyError as error:
        return str(error)
    return ""


def _draw(
    chance: Random, root: Path, sources: Path
) -> tuple[str, Callable[[], object], str | None]:
    """Return a command, what does it, and the version that is in use after it."""
    used, there, what = _in_use(root), _versions(root), chance.random()
    if what < 0.3 or not there:
        source = sources / chance.choice(_VERSIONS)
        return "install", lambda: install(source, root), used
    if what < 0.65 or used is None:
        version = chance.choice(there)
        return "activate", lambda: activate(root, NAME, version), version
    if what < 0.9:
        back = way_back(root / NAME)
        return "roll back", lambda: roll_back(root, NAME), back[0] if back else used
    return "prune", lambda: prune(root, NAME, 1), used


def _look(
    root: Path, allowed: set[str | None], before: Sequence[str], words: str
) -> Iterator[tuple[str, bool, object]]:
    """Yield each invariant of a root, whether it holds, and what was found."""
    model, used, there = root / NAME, _in_use(root), _versions(root)
    yield "one_version_in_use", used in allowed and used in {None, *there}, used
    lost = {*before} - {*there}
    yield "no_version_is_lost", not lost or words == "prune", lost
    if not there:
        return
    problems = [one.problem for one in verify(root) if one.problem]
    yield "no_version_without_record", not problems, problems
    try:
        way = way_back(model)
    except PolicyError as error:
        yield "way_back_is_there", False, error
    else:
        yield "way_back_is_there", used not in way and len({*way}) == len(way), way


def _in_use(root: Path) -> str | None:
    return current_version(root / NAME) if (root / NAME).exists() else None


def _versions(root: Path) -> list[str]:
    return installed_versions(root / NAME) if (root / NAME).exists() else []


def _fast_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def try_store(seeds: range, say: Callable[[str], None]) -> int:
    """Run seeds of the store; return the exit status."""
    logging.disable(logging.WARNING)
    found = 0
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        sources = make_sources(Path(folder))
        for seed in seeds:
            broken = run_store_seed(seed, sources)
            found += bool(broken)
            for text in broken:
                say(f"store seed {seed}: {text}")
    say(f"{len(seeds)} seeds of the store, {found} broke an invariant")
    return 1 if found else 0
