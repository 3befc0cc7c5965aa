# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The served policy: its name and hash, and the conversion of values for the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from policy_core.bundle.bundle import CONTRACT_FILE, JointBundle
from policy_core.bundle.contract import JointContract, Observation
from policy_core.bundle.terms import TERMS
from policy_core.errors import BundleError, Problem
from policy_core.interfaces import F32, F64, Tensor, TensorSpec
from policy_core.observation.rows import Normaliser, Scaler, vector_scaler
from policy_inference.service.observing import Watched, make_watched
from policy_inference.service.protocol import ObservationScaling

LARGEST_SQUARE = float(np.finfo(np.float32).max)
"""Limit on the square of an observation's norm: the largest float32."""

Write = Callable[[F32, Tensor], bool]
"""Callable that writes values [size] to a row of the model input, without allocating.

It returns True if the values are valid: no NaN, infinity or impossible norm, before or after
scaling, each checked with one product. The check before scaling is needed because bounds would hide
such values.
"""


class ModelInput:
    """One model input, and the conversion of an observation's values to it."""

    def __init__(
        self,
        spec: TensorSpec,
        observation: Observation,
        *,
        statistics: tuple[F64, F64] | None = None,
        scaler: Scaler | None = None,
    ) -> None:
        """Store the conversion.

        Args:
            spec: The tensor; every axis is fixed.
            observation: Observation that defines the bounds.
            statistics: Mean and divisor [size] that normalize the whole vector.
            scaler: The terms' scaling, for values in SI units; None if unknown.
        """
        self.name, self.size = spec.name, int(np.prod(spec.shape))
        self._scaler, self._normaliser = scaler, Normaliser(observation, statistics)
        self._vector: F64 = np.zeros(self.size)
        kind = np.dtype(spec.dtype)
        self._largest = float((np.iinfo if kind.kind == "i" else np.finfo)(kind).max)
        is_float = kind == np.float32
        self._as_they_are = {
            ObservationScaling.PHYSICAL: False,
            ObservationScaling.NORMALISED: is_float,
            ObservationScaling.SCALED: is_float and not self._normaliser.changes,
        }

    def way(self, scaling: ObservationScaling) -> Write:
        """Return the function that writes values with this scaling to a row of the model input."""
        if self._as_they_are[scaling]:
            return self._write_as_they_are
        return partial(self._write_scaled, scaling)

    def _write_as_they_are(self, values: F32, into: Tensor) -> bool:
        vector = self._vector
        vector[...] = values
        if vector.dot(vector) <= LARGEST_SQUARE:
            into[...] = values
            return True
        return False

    def _write_scaled(self, scaling: ObservationScaling, values: F32, into: Tensor) -> bool:
        vector = self._vector
        vector[...] = values
        if not vector.dot(vector) <= LARGEST_SQUARE:
            return False
        if scaling is ObservationScaling.PHYSICAL:
            assert self._scaler is not None  # a session that asks for it is refused
            self._scaler.apply(vector)
        if scaling is not ObservationScaling.NORMALISED:
            self._normaliser.apply(vector)
        if not vector.dot(vector) <= self._largest**2:
            return False
        into[...] = vector
        return True

    def wrong(self, values: F32) -> str:
        """Describe why values were rejected."""
        strange = np.flatnonzero(~np.isfinite(values))
        if strange.size:
            return f"expected finite values, found {values[strange[0]]} at {strange[0]}"
        worst = int(np.abs(values).argmax())
        largest = min(LARGEST_SQUARE**0.5, self._largest)
        return (
            f"expected values whose norm, before and after scaling, is at most {largest:.6g}, "
            f"found {values[worst]:g} at {worst}"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedPolicy:
    """A policy as clients see it.

    Attributes:
        name: The policy's name.
        version: The policy's version; empty if unknown.
        sha256: The policy's hash (32 bytes), as in a client's HELLO.
        rate_hz: Ticks per second in training; 0 if unknown.
        inputs: Inputs that an observation fills, in order.
        output: Tensor with the action.
        contract: The bundle's contract; None for a model file.
        watched: Statistics of healthy observations.
    """

    name: str
    version: str = ""
    sha256: bytes
    rate_hz: float = 0.0
    inputs: tuple[ModelInput, ...]
    output: str
    contract: JointContract | None = None
    watched: Sequence[Watched] = ()


def make_served(bundle: JointBundle) -> ServedPolicy:
    """Return a bundle's served policy, for which PHYSICAL values are in SI units, minus offsets."""
    contract = bundle.contract
    _require_action_alone(bundle)
    specs = {spec.name: spec for spec in contract.model.input_specs}
    scalers = {
        name: vector_scaler(observation, contract)
        for name, observation in contract.observations.items()
    }
    inputs = tuple(
        ModelInput(
            specs[name], observation, statistics=bundle.statistics.get(name), scaler=scalers[name]
        )
        for name, observation in contract.observations.items()
    )
    return ServedPolicy(
        name=contract.name,
        version=contract.version,
        sha256=bytes.fromhex(bundle.sha256),
        rate_hz=contract.rate_hz,
        inputs=inputs,
        output=contract.action.output,
        contract=contract,
        watched=make_watched(bundle, scalers),
    )


def _require_action_alone(bundle: JointBundle) -> None:
    problems = [
        Problem(
            file=str(bundle.path / CONTRACT_FILE),
            key=f"observations.{name}.terms[{i}]",
            expected="terms that a client of the service can fill",
            found=term.term,
            remedy="a client receives only the action; run this policy with joint_policy_node, or "
            "make the output part of a `state` pair",
        )
        for name, observation in bundle.contract.observations.items()
        for i, term in enumerate(observation.terms)
        if TERMS[term.term].size == "output"
    ]
    problems += [
        Problem(
            file=str(bundle.path / CONTRACT_FILE),
            key=key,
            expected=expected,
            found=key,
            remedy="run this policy with joint_policy_node",
        )
        for key, expected, has in (
            (
                "action.gains",
                "gains from the contract (a client receives only the action)",
                bundle.contract.sets_gains,
            ),
            (
                "initial_state",
                "states that begin at zero (as each client's do)",
                bundle.contract.initial_state is not None,
            ),
        )
        if has
    ]
    if problems:
        raise BundleError(*problems)
