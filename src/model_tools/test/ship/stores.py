# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the tests do with roots of installed bundles."""

from __future__ import annotations

import builtins
import io
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from model_tools import cli
from policy_core.bundle.store import current_version, versions_of
from policy_store.activation import way_back
from policy_store.commands import main as store
from policy_store.installed import models_in
from policy_store.inventory import verify
from testkit.wording import check_wording

NAME = "tiny"
NOBODY = 65534
_CHANGES = {
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.symlink",
    "os.chmod",
    "os.link",
    "os.truncate",
}


def tool(*args: object) -> int:
    """Run a verb, of `policy_store` where it has it; return the exit status."""
    main = store.main if args[0] in store.COMMANDS else cli.main
    return main([str(arg) for arg in args])


def tool_refused(*args: object) -> str:
    """Run a command that must be refused, and compare its message with the wording; return it."""
    said = list[str]()
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        assert tool(*args) == 4
    finally:
        logging.getLogger().removeHandler(handler)
    check_wording(said[-1])
    return said[-1]


def make_keys(folder: Path, name: str = "team", password: str = "") -> tuple[Path, Path]:
    """Make a private key and its public one."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.key", folder / f"{name}.pem"
    cipher = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, cipher))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def compile_oip(bundle: Path, output: Path, *options: str, precision: str = "fp32") -> None:
    """Compile a bundle for a server of the Open Inference Protocol."""
    given = ("--bundle", bundle, "--precision", precision, "--output", output)
    assert tool("compile", "oip", *given, *options) == 0


def in_use(root: Path) -> tuple[str | None, list[str]]:
    """Return the version in use, and those before it, the nearest first."""
    return current_version(root / NAME), way_back(root / NAME)


def versions(root: Path) -> list[str]:
    """Return what is installed."""
    return versions_of(root / NAME)


def verify_problems(root: Path) -> list[str]:
    """Return what `verify` finds wrong; nothing where nothing is installed yet."""
    return [one.problem for one in verify(root) if one.problem] if models_in(root) else []


def hidden_names(root: Path) -> list[str]:
    """Return what is in the making, or was left."""
    return sorted(path.name for path in (root / NAME).glob(".*") if path.name != ".lock")


def in_child(does: Callable[[], int]) -> int:
    """Do something in a process of its own; return its exit status, below 0 for a signal."""
    pid = os.fork()
    if pid == 0:
        end_with(does)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def end_with(does: Callable[[], int]) -> NoReturn:
    """Do something, then end this process, whose copy of pytest must not go on."""
    status = 99
    try:
        status = does()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def before_change(at: int, act: Callable[[], object]) -> None:
    """Act once, in this process, before the file system is changed for the `at`-th time.

    Counts files opened to be written, writes (in their middle: half of it is on the disk), fsync,
    renames, links, folders, permissions, removals. It cannot be taken back: for child processes.
    """
    left = at

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            act()

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in _CHANGES or (
            event == "open"
            and isinstance(args[2], int)
            and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        ):
            count()

    class Halving:
        """A file of which each write is cut in two."""

        def __init__(self, file: Any) -> None:
            self._file = file

        def write(self, data: Any) -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            count()
            self._file.write(data[len(data) // 2 :])

        def __enter__(self) -> Halving:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            count()
            return real(*args)

        return call

    def halving(real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *args: Any, **named: Any) -> Any:
            found = real(file, mode, *args, **named)
            return found if mode in ("r", "rb", "rt") else Halving(found)

        return opened

    for module, name in ((os, "fdopen"), (io, "open"), (builtins, "open")):
        setattr(module, name, halving(getattr(module, name)))
    for name in ("fsync", "write", "ftruncate"):
        setattr(os, name, counted(getattr(os, name)))
    sys.addaudithook(hook)


def tool_killed(at: int, *args: object) -> bool:
    """Run the command and kill it at its `at`-th change; return whether it came so far."""
    return killed(at, lambda: tool(*args))


def killed(at: int, act: Callable[[], int]) -> bool:
    """Act in a process that is killed at its `at`-th change; return whether it came so far.

    Raises:
        AssertionError: It ended before, and not with 0.
    """

    def does() -> int:
        before_change(at, lambda: os.kill(os.getpid(), signal.SIGKILL))
        return act()

    status = in_child(does)
    assert status in (0, -signal.SIGKILL)
    return status != 0
