# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node that runs a joint policy: sensors in, safe joint commands out at a fixed rate.

Subscribes (best effort, depth 1, as far as the contract needs them): `joint_states`
(sensor_msgs/JointState), `imu/data` (sensor_msgs/Imu), `odom` (nav_msgs/Odometry), `cmd_vel`
(geometry_msgs/Twist or TwistStamped), external vectors (std_msgs/Float32MultiArray); `estop`
(std_msgs/Bool, reliable). Under `use_sim_time`: `/clock`.
Publishes: the chosen output (reliable, depth 1), `~/status` (policy_msgs/PolicyStatus, reliable,
transient local), `/diagnostics`.
Serves (std_srvs/Trigger): `~/stand`, `~/run`, `~/damp`, `~/estop`, `~/reset`.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import fields

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rosgraph_msgs.msg import Clock as ClockMessage
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from policy_inference.backends.registry import open_backend, parse_options
from policy_inference.bundle.installed import bundle_folder
from policy_inference.bundle.load import Bundle, load_bundle
from policy_inference.bundle.signature import trusted_keys
from policy_inference.core.controller import Controller
from policy_inference.core.guard import Rule
from policy_inference.core.latency import LatencyWindow
from policy_inference.core.limits import Tightening, limits_in_force
from policy_inference.errors import PolicyError, RefusedError
from policy_inference.interfaces import JointTargets, Mode
from policy_inference.nodes import qos
from policy_inference.nodes.control_loop import ControlLoop
from policy_inference.nodes.forwarding import forwarded_to
from policy_inference.nodes.lifecycle import LifecycleBase
from policy_inference.nodes.outputs import OUTPUTS, Output
from policy_inference.nodes.pacing import Pacer, SimulatedPacer, Tick, TimerPacer, TriggerPacer
from policy_inference.nodes.parameters import ParameterTable, Spec
from policy_inference.nodes.process import run_node
from policy_inference.nodes.sampler import Sampler
from policy_inference.nodes.sampling import Arrivals, Sampled, SampleGroup
from policy_inference.nodes.status import Reported, StatusReporter

TIMER = "timer"
PARAMETERS = (
    Spec(name="bundle", type=str, required=True,
         doc="Folder of the policy bundle, or the name of one that is installed: NAME, "
             "NAME@VERSION"),
    Spec(name="public_key", type=str, default="",
         doc="PEM file (or a folder of such) with a key that must have signed the bundle, beside "
             "what POLICY_INFERENCE_PUBLIC_KEY demands"),
    Spec(name="backend", type=str, default="onnx",
         doc="Backend, or several in order of preference, comma-separated"),
    Spec(name="backend_options", type=str, default="",
         doc="Options of backends, comma-separated: rknn.core_mask=0_1,tensorrt.build=yes"),
    Spec(name="output", type=str, default="joint_command", choices=tuple(OUTPUTS),
         doc="Kind of message that is published"),
    Spec(name="trigger", type=str, default=TIMER,
         doc="What starts a tick: timer, or the name of an input (ignored under use_sim_time)"),
    Spec(name="stamped_command", type=bool, default=False,
         doc="Whether cmd_vel is a TwistStamped instead of a Twist"),
    Spec(name="command_valid_for_s", type=float, default=0.1, minimum=0.001, maximum=10.0,
         doc="How long a JointCommand may be followed after its receipt, s"),
    Spec(name="status_rate_hz", type=float, default=5.0, minimum=0.1, maximum=50.0,
         doc="Rate of ~/status and /diagnostics, Hz"),
    Spec(name="autostart", type=bool, default=True,
         doc="Configure and activate at once; the robot never moves by itself"),
    *(Spec(name=f"safety.{field.name}", type=float, minimum=0.0,
           doc=f"Tightens {field.name} of the contract; never loosens it")
      for field in fields(Tightening)),
)  # fmt: skip
_LEAVING_TIMES = 3
_ACKNOWLEDGED_WITHIN = Duration(seconds=1.0)


class JointPolicyNode(LifecycleBase):
    """Thin adapter: sample, tick the controller, publish, report."""

    def __init__(self) -> None:
        """Declare the parameters; nothing else exists before configure."""
        super().__init__("joint_policy_node")
        self._table = ParameterTable(self, PARAMETERS, lambda: self.configured)
        self._closers = ExitStack()
        self._publishing = threading.Lock()
        self._estop_pressed = False
        self._stamp_ns = 0

    def set_up(self) -> None:
        """Load the bundle, open the backend, create all entities; publish nothing."""
        values = self._table.read()
        bundle = load_bundle(bundle_folder(values["bundle"]), trusted_keys(values["public_key"]))
        limits = limits_in_force(bundle.contract, Tightening(
            **{field.name: values[f"safety.{field.name}"] for field in fields(Tightening)}))
        options = parse_options(_listed(values["backend_options"]))
        with forwarded_to(self.get_logger()):
            # After that the controller gives up anyway.
            backend, skipped = open_backend(bundle, _listed(values["backend"]), options,
                                            run_timeout_s=limits.longest_gap_ns * 1e-9)
        self._closers.callback(backend.close)
        for line in skipped:
            self.get_logger().warning(line)
        self.controller = Controller(bundle, backend, limits, lambda: self._pacer.clock())
        if self._estop_pressed:
            self.controller.estop("pressed before the node was configured anew")
        self._closers.callback(self._remember_estop)
        group = SampleGroup()
        self._sampler = Sampler(self, group, self.controller, bundle.contract.joints.names,
                                stamped_command=values["stamped_command"])
        self._closers.callback(self._sampler.close)
        self._output = Output(self, values["output"], bundle.contract,
                              values["command_valid_for_s"])
        self._closers.callback(self.destroy_publisher, self._output.publisher)
        self._pacer = self._make_pacer(values["trigger"], bundle, group)
        self._latency = LatencyWindow()
        self._loop = ControlLoop(self._pacer, self._tick, self._failed)
        self._reporter = StatusReporter(self, Reported(
            bundle=bundle, backend=backend, skipped=skipped, controller=self.controller,
            sampler=self._sampler, loop=self._loop, pacer=self._pacer, latency=self._latency))
        self._closers.callback(self._reporter.close)
        self._create_requests(values["status_rate_hz"])
        self.get_logger().info(
            f"{bundle.contract.name} {bundle.contract.version} ({bundle.path}) on {backend.name}: "
            f"{', '.join(backend.details.values())}; {bundle.contract.rate_hz:g} Hz")
        if bundle.contract.nominal is None:
            self.get_logger().warning("the bundle has no `nominal`: steps and torques are not "
                                      "bounded, only the contract's limits guard")

    def _make_pacer(self, trigger: str, bundle: Bundle, group: SampleGroup) -> Pacer:
        period_ns = bundle.contract.period_ns
        if self.get_parameter("use_sim_time").value:
            clock: Sampled[ClockMessage] = Sampled(self, group, ClockMessage, "/clock")
            self._closers.callback(clock.close)
            return SimulatedPacer(period_ns, clock, Arrivals(self, [clock]))
        if trigger == TIMER:
            return TimerPacer(period_ns)
        topics = self._sampler.topics
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

    def start(self) -> None:
        """Start the control loop, in DAMP."""
        self.controller.start()
        self._output.start()
        self._reporter.start()
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
        self._publish(targets)
        self._latency.add(time.monotonic_ns() - began_ns)

    def _failed(self, error: BaseException) -> None:
        try:
            self.controller.fault(Rule.INTERNAL, f"{type(error).__name__}: {error}")
            self._publish(self.controller.safe_targets())
        except Exception:  # noqa: BLE001  the next tick may succeed; without one commands expire
            self.get_logger().fatal(traceback.format_exc(), throttle_duration_sec=1.0)
        self.get_logger().error("".join(traceback.format_exception(error)),
                                throttle_duration_sec=1.0)

    def _publish(self, targets: JointTargets | None) -> None:
        """Publish, from any thread; after an e-stop nothing but the fault command goes out."""
        with self._publishing:
            if self.controller.estop_pressed:
                targets = self.controller.safe_targets()
            if targets is not None:
                self._output.publish(targets, self._stamp_ns)

    def stop(self) -> None:
        """End the loop, then send the fault command until it is acknowledged."""
        if self._loop.stop():
            self.controller.damp("the node stops")
        else:
            self.controller.estop("the node stops")
            self.get_logger().error("a tick hangs in the backend; its thread is left behind")
        for _ in range(_LEAVING_TIMES):
            self._publish(self.controller.safe_targets())
        if not self._output.publisher.wait_for_all_acked(_ACKNOWLEDGED_WITHIN):
            self.get_logger().error("the last command was not acknowledged within 1 s")
        self._reporter.log_edges()

    def tear_down(self) -> None:
        """Close everything that was opened, the last first."""
        self._closers.close()


def _listed(text: str) -> list[str]:
    """Return the entries of a comma-separated text."""
    return [entry for part in text.split(",") if (entry := part.strip())]


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command `joint_policy_node`."""
    sys.exit(run_node(JointPolicyNode, args))
