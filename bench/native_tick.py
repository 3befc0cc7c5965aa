# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the native tick costs, from the state to the targets, against the C API's bare call."""

from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from policy_core_native import NativeController, OnnxModel

from bench.figures import Figure, alternated, in_turns, timed
from bench.processes import BUNDLE, BenchError
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import Mode
from policy_core.members.joint import joint_controller
from policy_core.plan import plan_bytes
from policy_inference.backends.registry import open_backend

_PERIOD_S, _BLOCKS, _HOT_CALLS, _TURNS = 0.02, 10, 500, 50


class NativeTick:
    """A native controller in RUN; time moves by one period per tick."""

    def __init__(self, bundle: JointBundle, model: OnnxModel) -> None:
        """Let it stand up on a robot that is where it is commanded to be."""
        contract = bundle.contract
        backend, _ = open_backend(bundle, ["onnx"])
        limits = limits_in_force(contract, StricterLimits())
        reference = joint_controller(bundle, backend, limits, lambda: 0)
        self._now_ns, self._period_ns = 0, contract.period_ns
        self._native = NativeController(
            plan_bytes(reference.plan(), bytes.fromhex(bundle.sha256)),
            {"": model},
            lambda: self._now_ns,
        )
        self._inputs = [place for place, name in enumerate(reference.inputs) if name != "cmd_vel"]
        flat, fields = self._native.flat(), reference.state.slices
        flat[:] = 0.0
        flat[fields["joint_pos"]] = contract.stand.position
        flat[fields["quat_xyzw"]] = (0.0, 0.0, 0.0, 1.0)
        backend.close()
        self()
        self._native.stand()
        while self() == Mode.STAND:
            pass
        _, block = self._native.tick(self._now_ns, self._now_ns + self._period_ns)
        flat[fields["joint_pos"]] = block[0]
        self._native.run()
        for _ in range(100):
            self()
        self.check()

    def __call__(self) -> int:
        """Tick with inputs that are new; return the mode."""
        self._now_ns = now_ns = self._now_ns + self._period_ns
        for place in self._inputs:
            self._native.accept(place, now_ns, now_ns, now_ns)
        mode: int = self._native.step(now_ns, now_ns + self._period_ns)
        return mode

    def check(self) -> None:
        """Raise BenchError if the policy does not run any more."""
        if (mode := self()) != Mode.RUN:
            raise BenchError(f"expected mode RUN, found {Mode(mode).name}")


def measure() -> list[Figure]:
    """Measure back to back and at 50 Hz, in turn with the baseline."""
    bundle = load_bundle(BUNDLE, kind=JointBundle)
    library = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    _, file = bundle.artifact("onnx")
    model, bare = (OnnxModel(str(library), file.read_bytes()) for _ in range(2))
    for each in (model, bare):
        for array in each.inputs.values():
            array[:] = np.zeros_like(array)
    tick = NativeTick(bundle, model)
    hot = partial(alternated, blocks=_BLOCKS)
    paced = partial(in_turns, blocks=_BLOCKS, turns=_TURNS, period_s=_PERIOD_S)
    figures = [
        hot(
            "native_tick_hot_ratio",
            timed(_HOT_CALLS, tick),
            timed(_HOT_CALLS, bare.run),
            wanted=1.5,
        ),
        paced("native_tick_paced_ratio", tick, bare.run, wanted=1.3),
    ]
    tick.check()
    return figures
