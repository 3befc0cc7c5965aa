# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The model as clients see it: rows of observations in, rows of answers out, no sockets."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from policy_inference.backends.base import BackendBase
from policy_inference.bundle.load import Bundle
from policy_inference.core.normaliser import Normaliser
from policy_inference.errors import BackendError
from policy_inference.interfaces import F32, F64
from policy_inference.service.protocol import Answer, Code, Hello, Scaling, ServiceError


class Session:
    """What one client asks of the model.

    Attributes:
        observation: Of its robots [rows, obs_dim]; written by its connection before `infer`.
        answer: To them [rows, answer_dim]; read by its connection after `infer`.
        rows: How many of them have a part in this request, the first ones.
        restarts: Set before `infer`, recurrent state starts clean with this observation.
        problem: What speaks against the latest answer, which is then undefined; else None.
    """

    def __init__(self, observation: F32, answer: F32, scaling: Scaling) -> None:
        """Keep the connection's arrays."""
        self.observation, self.answer, self.scaling = observation, answer, scaling
        self.rows = len(observation)
        self.restarts = True
        self.problem: ServiceError | None = None


class ServedModel:
    """Answers sessions; all methods belong to one thread.

    Attributes:
        obs_dim: Values of an observation.
        action_dim: Values of the model's output.
        joints: Whose commands a TARGET holds; empty without a contract.
        sha256: Of the policy, as a client's HELLO says it.
        name: Of the policy.
        version: Of the policy.
        rate_hz: Ticks per second that the policy was trained for; 0 where not known.
        backend: What runs the model.
    """

    def __init__(self, bundle: Bundle, backend: BackendBase) -> None:
        """Serve an opened bundle."""
        contract = bundle.contract
        self.backend, self.sha256 = backend, bytes.fromhex(bundle.sha256)
        self.name, self.version, self.rate_hz = contract.name, contract.version, contract.rate_hz
        self.joints = contract.joints.names
        [(name, observation)] = contract.observations.items()
        self._input = backend.inputs[name].reshape(-1)
        self._output = backend.outputs[contract.action.output].reshape(-1)
        self._normaliser = Normaliser(observation, bundle.statistics.get(name))
        self.obs_dim, self.action_dim = self._input.size, self._output.size
        self._vector: F64 = np.zeros(self.obs_dim)

    def answer_dim(self, answer: Answer) -> int:
        """Return how many values a row of an answer has."""
        return len(self.joints) if answer is Answer.TARGET else self.action_dim

    def open_session(self, hello: Hello, observation: F32, answer: F32) -> Session:
        """Return a session of a client.

        Args:
            hello: What it asks for.
            observation: Array of its connection [rows, obs_dim].
            answer: Array of its connection [rows, answer_dim].

        Raises:
            ServiceError: NOT_OFFERED, the model cannot give that.
        """
        return Session(observation, answer, hello.scaling)

    def infer(self, sessions: Iterable[Session]) -> None:
        """Answer all of them, in as few inferences as the model's batch allows."""
        for session in sessions:
            for row in range(session.rows):
                session.problem = self._answer(session, session.observation[row],
                                               session.answer[row])
                if session.problem is not None:
                    break

    def _answer(self, session: Session, observation: F32, answer: F32) -> ServiceError | None:
        vector = self._vector
        vector[:] = observation
        if not math.isfinite(vector.dot(vector)):
            return ServiceError(Code.OBSERVATION_NOT_FINITE, "observation: expected finite values")
        if session.scaling is Scaling.SCALED:
            self._normaliser.apply(vector)
        self._input[:] = vector
        try:
            self.backend.run()
        except BackendError as error:
            return ServiceError(Code.INFERENCE_FAILED, str(error))
        answer[:] = self._output
        if not math.isfinite(answer.dot(answer)):
            return ServiceError(Code.ACTION_NOT_FINITE, "action: the model answered no number")
        return None

    def close(self) -> None:
        """Release the runtime."""
        self.backend.close()
