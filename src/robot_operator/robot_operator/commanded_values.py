# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Find the values besides velocity that the running policy accepts, by the bundle in its status.

Any program may publish a status that names any file, so another process with limits reads it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from policy_core.bundle.bundle import Bundle
from policy_core.bundle.contract import CommandedValue
from policy_core.bundle.load import load_bundle
from policy_core.errors import PolicyError
from policy_inference.rehearsal import CPU_S, limit_process, run_reader

ValuesByTopic = Mapping[str, Sequence[CommandedValue]]


class CommandedValues:
    """The commanded values of the running policy, read in the background."""

    def __init__(self) -> None:
        self._sha256 = ""
        self._found: ValuesByTopic | None = None
        self._thread: threading.Thread | None = None

    def take(self, bundle: str, sha256: str) -> ValuesByTopic | None:
        """Return the values once, when they have changed, by topic; None otherwise.

        Call it repeatedly; it does not wait. Of several changes, the newest is read last.

        Args:
            bundle: Folder of the bundle in the newest status.
            sha256: Hash of its contract; "" if none is running.
        """
        if self._thread is not None and self._thread.is_alive():
            return None
        found, self._found = self._found, None
        if sha256 == self._sha256:
            return found
        self._sha256 = sha256
        self._thread = threading.Thread(target=self._read, args=(bundle, sha256), daemon=True)
        self._thread.start()
        return {}

    def _read(self, bundle: str, sha256: str) -> None:
        self._found = read_commanded_values(bundle, sha256)


def read_commanded_values(bundle: str, sha256: str, *, cpu_s: int = CPU_S) -> ValuesByTopic:
    """Return, by topic, the values besides velocity that a bundle on this machine accepts.

    There are none if the bundle cannot be read within the limits.
    """
    try:
        status, said = run_reader(__name__, [str(cpu_s), bundle, sha256])
        found = json.loads(said) if status == 0 else {}
    # No argument of a process, such as one with NUL; or more values than the end of its output.
    except (OSError, ValueError):
        return {}
    return {topic: [CommandedValue(**value) for value in values] for topic, values in found.items()}


def _main(_: str, cpu_s: str, bundle: str, sha256: str) -> int:
    limit_process(int(cpu_s))
    try:
        contract = load_bundle(Path(bundle), kind=Bundle, sha256=sha256).contract
    except (PolicyError, OSError):
        return 1
    values = {
        topic: [dataclasses.asdict(value) for value in term.commanded or ()]
        for topic, term in contract.commanded.items()
    }
    sys.stdout.write(json.dumps(values))
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
