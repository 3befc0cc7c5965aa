# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node's flight recorder: topics, services and diagnostics.

Subscribes (best effort, depth 1): `contact_forces` (policy_msgs/ContactForces), which is only
recorded.
Serves: `~/record` (std_srvs/Trigger), which records the last seconds; `~/record_run`
(std_srvs/SetBool), which records everything from now on until `false`.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from policy_msgs.msg import ContactForces
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from policy_core.control.tick import Tick
from policy_core.errors import PolicyError, RefusedError
from policy_inference.flight.description import Topic, make_flight
from policy_inference.flight.message_types import definitions, message_types
from policy_inference.flight.recorder import FlightOptions, FlightRecorder, News
from policy_inference.kinds.opening import OpenedPolicy
from policy_inference.nodes import qos
from policy_inference.nodes.sampling import Sampled, SampleGroup
from policy_inference.nodes.tick_observer import Prepared, TickObserver, do_nothing

if TYPE_CHECKING:  # not needed by a node without a shadow
    from policy_inference.nodes.shadow import NodeShadow

R = TypeVar("R", Trigger.Response, SetBool.Response)
_OFF = "the flight recorder is off: flight.duration_s is 0"


class NodeRecorder(TickObserver):
    """Records a node's ticks; the node continues unchanged if recording fails."""

    def __init__(
        self,
        node: Node,
        group: SampleGroup,
        topics: Mapping[str, Sampled[Any]],
        policy: OpenedPolicy[Any],
        values: Mapping[str, Any],
        shadow: NodeShadow | None = None,
    ) -> None:
        """Create the recorder, unless it is disabled, and the services.

        Args:
            node: The node.
            group: Callback group that keeps the executor away from subscriptions.
            topics: Subscription to each input.
            policy: The policy.
            values: The node's parameters.
            shadow: The policy's shadow, which observes each tick before this recorder.
        """
        self._node, self._topics, self._values = node, topics, values
        self._shadow = shadow
        self._types = cache(message_types)
        self._wanted = values["flight.duration_s"] > 0.0
        self._news = News(maxlen=100)
        self._contacts: Sampled[ContactForces] | None = None
        if self._wanted:
            self._contacts = Sampled(node, group, ContactForces, "contact_forces")
        self._sampled = self._sampled_by(policy)
        self._services = [
            node.create_service(Trigger, "~/record", self._on_record, qos_profile=qos.REQUESTS),
            node.create_service(
                SetBool, "~/record_run", self._on_record_run, qos_profile=qos.REQUESTS
            ),
        ]
        self._use(self._tried(lambda: self._made_for(policy)))

    def _sampled_by(self, policy: OpenedPolicy[Any]) -> tuple[Sampled[Any], ...]:
        inputs = [self._topics[name] for name in policy.recorded_inputs]
        return (*inputs, *filter(None, [self._contacts]))

    def _use(self, prepared: Prepared[FlightRecorder | None]) -> None:
        self._recorder, self._problem = prepared.part, prepared.problem
        if self._problem:
            self._node.get_logger().warning(self._problem)

    def prepared(self, policy: OpenedPolicy[Any]) -> Prepared[FlightRecorder | None]:
        """Return a recorder for a policy; this reads files, but none below `flight.folder`."""

        def load() -> FlightRecorder:
            recorder = self._made_for(policy)
            recorder.load()
            return recorder

        return self._tried(load)

    def _tried(self, make: Callable[[], FlightRecorder]) -> Prepared[FlightRecorder | None]:
        """Return the new recorder, or the problem; empty if the recorder is disabled."""
        if not self._wanted:
            return Prepared(part=None)
        try:
            recorder = make()
        except (PolicyError, OSError) as error:
            return Prepared(part=None, problem=f"flight recorder: {error}")
        except Exception as error:  # noqa: BLE001  a robot must not fail because of its recorder
            self._node.get_logger().error(traceback.format_exc())
            why = f"{type(error).__name__}: {error}; the log has the traceback"
            return Prepared(part=None, problem=f"flight recorder: {why}")
        return Prepared(part=recorder, start=recorder.start, abandon=recorder.abandon)

    def _made_for(self, policy: OpenedPolicy[Any]) -> FlightRecorder:
        definitions()  # report errors now; `start` builds the types from them, which takes time
        values = {
            **self._values,
            "bundle": policy.request.bundle,
            "backend": ",".join(policy.request.backends),
        }
        flight = make_flight(
            policy.bundle,
            policy.backend,
            policy.controller,
            [Topic(sampled.topic, sampled.type_name) for sampled in self._sampled_by(policy)],
            settings={
                **policy.recorded_settings(),
                **({} if self._shadow is None else self._shadow.recorded_settings()),
                **{
                    f"parameter.{name}": str(value)
                    for name, value in values.items()
                    if value is not None
                },
            },
            namespace=self._node.get_namespace(),
            valid_for_s=values["command_valid_for_s"],
        )
        options = FlightOptions(
            duration_s=values["flight.duration_s"],
            after_s=values["flight.after_s"],
            folder=_folder(values["flight.folder"]),
            min_free_mb=values["flight.min_free_mb"],
        )
        return FlightRecorder(
            policy.controller.latest_tick, policy.tap, flight, self._types, options, self._news
        )

    @property
    def problem(self) -> str:
        return self._problem or (self._recorder.problem if self._recorder else "")

    def diagnostics(self) -> dict[str, str]:
        recorder = self._recorder
        if recorder is None:
            return {"flight.recorder": "off" if not self._wanted else "does not work"}
        state = "records a run" if recorder.writer.recording_run else "ready"
        return {
            "flight.recorder": "does not work" if recorder.problem else state,
            "flight.last": str(recorder.writer.last or ""),
            "flight.ticks_dropped": str(recorder.writer.dropped),
            "flight.messages_left_out": str(recorder.ring.messages_left_out),
        }

    def adopt(
        self, policy: OpenedPolicy[Any], prepared: Prepared[FlightRecorder | None]
    ) -> Callable[[], None]:
        """Record a different policy from now on; return a function to end the old recording."""
        before = self._recorder
        self._recorder, self._problem = prepared.part, prepared.problem
        self._sampled = self._sampled_by(policy)
        if self._recorder is not None:
            self._recorder.adopt()
        return before.stop if before is not None else do_nothing

    def start(self) -> None:
        recorder = self._recorder

        def start() -> FlightRecorder:
            assert recorder is not None
            recorder.start()
            return recorder

        if recorder is not None:
            self._use(self._tried(start))

    def stop(self) -> None:
        if self._recorder is not None:
            self._recorder.stop()
        self.log()

    @property
    def left_behind(self) -> bool:
        return self._recorder is not None and self._recorder.left_behind

    def close(self) -> None:
        for service in self._services:
            self._node.destroy_service(service)
        if self._contacts is not None:
            self._contacts.close()

    def observe(self, tick: Tick) -> None:
        recorder, contacts = self._recorder, self._contacts
        if recorder is None or contacts is None:
            return
        try:
            contacts.take_wire()
            recorder.observe(
                tuple([sampled.wire for sampled in self._sampled]),
                () if self._shadow is None else self._shadow.arrived,
            )
        except Exception:  # noqa: BLE001  a robot must not fail because of its recorder
            self._give_up(traceback.format_exc())

    def observe_failure(self, tick: Tick) -> None:
        if self._recorder is not None:
            self._recorder.watch()

    def log(self) -> None:
        logger = self._node.get_logger()
        while self._news:
            is_warning, text = self._news.popleft()
            # rclpy does not accept two severities from one line of code.
            if is_warning:
                logger.warning(text)
            else:
                logger.info(text)

    def _give_up(self, why: str) -> None:
        self._recorder, recorder = None, self._recorder
        self._problem = "flight recorder: gave up; see the log for the reason"
        self._node.get_logger().error(why)
        if recorder is not None:
            recorder.abandon()

    def _on_record(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer(response, lambda it: f"writes {it.request('by service')}")

    def _on_record_run(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        if request.data:
            return self._answer(response, lambda it: f"writes {it.begin_run('by service')}")
        return self._answer(response, lambda it: f"ends {it.end_run()}")

    def _answer(self, response: R, act: Callable[[FlightRecorder], str]) -> R:
        """Execute a request and report the path; the recording is complete a moment later."""
        try:
            if self._recorder is None:
                raise RefusedError(self._problem or _OFF)
            response.message, response.success = act(self._recorder), True
        except RefusedError as error:
            response.message = str(error)
        return response


def _folder(given: str) -> Path:
    """Return the folder for recordings: the given folder, or one below ROS's log folder."""
    folder = Path(given) if given else Path(os.environ.get("ROS_HOME") or "~/.ros", "flights")
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise PolicyError(
            f"{folder}: expected a home folder, found none ({error}); set flight.folder"
        ) from error
