# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The real policy node on a virtual host: rclpy, threads, clocks and the model are replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from rclpy.task import Future

from policy_core.bundle.bundle import Bundle, JointBundle
from policy_core.bundle.contract import Model
from policy_core.control.tick import Tick
from policy_core.errors import BackendError, PolicyError
from policy_core.guard.limits import Limits
from policy_inference.backends.registry import OpenedModels
from policy_inference.kinds import joint, parity
from policy_inference.kinds.joint import JointKind
from policy_inference.kinds.opening import OpenedPolicy, OpenRequest
from policy_inference.kinds.policy_set import SetKind
from policy_inference.nodes import (
    control_loop,
    loading,
    policy_node,
    replacing,
    sampling,
)
from policy_inference.nodes.control_loop import ControlLoop
from policy_inference.nodes.loading import LoadService
from policy_inference.nodes.policy_node import PolicyNode
from policy_inference.nodes.settings import PARAMETERS
from policy_inference.nodes.status import StatusReporter
from policy_inference.nodes.switching import SwitchReports, serve_switches
from tools.chaos.node import VirtualLogger, VirtualNode
from tools.chaos.steps import ChaosStep
from tools.chaos.timeline import NS_PER_S, VirtualClock, VirtualTimeline

_OPENING_NS = (NS_PER_S // 5, 2 * NS_PER_S)
_WILD = 60.0


class FaultyModel:
    """A back end with the scene's faults; without faults, it computes a few sines."""

    name = "cheap"

    def __init__(self, scene: Scene, policy: str, model: Model) -> None:
        self._scene, self._policy, self.details = scene, policy, dict[str, str]()
        self.inputs = {each.name: each.empty() for each in model.input_specs}
        self.outputs = {each.name: each.empty() for each in model.output_specs}
        self._given: Any
        self._answer: Any
        (self._given,), (self._answer,) = self.inputs.values(), self.outputs.values()

    def run(self) -> None:
        faults = self._scene.during_run(self._policy)
        given = self._given.reshape(-1)[: self._answer.size]
        np.sin(given + 0.3, out=self._answer.reshape(-1))
        self._answer *= 0.5
        for fault in faults:
            if fault == "error":
                raise BackendError("the device is gone")
            if fault in ("nan", "infinite"):
                self._answer.reshape(-1)[3] = float(fault[:3])
            elif fault == "wild":
                self._answer *= -_WILD if self._scene.runs % 2 else _WILD

    def warm_up(self) -> None:
        """Do nothing, so that no fault of the model keeps a node from starting."""

    def close(self) -> None:
        """Do nothing, because nothing is open."""

    def problem(self) -> str:
        return ""


class Scene:
    """The environment of the policy node's computer.

    Attributes:
        clock: Clock of that computer.
        model_faults: The model's current faults.
        runs: Number of runs of the model.
        press, ticked: Called to press the e-stop while the model runs; called with each tick.
    """

    def __init__(
        self, timeline: VirtualTimeline, clock: VirtualClock, chance: Random, core: str
    ) -> None:
        self.timeline, self.clock, self.chance, self.core = timeline, clock, chance, core
        self.model_faults = list[ChaosStep]()
        self.press: Callable[[], object] = lambda: None
        self.ticked: Callable[[Tick], object] = lambda tick: None
        self.runs = 0

    def during_run(self, policy: str) -> list[str]:
        """Apply the faults that act while a policy's model runs; return all faults of the model."""
        self.runs += 1
        faults = list[str]()
        for fault in self.model_faults:
            only, _, name = fault.target.rpartition(":")
            if only not in ("", policy):
                continue
            faults.append(name)
            if name == "slow":
                self.clock.busy_ns += round(fault.value * NS_PER_S)
            elif name == "estop":
                self.press()
        return faults


class ChaosKind(JointKind):
    """Joint policies without golden rows, which a model with faults could not reproduce."""

    def golden_rows(self, bundle: JointBundle) -> Any:
        """Read nothing."""

    def require_enough(self, bundle: JointBundle, rows: Any) -> None:
        """Accept any rows."""

    def open_proven(
        self,
        request: OpenRequest,
        bundle: JointBundle,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedPolicy[JointBundle]:
        return self.open(request, request.backend_options, bundle, limits, clock)


class ChaosSetKind(SetKind):
    """Sets of `ChaosKind` policies."""

    def __init__(self) -> None:
        self._kinds = (ChaosKind(),)


class _Loop(ControlLoop):
    """The control loop without its thread."""

    def start(self) -> None:
        self.ticks = self.missed = 0
        self._begin()
        self._pacer.start()

    def turn(self) -> None:
        """Do what the real thread does at a deadline, but let errors end the run."""
        self._run_once()


class _NodeReports:
    """Replaces the thread that publishes between ticks, since nothing would read its messages."""

    def __init__(self, *_: object) -> None:
        """Keep nothing."""

    def start(self) -> None:
        """Start nothing."""

    def stop(self) -> bool:
        return True


class _Reporter(StatusReporter):
    def _make_health(self, policy: OpenedPolicy[Any]) -> Any:
        return SimpleNamespace(start=lambda: None, close=lambda: None, telemetry={})


class _Loads(LoadService):
    """Opens a policy on the timeline instead of on a thread."""

    _node: ChaosNode
    _busy = False

    @property
    def _opens(self) -> bool:
        return self._busy

    def _begin(self, request: OpenRequest) -> Future:
        if self._opens:
            return super()._begin(request)  # which refuses it
        future = self._future = Future()
        self._busy, scene = True, self._node.scene

        def end() -> None:
            self._busy = False
            self._open(request, future)
            self._node.go_on()

        scene.timeline.after(scene.chance.randrange(*_OPENING_NS), end)
        return future

    def _close(self, *closers: Callable[[], object]) -> None:
        for close in closers:
            close()


class ChaosNode(PolicyNode, VirtualNode):
    """A policy node for one joint policy or for a set of them.

    Attributes:
        waiting: Functions that continue pending requests.
    """

    def __init__(
        self,
        scene: Scene,
        send: Callable[[str, Any], object],
        kind: ChaosKind | ChaosSetKind,
    ) -> None:
        self.scene, self.send, self._chaos_kind = scene, send, kind
        self.waiting = list[Callable[[], bool]]()
        super().__init__("joint_policy_node", PARAMETERS)
        self._values |= {"bundle": "first", "backend": "onnx", "realtime.loop": scene.core}

    def get_logger(self) -> Any:
        return VirtualLogger(self.scene.timeline.weigh)

    def find_kind(self, values: Mapping[str, Any]) -> ChaosKind | ChaosSetKind:
        return self._chaos_kind

    def _native_loop(self, values: Mapping[str, Any]) -> None:
        """Return None, so that the node ticks in the loop without a thread."""

    def _attach_observers(self, policy: OpenedPolicy[Any], group: Any, values: Any) -> None:
        """Attach the observers that a set needs; the scene itself observes each tick."""
        if policy.switching is not None:
            self.observer.add(SwitchReports(policy, self.get_logger()))
            serve_switches(self, self._switch, self.report)

    def _show(self) -> None:
        self.scene.ticked(self.controller.latest_tick)
        super()._show()

    def apply_realtime(self) -> None:
        """Do nothing, because the virtual node needs no real-time settings."""

    def report(self) -> None:
        """Publish nothing, because the scenario sends the mode to the operator."""

    def begin(self) -> None:
        """Configure and activate."""
        self.set_up()
        self.configured = self.running = True
        self.start()

    def turn(self) -> int:
        """Tick if due; return the time of the next tick, on the steady clock."""
        assert isinstance(self.loop, _Loop)
        self.loop.turn()
        return int(self._pacer._deadline_ns)

    def go_on(self) -> None:
        waiting, self.waiting = self.waiting, []
        self.waiting += [each for each in waiting if each()]


@contextmanager
def virtual_host(scene: Scene, bundles: Mapping[str, Bundle]) -> Iterator[None]:
    """Replace clock, loop, model and bundles with virtual ones in the node's modules."""

    def load_asked(kind: Any, request: OpenRequest, sha256: str | None = None) -> Bundle:
        if request.bundle not in bundles:
            raise PolicyError(f"{request.bundle}: expected a bundle, found nothing")
        return bundles[request.bundle]

    def opened_models(request: Any, options: Any, bundle: JointBundle, limits: Any) -> OpenedModels:
        model: Any = FaultyModel(scene, bundle.contract.name, bundle.contract.model)
        return OpenedModels({"": model}, ())

    time = {"time": scene.clock}
    loop = {
        "ControlLoop": _Loop,
        "BetweenTicks": _NodeReports,
        "StatusReporter": _Reporter,
        "LoadService": _Loads,
    }
    places: list[tuple[Any, dict[str, Any]]] = [
        (control_loop, time),
        (policy_node, time | loop),
        (sampling, {"take_message": lambda handle, message: handle.take_message(message, True)}),
        (loading, {"gc": SimpleNamespace(collect=lambda: 0), "load_asked": load_asked}),
        (joint, {"_opened_models": opened_models}),
        (parity, {"require_parity": lambda *_: None}),
        (replacing, {"load_asked": load_asked, "rehearse": lambda *_: ""}),
    ]
    with ExitStack() as stack:
        for module, names in places:
            stack.enter_context(patch.multiple(module, **names))
        yield
