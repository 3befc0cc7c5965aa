# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The model as seen by clients: rows of observations in, rows of answers out, no sockets."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np

from policy_core.errors import BackendError
from policy_core.guard.bounds import Rule
from policy_core.interfaces import F32, Tensor
from policy_inference.backends.base import BackendBase
from policy_inference.service.batching import Axes
from policy_inference.service.lanes import Lane, make_lanes
from policy_inference.service.policy import ServedPolicy, Write
from policy_inference.service.protocol import Answer, Code, Hello, ObservationScaling, ServiceError

_ACTION_NOT_FINITE = "action: expected finite values from the model, found NaN or infinity"
Place = tuple[Sequence[Lane], int, int]


class ClientSession:
    """State of one client's use of the model.

    Attributes:
        observation: Observations of the client's robots [rows, obs_dim]; written by the client's
            connection before `infer`.
        answer: Answers to these observations [rows, answer_dim]; read by the client's connection
            after `infer`.
        rows: Number of robots in this request, in the first rows; written by the client's
            connection before `infer`.
        restarts: If set before `infer`, the recurrent state is reset before this observation, even
            if the observation gets no answer; `infer` clears this flag.
        problem: Reason why the latest answer is undefined; otherwise None.
        place: Lanes of the latest inference, index of the first lane, number of lanes.
        seats: The client's robots in these lanes, each with its lane.
        entries: Pending writes: conversion, values, destination.
        copies: Pending answers that are plain copies of the model's output: source, destination.
    """

    def __init__(self, hello: Hello, observation: F32, answer: F32) -> None:
        self.observation, self.answer = observation, answer
        self.scaling, self.wants_target = hello.scaling, hello.answer is Answer.TARGET
        self.rows, self.restarts = len(observation), True
        self.problem: ServiceError | None = None
        self.robots: Sequence[Robot] = ()
        self.place: Place = (), 0, 0
        self.seats: Sequence[tuple[Robot, Lane]] = ()
        self.entries: Sequence[tuple[Write, F32, Tensor]] = ()
        self.copies: Sequence[tuple[memoryview, memoryview]] = ()

    def sit(self, place: Place) -> None:
        """Assign lanes; most clients get the same lanes every time."""
        lanes, start, rows = self.place = place
        self.seats = [*zip(self.robots, lanes[start : start + rows])]  # noqa: B905  as many as asked
        self.entries = [
            (one.way(self.scaling), part, into)
            for robot, lane in self.seats
            for part, (one, into) in zip(robot.parts, lane.inputs, strict=True)
        ]
        self.copies = [
            (lane.plain, robot.answer.data)
            for robot, lane in self.seats
            if lane.plain is not None and not self.wants_target
        ]


class Robot:
    """One row of a session: views of its arrays, and its recurrent state."""

    __slots__ = ("answer", "observation", "parts", "state")

    def __init__(self, policy: ServedPolicy, lane: Lane, observation: F32, answer: F32) -> None:
        self.observation, self.answer = observation, answer
        ends = np.cumsum([one.size for one in policy.inputs]).tolist()
        self.parts = tuple(
            observation[end - one.size : end] for one, end in zip(policy.inputs, ends, strict=True)
        )
        self.state: tuple[Tensor, ...] = tuple(np.zeros_like(into) for into, _ in lane.state)


class ServedModel:
    """Answers sessions; call all methods on one thread.

    Attributes:
        obs_dim: Size of an observation.
        action_dim: Size of the model's output.
        joints: Joints in a TARGET answer, named as on the robot; empty without a contract.
        sha256: The policy's hash (32 bytes), as in a client's HELLO.
        name: The policy's name.
        version: The policy's version; empty if unknown.
        rate_hz: Ticks per second in training; 0 if unknown.
        backend: The model's back end.
        watched: Statistics of healthy observations.
        batch: Number of robots in one inference, and maximum number in a client's request.
        counters: Number of times that each guard rule acted, per robot, by rule name.
    """

    def __init__(
        self,
        policy: ServedPolicy,
        backend: BackendBase,
        batched: tuple[BackendBase, Axes, int] | None = None,
    ) -> None:
        """Serve an opened model.

        Args:
            policy: Description of the policy.
            backend: Model opened for one robot.
            batched: The same model opened for several robots: the back end, the batch axis of each
                tensor, and the number of robots.
        """
        self._policy, self.backend, self.sha256 = policy, backend, policy.sha256
        self.watched = policy.watched
        self._has_state = bool(policy.contract and policy.contract.state)
        self.name, self.version, self.rate_hz = policy.name, policy.version, policy.rate_hz
        several, axes, self.batch = batched or (backend, {}, 1)
        # Lanes of both models, so that a robot's state fits either model.
        self._alone, self._together = (
            (one, make_lanes(policy, one, axes, rows))
            for one, rows in ((backend, 1), (several, self.batch))
        )
        self.obs_dim = sum(one.size for one in policy.inputs)
        self.action_dim = self._alone[1][0].action.raw.size
        self.joints = policy.contract.joints.on_robot() if policy.contract else ()
        self.counters = {
            rule.value: 0
            for rule in (
                Rule.NOT_FINITE,
                Rule.INFERENCE_ERROR,
                Rule.ACTION_CLIP,
                Rule.POSITION_LIMIT,
            )
        }

    @property
    def problem(self) -> str:
        """Reason why inferences can no longer succeed; empty if they can."""
        if self.backend.is_remote:
            return ""
        return self.backend.problem() or self._together[0].problem()

    def answer_dim(self, answer: Answer) -> int:
        """Return the number of values in one answer row."""
        return len(self.joints) if answer is Answer.TARGET else self.action_dim

    def require_offered(self, hello: Hello) -> None:
        """Raise ServiceError unless the service supports a client's request."""
        needs_bundle = hello.scaling is ObservationScaling.PHYSICAL or hello.answer is Answer.TARGET
        if needs_bundle and self._policy.contract is None:
            raise ServiceError(
                Code.NOT_OFFERED,
                "HELLO: expected SCALED or NORMALISED "
                "observations and the answer ACTION (this service has no "
                f"bundle), found {hello.scaling.name} and {hello.answer.name}",
            )
        if not 1 <= hello.rows <= self.batch:
            raise ServiceError(
                Code.NOT_OFFERED,
                f"HELLO: expected 1 to {self.batch} robots in a "
                f"frame, found {hello.rows}; the option --batch of the service "
                "allows more",
            )

    def open_session(self, hello: Hello, observation: F32, answer: F32) -> ClientSession:
        """Return a session for a client.

        Args:
            hello: Request from the client.
            observation: The connection's observation array [rows, obs_dim].
            answer: The connection's answer array [rows, answer_dim].
        """
        self.require_offered(hello)
        session = ClientSession(hello, observation, answer)
        (lane,) = self._alone[1]
        session.robots = [
            Robot(self._policy, lane, *row) for row in zip(observation, answer, strict=True)
        ]
        return session

    def infer(self, sessions: Sequence[ClientSession]) -> None:
        """Answer all sessions, in as few inferences as the batch allows.

        A problem in one session does not affect the others in the same inference.
        """
        if len(sessions) == 1:
            self._infer(sessions, sessions[0].rows)
            return
        begin, rows = 0, 0
        for end, session in enumerate(sessions):
            if rows + session.rows > self.batch:
                self._infer(sessions[begin:end], rows)
                begin, rows = end, 0
            rows += session.rows
        self._infer(sessions[begin:] if begin else sessions, rows)

    def close(self) -> None:
        self._together[0].close()
        self.backend.close()

    def _infer(self, sessions: Sequence[ClientSession], rows: int) -> None:
        backend, lanes = self._alone if rows == 1 else self._together
        start, some = 0, False
        for session in sessions:
            place = lanes, start, session.rows
            if session.place != place:
                session.sit(place)
            start += session.rows
            session.problem = self._fill(session)
            if session.problem is None:
                some = True
        if not some:
            return
        try:
            backend.run()
        except BackendError as error:
            self._fail(sessions, error)
            return
        for session in sessions:
            if session.problem is None:
                session.problem = self._copy(session) if session.copies else self._take(session)

    def _fail(self, sessions: Sequence[ClientSession], error: BackendError) -> None:
        for session in sessions:
            if session.problem is None:
                session.problem = ServiceError(Code.INFERENCE_FAILED, str(error))
                self.counters[Rule.INFERENCE_ERROR.value] += session.rows

    def _fill(self, session: ClientSession) -> ServiceError | None:
        """Write a session's observations and states to its lanes."""
        if session.restarts:
            session.restarts = False
            for robot in session.robots:
                for state in robot.state:
                    state[...] = 0
        for number, (write, part, into) in enumerate(session.entries):
            if not write(part, into):
                row, of_robot = divmod(number, len(self._policy.inputs))
                one = self._policy.inputs[of_robot]
                return self._not_finite(
                    Code.OBSERVATION_NOT_FINITE,
                    row,
                    f"observation {one.name}: {one.wrong(part)}",
                )
        if self._has_state:
            for robot, lane in session.seats:
                lane.put_state(robot.state)
        return None

    def _copy(self, session: ClientSession) -> ServiceError | None:
        """Copy a session's answers that need no conversion."""
        for row, (output, answer) in enumerate(session.copies):
            # For a dozen numbers, Python's sum takes half as long as a product in numpy.
            if not isfinite(sum(output)):
                return self._not_finite(Code.ACTION_NOT_FINITE, row, _ACTION_NOT_FINITE)
            answer[:] = output
        return None

    def _take(self, session: ClientSession) -> ServiceError | None:
        """Copy a session's answers and new states from its lanes; none if a value is not finite."""
        for row, (_, lane) in enumerate(session.seats):
            if not lane.is_finite():
                return self._not_finite(Code.ACTION_NOT_FINITE, row, _ACTION_NOT_FINITE)
        for robot, lane in session.seats:
            values, acted = lane.target() if session.wants_target else lane.bounded()
            robot.answer[...] = values
            for rule in acted:
                self.counters[rule] += 1
            if self._has_state:
                lane.take_state(robot.state)
        return None

    def _not_finite(self, code: Code, row: int, text: str) -> ServiceError:
        self.counters[Rule.NOT_FINITE.value] += 1
        return ServiceError(code, f"robot {row}: {text}")
