# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Time that the flight recorder and a shadow add to a node's ticks, which do not wait for them.

One node runs, and its observers are switched on and off: with two nodes, differences in memory
layout would matter more.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor

from bench.effort import Effort
from bench.figures import Figure, Summary, summarise
from bench.nodes import stream_sensors
from bench.processes import BUNDLE, BenchError, patient_bundle
from bench.robot import upright_robot
from bench.tick import REQUEST
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.control.tick import Tick
from policy_core.interfaces import Mode, ShadowMode
from policy_inference.flight.ring import Ring
from policy_inference.kinds.opening import NATIVE
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from policy_inference.nodes.tick_observer import TickObserver
from policy_inference.shadow.shadow_process import ShadowProcess
from policy_inference.shadow.shadowed_member import ShadowQuestion

_NAMESPACE, _RING_TICKS = "/observed", 1150
_BLOCKS, _BLOCK_S = 40, 0.3
_WIRE = (b"joint_states", b"imu/data", None)


class _Switched(TickObserver):
    """Records how long ticks take; feeds the ticks to the recorder or a shadow, if switched on."""

    def __init__(self, node: JointPolicyNode) -> None:
        policy = node.policy
        self._tap = policy.tap
        self._ring = Ring(policy.controller.latest_tick, policy.tap, _RING_TICKS)
        shadowed = load_bundle(BUNDLE, kind=JointBundle)
        state = policy.controller.state
        self._shadow = ShadowProcess(REQUEST, shadowed, state, ShadowMode.FOLLOWED)
        self._shadow.start()
        self.what = ""
        self.took_us = list[float]()

    def observe(self, tick: Tick) -> None:
        self.took_us.append(tick.duration_ns * 1e-3)
        if tick.mode is not Mode.RUN:
            return
        if self.what == "flight":
            self._ring.record(tick, _WIRE)
        if self.what == "shadow":
            self._shadow.take()
            self._shadow.give(0, ShadowQuestion(tick.state.flat, tick.target, tick.begins))

    def switch(self, what: str) -> None:
        """Switch on the flight recorder, the shadow, or nothing."""
        self.what = what
        self._tap.show(self._ring if what == "flight" else None)
        self.took_us.clear()

    def close(self) -> None:
        self._shadow.close()


@contextmanager
def _node(bundle: Path) -> Iterator[JointPolicyNode]:
    settings = {"bundle": bundle, "flight.duration_s": 0.0}
    words = [word for name, value in settings.items() for word in ("-p", f"{name}:={value}")]
    rclpy.init(args=["--ros-args", "-r", f"__ns:={_NAMESPACE}", *words])
    node, executor = JointPolicyNode(), SingleThreadedExecutor()
    executor.add_node(node)
    spinning = threading.Thread(target=executor.spin, daemon=True)
    try:
        node.trigger_configure()
        node.trigger_activate()
        spinning.start()
        yield node
    finally:
        node.halt()
        executor.shutdown()
        spinning.join()
        node.leave()
        node.destroy_node()
        rclpy.shutdown()


def measure(effort: Effort) -> list[Figure]:
    """Measure ticks at 50 Hz in alternating blocks: alone, recorded, shadowed."""
    took = {"": list[Summary](), "flight": list[Summary](), "shadow": list[Summary]()}
    with (
        patient_bundle() as bundle,
        upright_robot(_NAMESPACE) as robot,
        _node(bundle) as node,
    ):
        if node.loop.name != NATIVE:
            raise BenchError("the loop of the node is not native")
        switched = _Switched(node)
        node.observer.add(switched)
        robot.bring_to_run()
        for _ in range(effort.count(_BLOCKS)):
            for what, summaries in took.items():
                switched.switch(what)
                stream_sensors([robot], _BLOCK_S, effort)
                summaries.append(summarise(switched.took_us))
        if node.controller.mode is not Mode.RUN:
            raise BenchError(f"expected mode RUN, found {node.controller.mode.name}")
    alone = took[""]
    return [
        Figure(name="flight_added_us", unit="us", ours=took["flight"], baseline=alone, wanted=3.0),
        Figure(name="shadow_added_us", unit="us", ours=took["shadow"], baseline=alone, wanted=5.0),
    ]
