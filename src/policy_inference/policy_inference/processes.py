# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Process helpers: private folders, a log that never blocks, environments, another Python."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

from policy_store.signals import before_end_now

_MOST_BYTES = 1 << 20
"""Capacity of a pipe: the bytes that may wait for a stalled reader."""
_KERNEL = "policy_core"
"""The package that all packages of the suite require."""

_folders: set[tempfile.TemporaryDirectory[str]] = set()


class PrivateFolder:
    """A temporary folder that only this user can enter.

    It is removed by `remove`, at the end of a `with` block, or when the process ends.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(
            prefix="policy_inference_", ignore_cleanup_errors=True
        )
        _folders.add(self._folder)

    @property
    def path(self) -> Path:
        return Path(self._folder.name)

    def remove(self) -> None:
        self._folder.cleanup()
        _folders.discard(self._folder)

    def __enter__(self) -> PrivateFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def remove_folders() -> None:
    """Remove all private folders; for a process that ends without closing them."""
    for folder in _folders.copy():
        folder.cleanup()


before_end_now(remove_folders)


def unblock_log() -> None:
    """Keep writes to stderr from blocking; output that does not fit is lost.

    A write to a full pipe, or to a terminal behind a stalled connection, blocks. rclpy and native
    libraries write like this while they hold the GIL, so the control thread would wait as well.

    The same applies to stdout if it is a pipe or a socket, but not if it is a terminal, on which a
    full-screen program may run. A terminal that this user may not open is left as it is.
    """
    for fd in (1, 2):
        mode = _mode(fd)
        if stat.S_ISSOCK(mode):  # journald's, for this service alone; cannot be reopened
            os.set_blocking(fd, False)
        elif stat.S_ISFIFO(mode) or (fd == 2 and os.isatty(fd)):
            with suppress(OSError):
                # Reopened, since other processes share the flags of the inherited one.
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
                own = os.open(f"/proc/self/fd/{fd}", flags)
                os.dup2(own, fd)
                os.close(own)
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _MOST_BYTES)


def _mode(fd: int) -> int:
    try:
        return os.fstat(fd).st_mode
    except OSError:  # closed
        return 0


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for child processes started within the context."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def link_packages(modules: Iterable[str], folder: Path) -> None:
    """Link, into a folder, the packages of some modules and those of the suite that these require.

    A package belongs to the suite if it is policy_core or requires it. Everything else, such as
    NumPy, is installed for one Python only: another Python finds the packages in the folder, but
    not what is installed next to them here.

    Args:
        modules: Names of modules, whose packages need not belong to the suite.
        folder: An empty folder.

    Raises:
        ModuleNotFoundError: A package is not installed.
    """
    packages = {module.partition(".")[0] for module in modules}
    for package in packages | (_suite(required := _all_required(packages)) & set(required)):
        spec = importlib.util.find_spec(package)
        if spec is None:
            raise ModuleNotFoundError(f"expected the package {package} to be installed")
        source = Path([*(spec.submodule_search_locations or ()), spec.origin or ""][0]).resolve()
        (folder / source.name).symlink_to(source)


def _suite(required: Mapping[str, set[str]]) -> set[str]:
    """Return policy_core and the packages that require it, directly or not."""
    suite = {_KERNEL}
    while more := {package for package in required if required[package] & suite} - suite:
        suite |= more
    return suite


def _all_required(packages: Iterable[str]) -> dict[str, set[str]]:
    """Return what packages require, and what those packages require, and so on."""
    required, waiting = dict[str, set[str]](), {*packages}
    while waiting:
        required |= {package: _required(package) for package in waiting}
        waiting = set().union(*required.values()) - set(required)
    return required


def _required(package: str) -> set[str]:
    """Return the packages that a package requires, apart from those of its extras."""
    try:
        texts = metadata.requires(package) or []
    except metadata.PackageNotFoundError:  # a module that was not installed, such as a test
        return set()
    names = (re.match(r"[\w.-]+", text) for text in texts if "extra ==" not in text)
    return {name[0].replace("-", "_") for name in names if name}
