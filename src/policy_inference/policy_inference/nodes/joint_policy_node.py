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

import gc
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from policy_msgs.srv import LoadBundle
from rclpy.callback_groups import ReentrantCallbackGroup

from policy_inference.errors import PolicyError, RefusedError
from policy_inference.nodes import qos
from policy_inference.nodes.flight import NodeRecorder, Prepared
from policy_inference.nodes.loading import Loading
from policy_inference.nodes.opened import Order
from policy_inference.nodes.opening import Opened, open_policy, open_replacement
from policy_inference.nodes.parameters import refuse_arguments
from policy_inference.nodes.policy_node import STOPS, PolicyNode
from policy_inference.nodes.process import run_node
from policy_inference.nodes.sampler import Sampler, subscribe
from policy_inference.nodes.sampling import Sampled, SampleGroup
from policy_inference.nodes.settings import PARAMETERS


class JointPolicyNode(PolicyNode[Opened]):
    """Runs a joint policy, which `~/load` replaces, and a flight recorder beside it."""

    companion: NodeRecorder

    def __init__(self) -> None:
        """Declare the parameters and `~/load`; nothing else exists before configure."""
        super().__init__("joint_policy_node", PARAMETERS)
        self._loading = Loading(self.get_logger())
        # Never destroyed while an answer is owed; and a second request is answered meanwhile.
        self.create_service(LoadBundle, "~/load", self._load, qos_profile=qos.REQUESTS,
                            callback_group=ReentrantCallbackGroup())

    def open(self, values: Mapping[str, Any]) -> Opened:
        """Open the bundle that the parameters name."""
        return open_policy(Order.of(values), self.now_ns, self.get_logger())

    def subscribe(self, group: SampleGroup, values: Mapping[str, Any]) -> dict[str, Sampled[Any]]:
        """Subscribe to what the contract needs."""
        return subscribe(self, group, self.controller.inputs,
                         stamped_command=values["stamped_command"])

    def sampler_of(self, policy: Opened) -> Sampler:
        """Return what fills the state of a policy."""
        return Sampler(self.topics, policy.controller, policy.bundle.contract.joints.on_robot())

    def companion_of(
        self, policy: Opened, group: SampleGroup, values: Mapping[str, Any]
    ) -> NodeRecorder:
        """Return the flight recorder."""
        return NodeRecorder(self, group, self.topics, policy, values)

    def stop(self) -> None:
        """End the loop and leave the robot safe; whoever waits for a load is answered."""
        self._loading.abandon(STOPS)
        super().stop()

    def tear_down(self) -> None:
        """Close everything that was opened, the last first."""
        super().tear_down()
        self._loading.end()

    @property
    def left_behind(self) -> bool:
        """Whether a thread cannot be ended: it opens or closes a model, or writes a recording."""
        return self._loading.left_behind or super().left_behind

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
        # Of a refusal the status has nothing to say, and many may come at once.
        if response.success:
            self.report()
        else:
            self.get_logger().error(response.message)
        return response

    async def _replaced(self, bundle: str, backend: str) -> Opened:
        """Open another policy, and let it take over; return it.

        Raises:
            PolicyError: It cannot, and the one in use goes on as if nothing had happened.
        """
        self._require_rest()
        before, logger = self.policy, self.get_logger()
        order = before.order.for_bundle(bundle, backend)
        logger.info(f"load: {bundle}, on {', '.join(order.backends)}")
        flight, prepared = self.companion, Prepared(None)

        def open_one() -> Opened:
            nonlocal prepared
            opened = open_replacement(order, before, self.now_ns, logger)
            prepared = flight.prepared(opened)
            return opened

        opening = self._loading.begin(open_one, self.executor)
        if not self.running:  # another thread may have stopped the node just before that
            self._loading.abandon(STOPS)
        opened: Opened | PolicyError = await opening
        if isinstance(opened, PolicyError):
            raise opened
        try:
            self._require_rest()
            end_recording = self._switch(opened, prepared)
        except BaseException:
            self._loading.close(opened.close)
            raise
        look_away = self.reporter.follow(opened)
        # A runtime that hangs when it is closed must not hang the node.
        self._loading.close(end_recording, look_away, before.close)
        self.table.follow(bundle=bundle, backend=",".join(order.backends))
        self.tell(opened)
        self.apply_realtime()
        # Of the one before, since only little is collected between ticks; the robot rests.
        gc.collect()
        return opened

    def _require_rest(self) -> None:
        """Return if a policy may be replaced now; what else speaks against it is found later."""
        if not self.running:
            raise RefusedError("the node is not active; activate it first, or configure it with "
                               "the other bundle")
        self.controller.require_rest()

    def _switch(self, opened: Opened, prepared: Prepared) -> Callable[[], None]:
        """Let another policy take over; return what writes the recordings of the one before."""
        sampler, recorder = self.sampler_of(opened), prepared.recorder
        if recorder is not None:
            recorder.start()
        try:
            with self.loop.between_ticks():
                opened.controller.take_over(self.controller)
                self.policy, self.controller, self.sampler = opened, opened.controller, sampler
                return self.companion.follow(opened, prepared)
        except PolicyError:
            if recorder is not None:
                recorder.abandon()
            raise


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command `joint_policy_node`."""
    refuse_arguments("joint_policy_node", __doc__, PARAMETERS, args)
    sys.exit(run_node(JointPolicyNode, args))
