# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A back end of shadows that goes wrong when a test asks for it; a test registers it."""

import ctypes
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from policy_inference.backends.onnx import OnnxBackend

SLOW_S = 0.03


class Faulty(OnnxBackend):
    """Does what the text of a file says: nan, slow, segfault; else it works.

    Or what no runtime should: garbage (in the memory that it shares with the node), answers
    (without requests), cuts (that memory).
    """

    name = "faulty"
    builds_from = "onnx"
    options: Mapping[str, str] = {"fault": "file that says what goes wrong"}

    def _run(self) -> None:
        file = Path(self._given["fault"])
        fault = file.read_text("utf-8") if file.exists() else ""
        if fault == "slow":
            time.sleep(SLOW_S)
        elif fault == "segfault":
            ctypes.string_at(0)
        super()._run()
        if fault == "nan":
            for array in self.outputs.values():
                array[...] = np.nan
        elif fault in _MISCHIEF:
            _MISCHIEF[fault]()


def _descriptors(kind: str) -> list[int]:
    """Return the open descriptors of a kind, such as what the node shares with a shadow."""
    found = [int(place.name) for place in Path("/proc/self/fd").iterdir()]
    return [fd for fd in found if kind in _target(fd)]


def _target(fd: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return ""


def _garbage() -> None:
    for fd in _descriptors("memfd:policy_inference"):
        os.pwrite(fd, os.urandom(min(os.fstat(fd).st_size, 1 << 20)), 0)


def _answers() -> None:
    for fd in _descriptors("eventfd"):
        os.eventfd_write(fd, 1 << 40)


def _cuts() -> None:
    for fd in _descriptors("memfd:policy_inference"):
        with suppress(PermissionError):
            os.ftruncate(fd, 0)


_MISCHIEF = {"garbage": _garbage, "answers": _answers, "cuts": _cuts}
