# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A vendor's back end that computes as ONNX Runtime does, and fails in the way that a test sets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from policy_core.errors import BackendError
from policy_core.interfaces import Tensor, TensorSpec
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.machine.machine import Machine
from policy_inference.self_test.measuring import Clock


class FakeClock(Clock):
    """Time that passes during a sleep, or on request."""

    def __init__(self) -> None:
        self.time_ns = 0

    def now_ns(self) -> int:
        return self.time_ns

    def sleep_until(self, deadline_ns: int) -> None:
        self.time_ns = max(self.time_ns, deadline_ns)

    @property
    def time_s(self) -> float:
        return self.time_ns * 1e-9


@dataclass(slots=True, kw_only=True)
class Device:
    """What the device does.

    Attributes:
        clock: Runs take their time on it.
        run_ms: How long the run takes that begins at a time, s.
        change: Changes the outputs of the run that begins at a time, s.
        tell: What it reports about its load at a time, s.
        refuses: Why it does not open.
        fails_at_s: When it fails.
        error: With what.
        outputs: Of the latest run, by name.
    """

    clock: FakeClock
    run_ms: Callable[[float], float] = lambda time_s: 0.2
    change: Callable[[float, Tensor], object] = lambda time_s, actions: None
    tell: Callable[[float], Mapping[str, str]] = lambda time_s: {}
    refuses: str = ""
    fails_at_s: float = float("inf")
    error: BaseException = field(
        default_factory=lambda: BackendError("vendor: the device was lost")
    )
    outputs: dict[str, Tensor] = field(default_factory=dict)


class Vendor(OnnxBackend):
    """Runs on the device that the test made; warm-up runs take no time."""

    name = "vendor"
    device: ClassVar[Device]

    @classmethod
    def read_device(cls, machine: Machine) -> Mapping[str, str]:
        return cls.device.tell(cls.device.clock.time_s)

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        if self.device.refuses:
            raise BackendError(self.device.refuses)
        self._warm = 0
        return super()._open(file)

    def _run(self) -> None:
        super()._run()
        self._warm += 1
        if self._warm <= self.warm_up_runs:
            return
        device = self.device
        began_s = device.clock.time_s
        if began_s >= device.fails_at_s:
            raise device.error
        device.clock.time_ns += round(device.run_ms(began_s) * 1e6)
        device.outputs = dict(self.outputs)
        first = next(iter(self.outputs.values()))
        device.change(began_s, self.outputs.get("actions", first))


class Simulator(Vendor):
    """Says nothing about speed."""

    name = "simulator"
    simulates = True


class Simulated(Vendor):
    """Has a simulator."""

    name = "simulated"
    simulated_by = "simulator"
