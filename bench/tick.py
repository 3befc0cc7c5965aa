# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cost of a tick in C++ without ROS, from the state to the targets, against inference alone.

The baseline is the C API of ONNX Runtime, called on bound buffers with the options of our back end.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import yaml

from bench.effort import Effort
from bench.figures import Figure, alternated, in_turns, timed
from bench.processes import BUNDLE, BenchError
from policy_core.bundle.bundle import SET_FILE, JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.state_fields import COMMAND
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import Mode
from policy_core.native_controller import NativeController
from policy_inference.backends.base import BackendBase
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.registry import open_backend
from policy_inference.kinds.joint import JointKind
from policy_inference.kinds.opening import NATIVE, B, OpenRequest, PolicyKind
from policy_inference.kinds.policy_set import SetKind

_PERIOD_S = 0.02
_BLOCKS, _PROTOCOL_BLOCKS, _HOT_CALLS, _TURNS = 10, 40, 500, 30
_MEMBERS = {"walk": "lite3_walk", "crouch": "lite3_crouch", "low": "lite3_crouch"}
REQUEST = OpenRequest(
    bundle=str(BUNDLE),
    public_key="",
    backends=["onnx"],
    options={},
    stricter_limits=StricterLimits(),
    output="joint_command",
    loop=NATIVE,
)


class NativeTick:
    """A native controller in RUN; time advances by one period per tick."""

    def __init__(self, kind: PolicyKind[B], bundle: B) -> None:
        """Open a bundle, and stand up on a robot that is at its commanded position."""
        contract = bundle.contract
        self._now_ns, self._period_ns = 0, contract.period_ns
        limits = limits_in_force(contract, StricterLimits())
        opened = kind.open(REQUEST, {}, bundle, limits, lambda: self._now_ns)
        controller = opened.controller
        if not isinstance(controller, NativeController):
            raise BenchError("policy_core_native is not built")
        self._native, self.close = controller.native, opened.models.close
        self._inputs = [place for place, name in enumerate(controller.inputs) if name != COMMAND]
        state = controller.state
        state.flat[:] = 0.0
        state["joint_pos"][:] = contract.stand.position
        state["quat_xyzw"][:] = 0.0, 0.0, 0.0, 1.0
        self()
        controller.stand()
        while self() == Mode.STAND:
            pass
        targets = controller.tick(self._now_ns, self._now_ns + self._period_ns)
        assert targets is not None
        # joints at their commanded positions never need too much torque
        state["joint_pos"][:] = targets.block[0]
        controller.run()
        for _ in range(100):
            self()
        self.check()

    def __call__(self) -> int:
        """Tick with new inputs; return the mode."""
        self._now_ns = now_ns = self._now_ns + self._period_ns
        for place in self._inputs:
            self._native.accept(place, now_ns, now_ns, now_ns)
        mode: int = self._native.step(now_ns, now_ns + self._period_ns)
        return mode

    def check(self) -> None:
        """Raise BenchError if the policy no longer runs."""
        if (mode := self()) != Mode.RUN:
            raise BenchError(f"expected mode RUN, found {Mode(mode).name}")


class BareCall:
    """The runtime's bare call, on buffers that are bound once."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        _, file = load_bundle(BUNDLE, kind=JointBundle).artifact("onnx")
        self._session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        (source,), (sink,) = self._session.get_inputs(), self._session.get_outputs()
        # the binding only knows their addresses
        self._arrays = [np.zeros(node.shape, np.float32) for node in (source, sink)]
        into, out = self._arrays
        self._binding = self._session.io_binding()
        self._binding.bind_input(source.name, "cpu", 0, into.dtype, into.shape, into.ctypes.data)
        self._binding.bind_output(sink.name, "cpu", 0, out.dtype, out.shape, out.ctypes.data)

        self.run = partial(self._session.run_with_iobinding, self._binding)
        """Run the model once."""


def measure(effort: Effort) -> list[Figure]:
    """Measure back to back and at 50 Hz, alternating with the C API's bare call."""
    bundle = load_bundle(BUNDLE, kind=JointBundle)
    backend, _ = open_backend(bundle, ["onnx"])
    assert isinstance(backend, OnnxBackend)
    bare, tick = backend.native_model(), NativeTick(JointKind(), bundle)
    with tempfile.TemporaryDirectory() as folder:
        of_three = NativeTick(SetKind(), _set_of_three(Path(folder)))
    blocks = effort.count(_BLOCKS)
    hot = partial(alternated, blocks=blocks)
    paced = partial(in_turns, blocks=blocks, turns=_TURNS, period_s=_PERIOD_S)
    figures = [
        _protocol(backend, effort),
        hot("tick_hot_ratio", timed(_HOT_CALLS, tick), timed(_HOT_CALLS, bare.run), wanted=1.5),
        paced("tick_paced_ratio", tick, bare.run, wanted=1.3),
        paced("set_paced_ratio", of_three, tick, wanted=1.1),
    ]
    for each in (tick, of_three):
        each.check()
        each.close()
    backend.close()
    return figures


def _set_of_three(folder: Path) -> SetBundle:
    """Write a set in which one policy commands while two others are followed; return the set."""
    walk, *others = _MEMBERS
    bundles = {name: load_bundle(BUNDLE.with_name(of)) for name, of in _MEMBERS.items()}
    content = {
        "schema_version": 1,
        "kind": "set",
        "name": "three",
        "version": "1.0.0",
        "description": "Three policies, of which the first one walks.",
        "members": {
            name: {"bundle": str(each.path), "sha256": each.sha256, "starts": "followed"}
            for name, each in bundles.items()
        },
        "initial": walk,
        "states": {
            walk: {"members": [walk], "stand": True, "to": {name: {} for name in others}},
            **{
                name: {"members": [name], "to": {walk: {}}, "way_back": walk, "fallback": walk}
                for name in others
            },
        },
    }
    (folder / SET_FILE).write_text(yaml.safe_dump(content))
    return load_bundle(folder, kind=SetBundle)


def _protocol(backend: BackendBase, effort: Effort) -> Figure:
    """Time that the back-end protocol adds to the runtime's call in Python."""
    return alternated(
        "protocol_added_us",
        timed(_HOT_CALLS, backend.run),
        timed(_HOT_CALLS, BareCall().run),
        blocks=effort.count(_PROTOCOL_BLOCKS),
        wanted=2.0,
    )
