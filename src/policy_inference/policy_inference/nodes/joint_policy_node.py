# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node that runs a joint policy: sensors in, safe joint commands out at a fixed rate.

Subscribes (best effort, depth 1, as far as the contract needs them): `joint_states`
(sensor_msgs/JointState), `imu/data` (sensor_msgs/Imu), `odom` (nav_msgs/Odometry), `cmd_vel`
(geometry_msgs/Twist or TwistStamped), external vectors (std_msgs/Float32MultiArray); `estop`
(std_msgs/Bool, reliable). Under `use_sim_time`: `/clock`.
Publishes: the chosen output (reliable, depth 1), `~/status` (policy_msgs/PolicyStatus, reliable,
transient local), `/diagnostics`.
Serves (std_srvs/Trigger): `~/stand`, `~/run`, `~/damp`, `~/estop`, `~/reset`; `~/load`
(policy_msgs/LoadBundle). The flight recorder: see `nodes.flight`.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from policy_msgs.srv import LoadBundle
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rosgraph_msgs.msg import Clock as ClockMessage
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from policy_inference.core.guard import Rule
from policy_inference.errors import PolicyError, RefusedError
from policy_inference.interfaces import JointTargets, Mode
from policy_inference.nodes import qos
from policy_inference.nodes.control_loop import ControlLoop
from policy_inference.nodes.flight import NodeRecorder
from policy_inference.nodes.lifecycle import LifecycleBase
from policy_inference.nodes.loading import Loading
from policy_inference.nodes.opening import Opened, Order, open_policy, open_replacement
from policy_inference.nodes.outputs import Output
from policy_inference.nodes.pacing import Pacer, SimulatedPacer, Tick, TimerPacer, TriggerPacer
from policy_inference.nodes.parameters import ParameterTable, refuse_arguments
from policy_inference.nodes.process import run_node
from policy_inference.nodes.sampler import Sampler, subscribe
from policy_inference.nodes.sampling import Arrivals, Sampled, SampleGroup
from policy_inference.nodes.settings import PARAMETERS, TIMER
from policy_inference.nodes.status import Reported, StatusReporter

_STOPS = "the node stops"
_LEAVING_TIMES = 3
_ACKNOWLEDGED_WITHIN = Duration(seconds=1.0)


class JointPolicyNode(LifecycleBase):
    """Thin adapter: sample, tick the controller, publish, report."""

    def __init__(self) -> None:
        """Declare the parameters and `~/load`; nothing else exists before configure."""
        super().__init__("joint_policy_node")
        self._table = ParameterTable(self, PARAMETERS, lambda: self.configured)
        self._closers = ExitStack()
        self._publishing = threading.Lock()
        self._estop_pressed = False
        self._stamp_ns = 0
        self._loading = Loading(self.get_logger())
        # Never destroyed while an answer is owed; and a second request is answered meanwhile.
        self.create_service(LoadBundle, "~/load", self._load,
                            callback_group=ReentrantCallbackGroup())

    def set_up(self) -> None:
        """Load the bundle, open the backend, create all entities; publish nothing."""
        values = self._table.read()
        policy = open_policy(Order.of(values), self._now_ns, self.get_logger())
        self._closers.callback(lambda: self._policy.backend.close())
        self._policy, self.controller = policy, policy.controller
        if self._estop_pressed:
            self.controller.estop("pressed before the node was configured anew")
        self._closers.callback(self._remember_estop)
        contract, group = policy.bundle.contract, SampleGroup()
        self._topics = subscribe(self, group, self.controller.inputs,
                                 stamped_command=values["stamped_command"])
        for sampled in self._topics.values():
            self._closers.callback(sampled.close)
        self._sampler = self._sampler_of(policy)
        self._output = Output(self, values["output"], contract, values["command_valid_for_s"])
        self._closers.callback(self.destroy_publisher, self._output.publisher)
        self._pacer = self._make_pacer(values["trigger"], contract.period_ns, group)
        self._loop = ControlLoop(self._pacer, self._tick, self._failed)
        self._flight = NodeRecorder(self, group, self._topics, policy, values)
        self._closers.callback(self._flight.close)
        self._reporter = StatusReporter(self, Reported(
            policy=policy, topics=self._topics, loop=self._loop, pacer=self._pacer,
            flight=self._flight))
        self._closers.callback(self._reporter.close)
        self._create_requests(values["status_rate_hz"])
        self._tell(policy)

    def _tell(self, policy: Opened) -> None:
        """Log what runs, and what would have been preferred."""
        for line in policy.skipped:
            self.get_logger().warning(line)
        self.get_logger().info(str(policy))
        if policy.bundle.contract.nominal is None:
            self.get_logger().warning("the bundle has no `nominal`: steps and torques are not "
                                      "bounded, only the contract's limits guard")

    def _now_ns(self) -> int:
        return self._pacer.clock()

    def _sampler_of(self, policy: Opened) -> Sampler:
        return Sampler(self._topics, policy.controller, policy.bundle.contract.joints.names)

    def _make_pacer(self, trigger: str, period_ns: int, group: SampleGroup) -> Pacer:
        if self.get_parameter("use_sim_time").value:
            clock: Sampled[ClockMessage] = Sampled(self, group, ClockMessage, "/clock")
            self._closers.callback(clock.close)
            return SimulatedPacer(period_ns, clock, Arrivals(self, [clock]))
        if trigger == TIMER:
            return TimerPacer(period_ns)
        topics = self._topics
        if trigger not in topics:
            raise PolicyError(f"parameter trigger: expected {TIMER} or an input of the contract "
                              f"({', '.join(topics)}), found {trigger!r}")
        return TriggerPacer(period_ns, topics[trigger], Arrivals(self, [*topics.values()]))

    def _create_requests(self, status_rate_hz: float) -> None:
        requests: dict[str, Callable[[], Mode | None]] = {
            "stand": lambda: self.controller.stand(self._problems()),
            "run": lambda: self.controller.run(self._problems()),
            "damp": lambda: self.controller.damp("asked for by service"),
            "reset": lambda: self.controller.reset(),
            "estop": lambda: self._estop("service"),
        }
        for name, act in requests.items():
            handler = self._handler(act, needs_active=name != "estop")
            service = self.create_service(Trigger, f"~/{name}", handler)
            self._closers.callback(self.destroy_service, service)
        for profile in qos.ESTOPS:
            subscription = self.create_subscription(
                Bool, "estop", self._on_estop, profile,
                callback_group=MutuallyExclusiveCallbackGroup(),
                event_callbacks=qos.NoEvents())
            self._closers.callback(self.destroy_subscription, subscription)
        # On the steady clock: the status must not stop with a simulator that pauses.
        timer = self.create_timer(1.0 / status_rate_hz, self._report,
                                  clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._closers.callback(self.destroy_timer, timer)

    def _handler(
        self, act: Callable[[], Mode | None], *, needs_active: bool
    ) -> Callable[..., Trigger.Response]:
        def handle(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            if needs_active and not self.running:
                response.message = "the node is not active; activate it first"
                return response
            try:
                mode = act()
            except RefusedError as error:
                response.message = str(error)
            else:
                mode = self.controller.mode if mode is None else mode
                response.success, response.message = True, mode.name
            self._report()
            return response

        return handle

    async def _load(
        self, request: LoadBundle.Request, response: LoadBundle.Response
    ) -> LoadBundle.Response:
        """Answer when the new policy has taken over, or cannot; other requests go on meanwhile."""
        self.answering += 1
        try:
            response.message = str(await self._replaced(request.bundle, request.backend))
            response.success = True
        except PolicyError as error:
            response.message = str(error)
        except Exception as error:  # noqa: BLE001  it would end the executor
            self.get_logger().error(traceback.format_exc())
            response.message = f"load failed: {type(error).__name__}: {error}"
        finally:
            self.answering -= 1
        if not response.success:
            self.get_logger().error(response.message)
        self._report()
        return response

    async def _replaced(self, bundle: str, backend: str) -> Opened:
        """Open another policy, and let it take over; return it.

        Raises:
            PolicyError: It cannot, and the one in use goes on as if nothing had happened.
        """
        self._require_rest()
        before, logger = self._policy, self.get_logger()
        order = before.order.for_bundle(bundle, backend)
        logger.info(f"load: {bundle}, on {', '.join(order.backends)}")
        opening = self._loading.begin(
            lambda: open_replacement(order, before, self._now_ns, logger), self.executor)
        if not self.running:  # another thread may have stopped the node just before that
            self._loading.abandon(_STOPS)
        opened: Opened | PolicyError = await opening
        if isinstance(opened, PolicyError):
            raise opened
        try:
            self._require_rest()
            end_recording = self._switch(opened)
        except BaseException:
            self._loading.close(opened.backend.close)
            raise
        look_away = self._reporter.follow(opened)
        # A runtime that hangs when it is closed must not hang the node.
        self._loading.close(end_recording, look_away, before.backend.close)
        self._table.follow(bundle=bundle, backend=",".join(order.backends))
        self._tell(opened)
        return opened

    def _require_rest(self) -> None:
        """Return if a policy may be replaced now; what else speaks against it is found later."""
        if not self.running:
            raise RefusedError("the node is not active; activate it first, or configure it with "
                               "the other bundle")
        self.controller.require_rest()

    def _switch(self, opened: Opened) -> Callable[[], None]:
        """Let another policy take over; return what writes the recordings of the one before."""
        sampler, recorder = self._sampler_of(opened), self._flight.prepared(opened)
        try:
            with self._loop.between_ticks():
                opened.controller.take_over(self.controller)
                self._policy, self.controller, self._sampler = opened, opened.controller, sampler
                return self._flight.follow(opened, recorder)
        except PolicyError:
            if recorder is not None:
                recorder.abandon()
            raise

    def _problems(self) -> list[str]:
        """Return what speaks against motion and only ROS can tell."""
        problems = self._reporter.problems()
        topic = self._output.publisher.topic_name
        if self._output.publisher.get_subscription_count() == 0:
            problems.append(f"nobody listens to {topic}")
        if (publishers := self.count_publishers(topic)) > 1:
            problems.append(f"{publishers} publishers on {topic}, expected this node alone")
        return problems

    def _remember_estop(self) -> None:
        """Only a reset clears an e-stop, not a new configuration."""
        self._estop_pressed = self.controller.estop_pressed

    def _on_estop(self, message: Bool) -> None:
        if message.data:
            self._estop("topic")

    def _estop(self, source: str) -> Mode:
        repeated = self.controller.estop_pressed
        targets = self.controller.estop(f"pressed by {source}")
        if self.running and not repeated:
            self._publish(targets)
        return Mode.DAMP

    def _report(self) -> None:
        if self.running:
            self._reporter.report()
            self._flight.log()

    def start(self) -> None:
        """Start the control loop, in DAMP."""
        self.controller.start()
        self._output.start()
        self._reporter.start()
        self._flight.start()
        self._loop.start()

    def _tick(self, tick: Tick) -> None:
        if tick.repeated and self.controller.mode is not Mode.DAMP:
            # Only at rest: a simulator that starts or pauses must not advance a motion.
            return
        began_ns, self._stamp_ns = time.monotonic_ns(), tick.ros_now_ns
        if tick.restarted:
            self._sampler.restart()
            if self.controller.mode is not Mode.DAMP:
                self.controller.fault(Rule.CLOCK, "simulated time ran backwards")
        self._sampler.sample(tick)
        targets = self.controller.tick(tick.now_ns, tick.next_deadline_ns)
        sent, sequence = self._publish(targets)
        duration_ns = time.monotonic_ns() - began_ns
        self._policy.latency.add(duration_ns)
        self._flight.record(tick, duration_ns, sent, sequence)

    def _failed(self, error: BaseException) -> None:
        try:
            self.controller.fault(Rule.INTERNAL, f"{type(error).__name__}: {error}")
            self._publish(self.controller.safe_targets())
            self._flight.watch()
        except Exception:  # noqa: BLE001  the next tick may succeed; without one commands expire
            self.get_logger().fatal(traceback.format_exc(), throttle_duration_sec=1.0)
        self.get_logger().error("".join(traceback.format_exception(error)),
                                throttle_duration_sec=1.0)

    def _publish(self, targets: JointTargets | None) -> tuple[JointTargets | None, int | None]:
        """Publish, from any thread; after an e-stop nothing but the fault command goes out.

        Returns:
            What was sent, and the number of the command.
        """
        with self._publishing:
            if self.controller.estop_pressed:
                targets = self.controller.safe_targets()
            if targets is None:
                return None, None
            return targets, self._output.publish(targets, self._stamp_ns)

    def stop(self) -> None:
        """End the loop, then send the fault command until it is acknowledged."""
        self._loading.abandon(_STOPS)
        if self._loop.stop():
            self.controller.damp(_STOPS)
        else:
            self.controller.estop(_STOPS)
            self.get_logger().error("a tick hangs in the backend; its thread is left behind")
        for _ in range(_LEAVING_TIMES):
            self._publish(self.controller.safe_targets())
        if not self._output.publisher.wait_for_all_acked(_ACKNOWLEDGED_WITHIN):
            self.get_logger().error("the last command was not acknowledged within 1 s")
        self._reporter.log_edges()
        self._flight.stop()

    def tear_down(self) -> None:
        """Close everything that was opened, the last first."""
        self._closers.close()
        self._loading.end()

    @property
    def left_behind(self) -> bool:
        """Whether a model is still being opened or closed, on a thread that cannot be ended."""
        return self._loading.left_behind


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command `joint_policy_node`."""
    refuse_arguments("joint_policy_node", __doc__, PARAMETERS, args)
    sys.exit(run_node(JointPolicyNode, args))
