# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node that runs policies: sense, tick, publish, answer, report, leave.

It runs a set; a single bundle is a set of one. The executables built on it differ in the kind of
bundle that they open and in their parameters.

Subscribes: what the policy's contract needs (best effort, depth 1); `estop` (std_msgs/Bool);
`authority` (std_msgs/Float64); the status of the driver that receives the commands
(policy_msgs/RobotStatus). Under `use_sim_time`: `/clock`.
Publishes: the chosen output (reliable, depth 1), `~/status` (policy_msgs/PolicyStatus, reliable,
transient local), `/diagnostics`.
Serves (std_srvs/Trigger): `~/stand`, `~/run`, `~/damp`, `~/estop`, `~/reset`; `~/load`
(policy_msgs/LoadBundle); `~/set_authority` (policy_msgs/SetAuthority).
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.duration import Duration
from rosgraph_msgs.msg import Clock as ClockMessage
from std_srvs.srv import Trigger

from policy_core.control.authority import AuthorityRequest
from policy_core.control.controller import Controller
from policy_core.errors import PolicyError, RefusedError
from policy_core.guard.bounds import Rule
from policy_core.interfaces import JointTargets, Mode
from policy_core.native_controller import NativeController
from policy_inference.kinds.opening import OpenedPolicy, OpenRequest, PolicyKind
from policy_inference.machine.scheduling import RealTime
from policy_inference.nodes import qos
from policy_inference.nodes.control_loop import (
    BetweenTicks,
    ControlLoop,
    DueTick,
    NativeLoop,
    Pacer,
    SimulatedPacer,
    TickWatch,
    TimerPacer,
    TriggerPacer,
)
from policy_inference.nodes.estop import EstopTopic
from policy_inference.nodes.lifecycle import LifecycleBase
from policy_inference.nodes.loading import STOPS, LoadService, has_trials, open_policy
from policy_inference.nodes.outputs import encoder_plan, open_output
from policy_inference.nodes.parameters import ParameterTable, Spec
from policy_inference.nodes.rclpy_gaps import MessageWaitSet, full_name
from policy_inference.nodes.requests import AuthorityRequests
from policy_inference.nodes.sampler import Sampler, subscribe
from policy_inference.nodes.sampling import Arrivals, Sampled, SampleGroup
from policy_inference.nodes.settings import TIMER
from policy_inference.nodes.status import DriverWatch, StatusReporter
from policy_inference.nodes.tick_observer import Prepared, RunTime, TickObservers

if TYPE_CHECKING:  # not needed by a node without takeovers
    from policy_inference.nodes.chunks import TakeoverReports

_LEAVING_TIMES = 3
_SIMULATED_TICK_S = 10.0
"""Time after which a tick in simulated time counts as hanging; the machine may be slow."""
_NOT_ACTIVE = "the node is not active; activate it first"
_ACKNOWLEDGED_WITHIN = Duration(seconds=1.0)
_REPORTED_WITHIN_S = 1.0


def _alone_in_cpp(policy: OpenedPolicy[Any]) -> NativeController | None:
    """Return the controller of a policy whose ticks need no Python; None for other policies.

    For a chunk policy, Python passes images and requests chunks within the ticks.
    """
    controller = policy.controller
    return controller if isinstance(controller, NativeController) and not policy.chunks else None


class PolicyNode(LifecycleBase):
    """Lifecycle node around a controller: samples inputs, runs ticks, publishes, reports."""

    kind: PolicyKind[Any]
    policy: OpenedPolicy[Any]
    controller: Controller
    sampler: Sampler
    driver: DriverWatch
    observer: TickObservers

    def __init__(self, name: str, specs: Sequence[Spec]) -> None:
        super().__init__(name)
        self.table = ParameterTable(self, specs, lambda: self.configured)
        self._closers = ExitStack()
        # `_publishing` is the innermost of three locks, see "Locks" in docs/architecture.md.
        self._publishing, self._reporting = threading.Lock(), threading.Lock()
        self._estop_pressed = False
        self._hangs = False
        self._stamp_ns = 0
        self._closed: OpenedPolicy[Any] | None = None
        self._judges_trials = False
        self._takeover: TakeoverReports | None = None
        self._load_service = LoadService(self)

    @abstractmethod
    def find_kind(self, values: Mapping[str, Any]) -> PolicyKind[Any]:
        """Return the kind that opens policies with these parameters."""

    @property
    def simulated_time(self) -> bool:
        return bool(self.get_parameter("use_sim_time").value)

    def _make_sampler(self, policy: OpenedPolicy[Any]) -> Sampler:
        names = policy.bundle.contract.joints.on_robot()
        if not policy.frames:
            return Sampler(self.topics, policy.controller, names)
        from policy_inference.nodes.chunks import CameraSampler

        return CameraSampler(self.topics, policy.controller, policy.frames, names)

    def _subscribe(self, group: SampleGroup, values: Mapping[str, Any]) -> dict[str, Sampled[Any]]:
        inputs, frames = self.controller.inputs, self.policy.frames
        stamped = values.get("stamped_command", False)
        if not frames:
            return subscribe(self, group, inputs, stamped_command=stamped)
        from policy_inference.nodes.chunks import subscribe_with_cameras

        return subscribe_with_cameras(
            self, group, inputs, frames, values["image_transport"], stamped_command=stamped
        )

    def _attach_observers(
        self, policy: OpenedPolicy[Any], group: SampleGroup, values: Mapping[str, Any]
    ) -> None:
        """Attach the observers that members and parameters require, importing each on demand.

        The shadow comes first, because its answers are recorded and it must see chunks before they
        are used up. The recorder comes before the trial, so that it records the tick in which the
        trial ends a run.
        """
        add, shadow = self.observer.add, None
        if values.get("shadow_bundle"):
            from policy_inference.nodes.shadow import NodeShadow

            shadow = NodeShadow(self, policy, values)
            add(shadow)
        if policy.switching is not None:
            from policy_inference.nodes.switching import SwitchReports, serve_switches

            add(SwitchReports(policy, self.get_logger()))
            self._closers.callback(serve_switches(self, self._switch, self.report).close)
        elif policy.chunks:
            from policy_inference.nodes.chunks import ChunkReports

            add(ChunkReports(self, policy))
        self._takeover = None
        if values.get("takeover"):
            from policy_inference.nodes.chunks import TakeoverReports

            self._takeover = TakeoverReports(self, policy, self.topics, values)
            add(self._takeover)
        if values.get("run_for_s"):
            add(RunTime(values["run_for_s"]))
        from policy_inference.nodes.flight import NodeRecorder

        add(NodeRecorder(self, group, self.topics, policy, values, shadow))
        self._judges_trials = False
        self._attach_trial(policy, policy.request.bundle)

    def _attach_trial(self, policy: OpenedPolicy[Any], bundle: str) -> None:
        """Attach the trial judge, unless it is already attached or the bundle has no trials."""
        if self._judges_trials or not has_trials(bundle):
            return
        from policy_inference.nodes.trial import NodeTrial

        self.observer.add(
            NodeTrial(
                self,
                policy,
                lambda: (self.reporter.telemetry, self.driver.drives_c),
                self._load,
                simulated_time=self.simulated_time,
            )
        )
        self._judges_trials = True

    def set_up(self) -> None:
        """Load the bundle, open the back end, create all entities; publish nothing."""
        values = self.table.read()
        self._realtime = RealTime.of(values)
        self.kind = self.find_kind(values)
        policy = self.policy = open_policy(
            self.kind, OpenRequest.of(values), self.now_ns, self.get_logger()
        )
        self._closers.callback(self._close_policy)
        self.controller = policy.controller
        if self._estop_pressed:
            self.controller.estop("pressed before the node was configured again")
        self._closers.callback(self._remember_estop)
        contract, group = policy.bundle.contract, SampleGroup()
        self.topics = self._subscribe(group, values)
        for sampled in self.topics.values():
            self._closers.callback(sampled.close)
        self.sampler = self._make_sampler(policy)
        self._output = open_output(self, values["output"], contract, values["command_valid_for_s"])
        self._closers.callback(self.destroy_publisher, self._output.publisher)
        self.driver = DriverWatch(
            self,
            self._output.publisher.topic_name,
            lambda reason: self.controller.driver_stopped(reason),
        )
        self._closers.callback(self.driver.close)
        self._pacer = self._make_pacer(values.get("trigger", TIMER), contract.period_ns, group)
        self.controller.set_authority(AuthorityRequest(values["authority"]))
        self.loop: ControlLoop | NativeLoop = self._native_loop(values) or ControlLoop(
            self._pacer, self.tick, self._failed
        )
        self._watch = TickWatch(self.loop, self._look_at_tick)
        self.observer = TickObservers()
        self._closers.callback(lambda: self.observer.close())
        self._attach_observers(policy, group, values)
        self.reporter = StatusReporter(
            self,
            policy,
            self.topics,
            self.loop,
            self._pacer,
            self.observer,
            self._topics_problem,
        )
        self._closers.callback(self.reporter.close)
        # Not by a timer of the executor, which would wake up in the middle of ticks.
        self._reports = BetweenTicks(
            self.loop,
            contract.period_ns * 1e-9,
            1.0 / values["status_rate_hz"],
            self._report_always,
        )
        self._create_requests(values)
        self._tell(policy)

    def _tell(self, policy: OpenedPolicy[Any]) -> None:
        for line in policy.models.skipped:
            self.get_logger().warning(line)
        self.get_logger().info(str(policy))
        if policy.bundle.contract.nominal is None:
            self.get_logger().warning(
                "the bundle has no `nominal`: only the contract's limits "
                "apply; steps and torques are not bounded"
            )
        for member in policy.chunks:
            self.get_logger().info(str(member))

    def _native_loop(self, values: Mapping[str, Any]) -> NativeLoop | None:
        controller, pacer = _alone_in_cpp(self.policy), self._pacer
        if controller is None or isinstance(pacer, SimulatedPacer):
            return None
        contract, trigger = self.policy.bundle.contract, None
        if isinstance(pacer, TriggerPacer):
            trigger = pacer.trigger, MessageWaitSet(self, 1)
        try:
            loop = NativeLoop(
                [*self.topics.values()],
                self._output.publisher,
                encoder_plan(values["output"], contract, values["command_valid_for_s"]),
                len(contract.joints.names),
                contract.period_ns,
                trigger,
                self._show,
                self._failed,
                controller,
                self.sampler,
            )
        except (OSError, ValueError) as error:  # another middleware, or a message of another kind
            self.get_logger().warning(f"the loop runs in Python: {error}")
            return None
        self._closers.callback(loop.close)
        return loop

    def now_ns(self) -> int:
        return self._pacer.clock()

    def _make_pacer(self, trigger: str, period_ns: int, group: SampleGroup) -> Pacer:
        if self.get_parameter("use_sim_time").value:
            clock: Sampled[ClockMessage] = Sampled(self, group, ClockMessage, "/clock")
            self._closers.callback(clock.close)
            return SimulatedPacer(period_ns, clock, Arrivals(self, [clock]))
        if trigger == TIMER:
            return TimerPacer(period_ns)
        topics = self.topics
        if trigger not in topics:
            raise PolicyError(
                f"parameter trigger: expected {TIMER} or an input of the contract "
                f"({', '.join(topics)}), found {trigger!r}"
            )
        return TriggerPacer(period_ns, topics[trigger], Arrivals(self, [*topics.values()]))

    def _create_requests(self, values: Mapping[str, Any]) -> None:
        between_ticks: dict[str, Callable[[], Mode | None]] = {
            "stand": self._stand,
            "damp": lambda: self.controller.damp("requested by service"),
            "reset": lambda: self.controller.reset(),
            **(self._takeover_requests() if "takeover" in values else {}),
        }
        requests: dict[str, Callable[[], Mode | None]] = {
            **{name: partial(self._between_ticks, act) for name, act in between_ticks.items()},
            "run": self._run,
            "estop": lambda: self._estop("service"),
        }
        for name, act in requests.items():
            handler = self._handler(act, needs_active=name != "estop")
            service = self.create_service(Trigger, f"~/{name}", handler, qos_profile=qos.REQUESTS)
            self._closers.callback(self.destroy_service, service)
        self._closers.callback(AuthorityRequests(self, self._set_authority, self.report).close)
        self._estop_topic = EstopTopic(self, lambda: self._estop("topic"))
        self._closers.callback(self._estop_topic.close)

    def _takeover_requests(self) -> Mapping[str, Callable[[], None]]:
        from policy_core.members.chunk.takeover import HAND_BACK, TAKE_OVER, TakeoverRequests

        def requests() -> TakeoverRequests:
            assert (
                self.policy.takeover is not None
            )  # a node with that parameter runs chunk policies
            return self.policy.takeover

        def take_over() -> None:
            if self._takeover is not None and (problem := self._takeover.refusal()):
                raise RefusedError(f"{TAKE_OVER} refused: {problem}")
            requests().take_over()

        return {TAKE_OVER: take_over, HAND_BACK: lambda: requests().hand_back()}

    def _switch(self, state: str) -> None:
        if not self.running:
            raise RefusedError(_NOT_ACTIVE)
        assert self.policy.switching is not None
        with self.loop.between_ticks():
            self.policy.switching.requests.switch(state)

    def _set_authority(self, request: AuthorityRequest) -> None:
        if not self.running:
            raise RefusedError(_NOT_ACTIVE)
        with self.loop.between_ticks():
            self.controller.set_authority(request)

    def _handler(
        self, act: Callable[[], Mode | None], *, needs_active: bool
    ) -> Callable[..., Trigger.Response]:
        def handle(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            if needs_active and not self.running:
                response.message = _NOT_ACTIVE
                return response
            try:
                mode = act()
            except RefusedError as error:
                response.message = str(error)
            else:
                mode = self.controller.mode if mode is None else mode
                response.success, response.message = True, mode.name
            self.report()
            return response

        return handle

    def _between_ticks(self, act: Callable[[], Mode | None]) -> Mode | None:
        """Execute a request, but not between a tick's sampling and the use of its samples.

        A recording therefore lists each request before the samples of its tick.
        """
        with self.loop.between_ticks():
            return act()

    def _stand(self) -> None:
        self.policy.stand(self._refusals(run=False))

    def _run(self) -> None:
        problems = self._refusals(run=True)
        # A trial first records the run: ticks continue while it waits for the disk.
        granting = nullcontext() if problems else self.observer.granting_run(self.controller.mode)
        with granting:
            self._between_ticks(lambda: self.controller.run(problems))

    def _refusals(self, *, run: bool) -> list[str]:
        return [*self._problems(), *self.observer.refusals(self.controller.mode, run=run)]

    def _load(self, bundle: str, done: Callable[[str], None]) -> None:
        """Load a different policy without a service request; may be called from any thread."""
        if self.executor is not None:
            self.executor.create_task(self._load_service.load, bundle, done)

    def require_rest(self) -> None:
        """Raise RefusedError unless the policy may be replaced now."""
        if not self.running:
            raise RefusedError(
                "the node is not active; activate it first, or configure it with the other bundle"
            )
        self.controller.require_rest()

    def open_next(self, request: OpenRequest) -> tuple[OpenedPolicy[Any], Prepared[Any]]:
        """Open a different policy and prepare its observers, on a separate thread."""
        # The verification is imported only when a policy is to replace another.
        from policy_inference.nodes.replacing import open_replacement

        before, observer = self.policy, self.observer
        self._attach_trial(before, request.bundle)
        opened = open_replacement(self.kind, request, before, self.now_ns, self.get_logger())
        try:
            return opened, observer.prepared(opened)
        except BaseException:
            opened.close()
            raise

    def switch_to(
        self, opened: OpenedPolicy[Any], prepared: Prepared[Any]
    ) -> Sequence[Callable[[], object]]:
        """Let a different policy take over between ticks; return functions to close the old one."""
        before, sampler = self.policy, self._make_sampler(opened)
        prepared.start()
        try:
            with self.loop.exchanging():
                opened.controller.take_over(self.controller)
                if isinstance(self.loop, NativeLoop):
                    self._host(self.loop, opened, sampler)
                self.policy, self.controller, self.sampler = opened, opened.controller, sampler
                return self.observer.adopt(opened, prepared), before.close
        except PolicyError:
            prepared.abandon()
            raise

    def _host(self, loop: NativeLoop, opened: OpenedPolicy[Any], sampler: Sampler) -> None:
        controller = _alone_in_cpp(opened)
        if controller is None:
            raise RefusedError(
                "load refused: the native loop cannot tick this policy, see the log; start "
                "the node with realtime.loop:=python"
            )
        loop.host(controller, sampler)

    def switched(self, request: OpenRequest) -> Callable[[], object]:
        """Report on the new policy from now on; return a function to end the old reports."""
        end_report = self.reporter.adopt(self.policy)
        self.table.adopt(bundle=request.bundle, backend=",".join(request.backends))
        self._tell(self.policy)
        self.apply_realtime()
        return end_report

    def _problems(self) -> list[str]:
        problems = self.reporter.problems()
        if self._output.publisher.get_subscription_count() == 0:
            problems.append(f"{self._output.publisher.topic_name} has no subscriber")
        return [*problems, *filter(None, [self._topics_problem(), self._twins_problem()])]

    def _twins_problem(self) -> str:
        """Return a message if other nodes have the same name; "" otherwise.

        Their services also have the same names: ROS passes each request to all of them, and the
        client takes the first response, which may be another node's.
        """
        own = (self.get_name(), self.get_namespace())
        count = self.get_node_names_and_namespaces().count(own)
        if count <= 1:
            return ""
        return (
            f"{count} nodes are named {self.get_fully_qualified_name()}, expected only this one: "
            "each request reaches all of them; give the others a different name or namespace; a "
            "killed process stays listed for about 20 s"
        )

    def _topics_problem(self) -> str:
        """Return who else sends commands, and e-stops that are not received; "" if none."""
        return "; ".join(filter(None, [self._senders_problem(), self._estop_topic.problem]))

    def _senders_problem(self) -> str:
        """Return the other nodes that send commands to the robot; "" if there are none."""
        topic = self._output.publisher.topic_name
        if self.count_publishers(topic) <= 1:
            return ""
        senders = sorted(map(full_name, self.get_publishers_info_by_topic(topic)))
        if len({*senders}) <= 1:  # this node's two publishers, for chunks
            return ""
        return (
            f"{len(senders)} publishers on {topic} ({', '.join(senders)}), expected only this "
            "node; stop the others; a killed process stays listed for about 20 s"
        )

    def _remember_estop(self) -> None:
        self._estop_pressed = self.controller.estop_pressed

    def _look_at_tick(self, tick_s: float) -> None:
        """Press the e-stop if a tick in motion has not returned within the guard's longest gap.

        The next tick would latch a fault for such a gap, but it may never come: a model may contain
        a loop.
        """
        controller = self.controller
        simulated = isinstance(self._pacer, SimulatedPacer)
        limit_s = _SIMULATED_TICK_S if simulated else controller.limits.longest_gap_ns * 1e-9
        if tick_s <= limit_s or controller.mode is Mode.DAMP or controller.estop_pressed:
            return
        reason = (
            f"a tick has not returned within {limit_s:.1f} s: the model or its back end hangs; "
            "restart the process"
        )
        self._press_estop(reason)
        self.get_logger().error(f"estop: {reason}")

    def _estop(self, source: str) -> Mode:
        return self._press_estop(f"pressed by {source}")

    def _press_estop(self, reason: str) -> Mode:
        repeated = self.controller.estop_pressed
        targets = self.controller.estop(reason)
        if self.running and not repeated:
            self._publish(targets)
        return Mode.DAMP

    def report(self) -> None:
        """Publish the status now, if possible; may be called from any thread."""
        # A hanging report must not hang the executor, which receives the e-stop.
        if self._reporting.acquire(timeout=_REPORTED_WITHIN_S):
            try:
                if self.running:
                    self.driver.look()
                    self.reporter.report()
                    self.observer.log()
            finally:
                self._reporting.release()

    def _report_always(self) -> None:
        try:
            self.report()
        except Exception:  # noqa: BLE001  the next report may succeed; the ticks continue
            self.get_logger().error(traceback.format_exc(), throttle_duration_sec=1.0)

    def start(self) -> None:
        self.controller.start()
        self._output.start()
        self.reporter.start()
        self.observer.start()
        self.loop.start()
        self._watch.start()
        self._reports.start()
        self.apply_realtime()

    def apply_realtime(self) -> None:
        """Apply `realtime.*` to the control thread and the models."""
        refused = self._realtime.apply(self.loop.thread_id, self._processes())
        for warning in refused:
            self.get_logger().warning(warning)
        if granted := self._realtime.granted(refused):
            self.get_logger().info(f"the machine grants {', '.join(granted)}")

    def _processes(self) -> set[int]:
        return {os.getpid(), *(backend.pid for backend in self.policy.models.values())}

    def tick(self, due: DueTick) -> None:
        """Sample, run the controller, publish, and pass the tick to observers (control thread)."""
        if due.repeated and self.controller.mode in (Mode.RUN, Mode.HOLD):
            # A paused simulator must not advance the policy. A simulator that starts waits for the
            # first command, which may be the first command of standing up.
            return
        began_ns, self._stamp_ns = time.monotonic_ns(), due.ros_now_ns
        if due.restarted:
            self.sampler.restart()
            if self.controller.mode is not Mode.DAMP:
                self.controller.fault(Rule.CLOCK, "simulated time ran backwards")
        self.sampler.sample(due)
        controller = self.controller
        sent, sequence = self._publish(controller.tick(due.now_ns, due.next_deadline_ns))
        controller.latest_tick.send(
            sent,
            sequence,
            stamp_ns=due.ros_now_ns,
            duration_ns=time.monotonic_ns() - began_ns,
            missed=due.missed,
        )
        self._show()

    def _show(self) -> None:
        """Pass the latest tick to the observers; continue actions that span several ticks.

        End the run if an observer's verdict says so.
        """
        controller, policy = self.controller, self.policy
        tick = controller.latest_tick
        policy.latency.add(tick.duration_ns)
        verdict = self.observer.observe(tick)
        # A refused step is requested again after the next tick.
        with suppress(RefusedError), self.loop.between_ticks():
            policy.go_on(tick.now_ns)
            if verdict is not None:
                controller.end_run(verdict, policy.stand)

    def _failed(self, error: BaseException) -> None:
        try:
            self.controller.fault(Rule.INTERNAL, f"{type(error).__name__}: {error}")
            self._publish(self.controller.safe_targets())
            self.observer.observe_failure(self.controller.latest_tick)
        except Exception:  # noqa: BLE001  the next tick may succeed; without one commands expire
            self.get_logger().fatal(traceback.format_exc(), throttle_duration_sec=1.0)
        self.get_logger().error(
            "".join(traceback.format_exception(error)), throttle_duration_sec=1.0
        )

    def _publish(self, targets: JointTargets | None) -> tuple[JointTargets | None, int | None]:
        """Publish, from any thread; after an e-stop, only the fault command is sent.

        With a C++ loop, which sends everything else, this always sends the fault command.

        Returns:
            The targets sent, and the command's number.
        """
        if isinstance(self.loop, NativeLoop):
            return targets, self.loop.send_safe(time.time_ns())
        with self._publishing:
            if self.controller.estop_pressed:
                targets = self.controller.safe_targets()
            if targets is None:
                return None, None
            return targets, self._output.publish(targets, self._stamp_ns)

    def stop(self) -> None:
        """Stop the loop, then send the fault command until it is acknowledged."""
        self._load_service.abandon(STOPS)
        self._watch.stop()
        if self.loop.stop():
            self.controller.stop(STOPS)
        else:
            self.controller.estop(STOPS)
            self.get_logger().error("a tick hangs in the back end; its thread is left running")
        for _ in range(_LEAVING_TIMES):
            self._publish(self.controller.safe_targets())
        if not self._output.publisher.wait_for_all_acked(_ACKNOWLEDGED_WITHIN):
            self.get_logger().error("the last command was not acknowledged within 1 s")
        reported = self._reports.stop()
        if not reported:
            self.get_logger().error("a status report does not return; its thread is left running")
        self.reporter.log_edges()
        self.observer.stop()
        self._realtime.release(self._processes())
        self._hangs = self.observer.left_behind or not reported

    def tear_down(self) -> None:
        self._closers.close()
        self._load_service.end()

    def _close_policy(self) -> None:
        self.policy.close()
        self._closed = self.policy

    @property
    def left_behind(self) -> bool:
        """True if a thread that runs, opens or closes a model, or writes, cannot be stopped."""
        hangs = self._closed is not None and self._closed.left_behind
        return hangs or self._hangs or self._load_service.left_behind
