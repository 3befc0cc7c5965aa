# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Another Python that ends with this one, with a folder of its own; its last words are kept."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from policy_core.errors import printable
from policy_inference.processes import PrivateFolder, packages_path

LEAVE_TIMEOUT_S = 2.0
"""For each of: ending when asked, ending by force, and the last words after that."""
_SAID_BYTES = 4096
_log = logging.getLogger("policy_inference")


class ChildProcess:
    """Runs a module with a private folder as its working and its temporary folder.

    A world-writable one would be the first place where Python looks for modules. What is printed
    goes into a file, where `capture_native_output` reads along, and after `talk_through` into a
    pipe, of which only the end is kept, since runs may print for ever.
    """

    def __init__(
        self, interpreter: str, module: str, arguments: Sequence[str], fds: Sequence[int]
    ) -> None:
        """Start it.

        Args:
            interpreter: The Python that runs it.
            module: What it runs.
            arguments: Of the module; before them it gets the number of its end of the lifeline, for
                `processes.end_with_parent`, and of the pipe, for `talk_through`.
            fds: File descriptors that it inherits.

        Raises:
            OSError: It does not start.
        """
        with ExitStack() as undo:
            self._folder = undo.enter_context(PrivateFolder())
            self._printed = undo.enter_context(tempfile.TemporaryFile())
            lifeline, self._lifeline = os.pipe()
            undo.callback(os.close, self._lifeline)
            listening, talking = os.pipe()
            output = undo.enter_context(os.fdopen(listening, "rb", buffering=0))
            try:
                self._process = subprocess.Popen(
                    [interpreter, "-m", module, str(lifeline), str(talking), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=self._printed,
                    stderr=self._printed,
                    cwd=self.folder,
                    env=_environment(interpreter, str(self.folder)),
                    pass_fds=[*fds, lifeline, talking],
                )
            finally:
                os.close(lifeline)
                os.close(talking)
            undo.pop_all()
        self._said = bytes(_SAID_BYTES)
        self._reader = threading.Thread(
            target=self._listen, args=(output,), name="last words", daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def folder(self) -> Path:
        """Its private folder."""
        return self._folder.path

    def status(self, timeout_s: float = 0.0) -> int | None:
        """Return its exit status, after that time at most; None while it has not ended."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        return self._process.returncode

    def said(self, within_s: float = 0.0) -> str:
        """Return what it printed last, as a terminal may show it.

        Of one that has ended, wait so long for all of it.
        """
        if self.status() is not None:
            self._reader.join(within_s)
        file = self._printed.fileno()
        first = os.pread(file, _SAID_BYTES, max(0, os.fstat(file).st_size - _SAID_BYTES))
        said = (first + self._said.lstrip(b"\0"))[-_SAID_BYTES:]
        return printable(said.decode("utf-8", "replace").strip())

    def kill(self) -> None:
        """End it by force, without a wait; `end` comes after that."""
        self._process.kill()

    def end(self) -> None:
        """Wait for its end, ask for it, force it; what does not end even then is left behind."""
        for push in (None, self._process.terminate, self._process.kill):
            if push is not None:
                push()
            if self.status(LEAVE_TIMEOUT_S) is not None:
                break
        else:
            _log.warning("process %d does not end, not even by force; it is left behind", self.pid)
        self._reader.join(LEAVE_TIMEOUT_S)
        os.close(self._lifeline)
        self._printed.close()
        self._folder.remove()

    def _listen(self, output: IO[bytes]) -> None:
        with output:
            while heard := output.read(_SAID_BYTES):
                self._said = (self._said + heard)[-_SAID_BYTES:]


def talk_through(pipe: int) -> None:
    """Let this process print into a pipe from now on."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(pipe, stream.fileno())
    os.close(pipe)


def _environment(interpreter: str, folder: str) -> dict[str, str]:
    """Return the environment; another Python finds this package, and nothing else of ours."""
    own = dict(os.environ, TMPDIR=folder)
    if interpreter != sys.executable:
        kept = {k: v for k, v in own.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
        return kept | {"PYTHONPATH": packages_path()}
    if path := own.get("PYTHONPATH"):
        own["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    return own
