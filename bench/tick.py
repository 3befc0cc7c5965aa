# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a tick costs without ROS: from numpy sensor arrays to numpy command, against inference.

The baseline is ONNX Runtime alone, called on bound buffers with the options of our backend.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import yaml

from bench.figures import Figure, alternated, in_turns, timed
from bench.processes import BUNDLE, BenchError
from policy_core.bundle.bundle import SET_FILE, JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import Mode, ShadowMode
from policy_inference.backends.registry import open_backend
from policy_inference.flight.ring import Ring
from policy_inference.kinds.joint import JointKind
from policy_inference.kinds.kind import PolicyKind
from policy_inference.kinds.opening import B, OpenRequest
from policy_inference.kinds.policy_set import SetKind
from policy_inference.shadow.shadow_process import ShadowProcess
from policy_inference.shadow.shadowed_member import ShadowQuestion

_PERIOD_S, _RING_TICKS = 0.02, 1150
_WIRE = (b"joint_states", b"imu/data", None)
_BLOCKS, _PROTOCOL_BLOCKS, _HOT_CALLS, _TURNS = 10, 40, 500, 50
_MEMBERS = {"walk": "lite3_walk", "crouch": "lite3_crouch", "low": "lite3_crouch"}
_REQUEST = OpenRequest(
    bundle=str(BUNDLE),
    public_key="",
    backends=["onnx"],
    options={},
    stricter_limits=StricterLimits(),
    output="joint_command",
)
_OTHER_MEMORY = np.ones(1 << 20)
"""8 MB."""


class WholeTick:
    """A controller in RUN that is fed from numpy arrays; time moves by one period per tick."""

    def __init__(
        self,
        kind: PolicyKind[B],
        bundle: B,
        *,
        recorded: bool = False,
        shadowed: JointBundle | None = None,
    ) -> None:
        """Open a bundle and let it stand up.

        Args:
            kind: Of the bundle.
            bundle: A joint policy, or a set of them.
            recorded: Whether the flight recorder's ring keeps each tick.
            shadowed: The same bundle, where a shadow of it is asked about each tick.
        """
        contract = bundle.contract
        self._now_ns, self._period_ns = 0, contract.period_ns
        limits = limits_in_force(contract, StricterLimits())
        opened = kind.open(_REQUEST, {}, bundle, limits, self._clock)
        self._requests = opened.switching.requests if opened.switching else None
        self._controller = opened.controller
        self._models = opened.models
        self._ring = (
            Ring(self._controller.latest_tick, opened.tap, _RING_TICKS) if recorded else None
        )
        opened.tap.show(self._ring)
        self._shadow = (
            ShadowProcess(_REQUEST, shadowed, self._controller.state, ShadowMode.FOLLOWED)
            if shadowed is not None
            else None
        )
        if self._shadow is not None:
            self._shadow.start()
        names, state = contract.joints.on_robot(), self._controller.state
        self._sensors = [
            (state["joint_pos"], contract.stand.position),
            (state["joint_vel"], np.zeros(len(names))),
            (state["quat_xyzw"], np.array([0.0, 0.0, 0.0, 1.0])),
            (state["ang_vel_body"], np.zeros(3)),
        ]
        self._inputs = [self._controller.inputs[name] for name in ("joint_states", "imu/data")]
        self._command = np.zeros((6, len(names)))
        self._stand_up()

    def _clock(self) -> int:
        return self._now_ns

    def _stand_up(self) -> None:
        self()
        self._controller.stand()
        for _ in range(1000):
            self()
            if self._controller.mode is Mode.READY:
                break
        # Joints at their commanded positions never need too much torque.
        self._sensors[0] = (self._sensors[0][0], self._command[0])
        self._controller.run()
        for _ in range(100):
            self()
        self.check()

    def __call__(self) -> None:
        """Take the sensors up, tick, and take the command."""
        self._now_ns = now_ns = self._now_ns + self._period_ns
        for field, values in self._sensors:
            field[:] = values
        for entry in self._inputs:
            entry.accept(now_ns, now_ns, now_ns)
        targets = self._controller.tick(now_ns, now_ns + self._period_ns)
        assert targets is not None
        self._command[:] = targets.block
        if self._requests is not None:
            self._requests.tick(now_ns)
        if self._ring is not None:
            tick = self._controller.latest_tick
            tick.send(targets, 0, stamp_ns=now_ns, duration_ns=0)
            self._ring.record(tick, _WIRE)
        if self._shadow is not None:
            self._shadow.take()
            tick = self._controller.latest_tick
            if tick.mode is Mode.RUN:
                self._shadow.give(0, ShadowQuestion(tick.state.flat, tick.target, tick.begins))

    def close(self) -> None:
        """End the shadow, and close the models."""
        if self._shadow is not None:
            self._shadow.close()
        self._models.close()

    def check(self) -> None:
        """Raise BenchError if the policy does not run any more."""
        snapshot = self._controller.snapshot()
        if snapshot.mode is not Mode.RUN:
            raise BenchError(f"expected mode RUN, found {snapshot.mode.name}: {snapshot.reason}")


class BareCall:
    """The runtime's call on buffers that are bound once."""

    def __init__(self) -> None:
        """Open the same model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        _, file = load_bundle(BUNDLE, kind=JointBundle).artifact("onnx")
        self._session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        (source,), (sink,) = self._session.get_inputs(), self._session.get_outputs()
        # The binding knows their addresses only.
        self._arrays = [np.zeros(node.shape, np.float32) for node in (source, sink)]
        into, out = self._arrays
        self._binding = self._session.io_binding()
        self._binding.bind_input(source.name, "cpu", 0, into.dtype, into.shape, into.ctypes.data)
        self._binding.bind_output(sink.name, "cpu", 0, out.dtype, out.shape, out.ctypes.data)

        self.run = partial(self._session.run_with_iobinding, self._binding)
        """Runs the model once."""


def measure() -> list[Figure]:
    """Measure back to back, with empty caches and at 50 Hz, in turn with the baseline."""
    bundle, bare = load_bundle(BUNDLE, kind=JointBundle), BareCall()
    kind = JointKind()
    tick, recorded = WholeTick(kind, bundle), WholeTick(kind, bundle, recorded=True)
    shadowed = WholeTick(kind, bundle, shadowed=bundle)
    with tempfile.TemporaryDirectory() as folder:
        of_three = WholeTick(SetKind(), _set_of_three(Path(folder)))
    hot = partial(alternated, blocks=_BLOCKS)
    cold = partial(in_turns, blocks=_BLOCKS, turns=_TURNS)
    paced = partial(cold, period_s=_PERIOD_S)
    figures = [
        _protocol(bare),
        hot("tick_hot_ratio", timed(_HOT_CALLS, tick), timed(_HOT_CALLS, bare.run), wanted=4.0),
        cold("tick_cold_ratio", tick, bare.run, wanted=4.0, before=_empty_caches),
        paced("tick_paced_ratio", tick, bare.run, wanted=2.5),
        hot(
            "flight_added_hot_us",
            timed(_HOT_CALLS, recorded),
            timed(_HOT_CALLS, tick),
            wanted=5.0,
            added=True,
        ),
        paced("flight_added_paced_us", recorded, tick, wanted=25.0, added=True),
        paced("shadow_added_paced_us", shadowed, tick, wanted=25.0, added=True),
        paced("set_paced_ratio", of_three, tick, wanted=1.1),
    ]
    for each in (tick, recorded, shadowed, of_three):
        each.check()
        each.close()
    return figures


def _set_of_three(folder: Path) -> SetBundle:
    """Return a set of three policies, of which two are followed, after writing it there."""
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


def _protocol(bare: BareCall) -> Figure:
    """What the protocol adds to the runtime's call."""
    backend, _ = open_backend(load_bundle(BUNDLE, kind=JointBundle), ["onnx"])
    ours, baseline = timed(_HOT_CALLS, backend.run), timed(_HOT_CALLS, bare.run)
    figure = alternated(
        "protocol_added_us", ours, baseline, blocks=_PROTOCOL_BLOCKS, wanted=2.0, added=True
    )
    backend.close()
    return figure


def _empty_caches() -> None:
    """Work on other memory, more of it than the caches of a core hold."""
    _OTHER_MEMORY.sum()
