# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Backends that open when a test says so; a test registers them."""

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from policy_core.interfaces import TensorSpec
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.registry import GROUP
from policy_inference.testing.bundles import register

PATIENCE_S = 30.0
Found = tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]


class Slow(OnnxBackend):
    """Opens after `goes_on`; writes that it `began` and that it was `closed`."""

    name = "slow"
    builds_from = "onnx"
    began, goes_on, closed = threading.Event(), threading.Event(), threading.Event()

    def _open(self, file: Path) -> Found:
        self.began.set()
        assert self.goes_on.wait(PATIENCE_S)
        return super()._open(file)

    def _close(self) -> None:
        super()._close()
        self.closed.set()


class Clinging(OnnxBackend):
    """Does not return from being closed before `lets_go`."""

    name = "clinging"
    builds_from = "onnx"
    closing, lets_go = threading.Event(), threading.Event()

    def _close(self) -> None:
        self.closing.set()
        assert self.lets_go.wait(PATIENCE_S)
        super()._close()


class Counted(OnnxBackend):
    name = "counted"
    builds_from = "onnx"
    open_now = 0

    def _open(self, file: Path) -> Found:
        Counted.open_now += 1
        return super()._open(file)

    def _close(self) -> None:
        super()._close()
        Counted.open_now -= 1


class Apart(OnnxBackend):
    name = "apart"
    builds_from = "onnx"
    holds_gil = True


class Stuck(Apart):
    """Says its process's number in a file, and never opens."""

    name = "stuck"
    options: Mapping[str, str] = {"pid": "file that its number is written to"}

    def _open(self, file: Path) -> Found:
        Path(self._given["pid"]).write_text(str(os.getpid()), "utf-8")
        threading.Event().wait()
        raise AssertionError("nobody sets it")


class StuckHere(Stuck):
    """Never opens either, in the process of the node."""

    name = "stuck_here"
    holds_gil = False


def register_classes(
    site: Path, monkeypatch: pytest.MonkeyPatch, *classes: type[OnnxBackend]
) -> None:
    """Register back ends of tests in a folder, for this process and its children."""
    places = {cls.name: f"{cls.__module__}:{cls.__name__}" for cls in classes}
    register(site, "of-tests", GROUP, places)
    monkeypatch.syspath_prepend(str(site))
    folder = str(Path(__file__).parents[len(__name__.split(".")) - 1])
    path = [str(site), folder, os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


def register_opening(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_classes(site, monkeypatch, Slow, Clinging, Counted, Apart, Stuck, StuckHere)
