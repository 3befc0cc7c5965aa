# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The policy node as it is, with everything below it virtual: rclpy, threads, clocks, the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from rclpy.task import Future

from policy_core.bundle.bundle import JointBundle
from policy_core.control.controller import Controller
from policy_core.control.tick import Tick
from policy_core.errors import BackendError, PolicyError
from policy_core.guard.limits import Limits
from policy_core.interfaces import Tensor
from policy_core.members.joint import joint_controller
from policy_inference.backends.registry import OpenedModels, Options
from policy_inference.flight.ring import Ring
from policy_inference.flight.tap import NativeTap, Tap
from policy_inference.kinds.joint import JointKind
from policy_inference.kinds.opening import OpenedPolicy, OpenRequest, native_controller
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
from policy_inference.nodes.tick_observer import TickObserver
from tools.chaos.node import NoLogger, VirtualNode
from tools.chaos.steps import ChaosStep
from tools.chaos.timeline import NS_PER_S, VirtualClock, VirtualTimeline

CHEAP, ONNX = "cheap", "onnx"
_OPENING_NS = (NS_PER_S // 5, 2 * NS_PER_S)
_WILD = 60.0


class FaultyModel:
    """A back end that does what its faults say; the cheap one is a few sines."""

    def __init__(self, scene: Scene, bundle: JointBundle, under: Any) -> None:
        self._scene, self._under = scene, under
        self.name, self.details = "cheap", dict[str, str]()
        model = bundle.contract.model
        self.inputs: Mapping[str, Tensor] = {each.name: each.empty() for each in model.input_specs}
        self.outputs: Mapping[str, Tensor] = {
            each.name: each.empty() for each in model.output_specs
        }
        if under is not None:
            self.inputs, self.outputs = under.inputs, under.outputs
        self._given: Any
        self._answer: Any
        (self._given,), (self._answer,) = self.inputs.values(), self.outputs.values()

    def run(self) -> None:
        self._scene.during_run()
        if self._under is None:
            given = self._given.reshape(-1)[: self._answer.size]
            np.sin(given + 0.3, out=self._answer.reshape(-1))
            self._answer *= 0.5
        else:
            self._under.run()
        for fault in self._scene.model_faults:
            if fault.target == "error":
                raise BackendError("the device is gone")
            if fault.target in ("nan", "infinite"):
                self._answer.reshape(-1)[3] = float(fault.target[:3])
            elif fault.target == "wild":
                self._answer *= -_WILD if self._scene.is_odd() else _WILD

    def close(self) -> None:
        if self._under is not None:
            self._under.close()

    def problem(self) -> str:
        return ""


class Scene:
    """What the host has around it.

    Attributes:
        clock: Of its computer.
        model_faults: Those of now.
        bundles: What can be loaded, by name.
        ticked: Called after each tick.
    """

    def __init__(
        self,
        timeline: VirtualTimeline,
        clock: VirtualClock,
        bundles: Mapping[str, JointBundle],
        chance: Random,
        *,
        core: str,
        model: str,
    ) -> None:
        self.timeline, self.clock, self.bundles, self.chance = timeline, clock, bundles, chance
        self.core, self.model = core, model
        self.model_faults = list[ChaosStep]()
        self.press: Callable[[], object] = lambda: None
        self.ticked: Callable[[Tick], object] = lambda tick: None
        self._runs = 0

    def during_run(self) -> None:
        self._runs += 1
        for fault in self.model_faults:
            if fault.target == "slow":
                self.clock.busy_ns += round(fault.value * NS_PER_S)
            elif fault.target == "estop":
                self.press()

    def is_odd(self) -> bool:
        return self._runs % 2 == 1


class ChaosKind(JointKind):
    """Joint policies whose model has faults."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def open(
        self,
        request: OpenRequest,
        options: Options,
        bundle: JointBundle,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedPolicy[JointBundle]:
        """Open a bundle as JointKind does, with a model that may fail."""
        under = None
        if self._scene.model == ONNX:
            under = super().open(request, options, bundle, limits, clock).models.first
        model: Any = FaultyModel(self._scene, bundle, under)
        python_tap = Tap(model)
        native = native_controller(request.loop, {"": model}, bundle.sha256)
        controller = joint_controller(
            bundle,
            python_tap,
            limits,
            clock,
            make=lambda *arguments: native(*arguments) or Controller(*arguments),
        )
        is_native = type(controller) is not Controller
        tap = NativeTap(controller) if is_native else python_tap  # type: ignore[arg-type]
        return OpenedPolicy(
            request=request,
            bundle=bundle,
            limits=limits,
            models=OpenedModels({"": model}, ()),
            tap=tap,
            controller=controller,
        )

    def open_proven(
        self,
        request: OpenRequest,
        bundle: JointBundle,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedPolicy[JointBundle]:
        """Open it without golden rows: the model is one that fails."""
        return self.open(request, request.backend_options, bundle, limits, clock)


class _Loop(ControlLoop):
    """The control loop without its thread."""

    def start(self) -> None:
        self.ticks = self.missed = 0
        self._begin()
        self._pacer.start()

    def turn(self) -> None:
        """Do what the thread does at a deadline."""
        try:
            self._run_once()
        except BaseException as error:  # noqa: BLE001  as ControlLoop._run
            self._failed(error)


class _NodeReports:
    """No thread between ticks: what it would publish has no reader."""

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
    """Opens a policy on the timeline instead of a thread."""

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


class EventRecorder(TickObserver):
    """The ring of a flight recorder, whose newest tick is shown to the invariants."""

    def __init__(self, scene: Scene, policy: OpenedPolicy[Any]) -> None:
        self._scene = scene
        self._show(policy)

    def _show(self, policy: OpenedPolicy[Any]) -> None:
        self.policy = policy
        self.ring = Ring(policy.controller.latest_tick, policy.tap, 4, state_every=1 << 60)
        policy.tap.show(self.ring)

    def observe(self, tick: Tick) -> None:
        self.ring.record(tick, ())
        self._scene.ticked(tick)

    def adopt(self, policy: Any, prepared: Any) -> Callable[[], object]:
        self._show(policy)
        return lambda: None


class ChaosNode(PolicyNode, VirtualNode):
    """A policy node of one joint policy.

    Attributes:
        waiting: What goes on with requests that await something.
    """

    def __init__(self, scene: Scene, send: Callable[[str, Any], object]) -> None:
        self.scene, self.send = scene, send
        self.waiting = list[Callable[[], bool]]()
        super().__init__("joint_policy_node", PARAMETERS)
        self._values |= {"bundle": "first", "backend": "onnx", "realtime.loop": scene.core}

    def get_logger(self) -> Any:
        return NoLogger()

    def find_kind(self, values: Mapping[str, Any]) -> ChaosKind:
        return ChaosKind(self.scene)

    def _native_loop(self, values: Mapping[str, Any]) -> None:
        """Tick in the loop whose thread is replaced."""

    def _attach_observers(self, policy: OpenedPolicy[Any], group: Any, values: Any) -> None:
        self.recorder = EventRecorder(self.scene, policy)
        self.observer.add(self.recorder)

    def apply_realtime(self) -> None:
        """Ask the machine for nothing."""

    def report(self) -> None:
        """Publish nothing: the scenario sends the mode to the operator."""

    def begin(self) -> None:
        """Configure and activate."""
        self.set_up()
        self.configured = self.running = True
        self.start()

    def turn(self) -> int:
        """Tick if a tick is due; return when the next one is, on the steady clock."""
        assert isinstance(self.loop, _Loop)
        self.loop.turn()
        return int(self._pacer._deadline_ns)

    def go_on(self) -> None:
        waiting, self.waiting = self.waiting, []
        self.waiting += [each for each in waiting if each()]


@contextmanager
def virtual_host(clock: VirtualClock, bundles: Mapping[str, JointBundle]) -> Iterator[None]:
    """Put the virtual clock, loop and bundles where the modules of the node find theirs."""

    def load_asked(kind: Any, request: OpenRequest, sha256: str | None = None) -> JointBundle:
        if request.bundle not in bundles:
            raise PolicyError(f"{request.bundle}: expected a bundle, found nothing")
        return bundles[request.bundle]

    places: list[tuple[Any, dict[str, Any]]] = [
        (control_loop, {"time": clock}),
        (
            policy_node,
            {
                "time": clock,
                "ControlLoop": _Loop,
                "BetweenTicks": _NodeReports,
                "StatusReporter": _Reporter,
                "LoadService": _Loads,
            },
        ),
        (sampling, {"take_message": lambda handle, message: handle.take_message(message, True)}),
        (loading, {"gc": SimpleNamespace(collect=lambda: 0), "load_asked": load_asked}),
        (replacing, {"load_asked": load_asked, "rehearse": lambda *_: ""}),
    ]
    with ExitStack() as stack:
        for module, names in places:
            stack.enter_context(patch.multiple(module, **names))
        yield
