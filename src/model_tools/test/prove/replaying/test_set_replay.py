# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A replay of a policy set gives the recorded commands again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from policy_core.bundle.bundle import SetBundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.verified import sha256_of
from policy_core.control.controller import Controller
from policy_core.guard.limits import Limits
from policy_core.interfaces import F32, Backend, Mode
from policy_core.sets.controller import (
    SensedState,
    SetRequests,
    policy_set_of,
    set_controller,
    set_inputs,
)
from policy_inference.backends.registry import open_backend
from policy_inference.flight.tap import SetTap, Tap

from ...tiny_bundle import make_bundle
from .small_flights import SmallFlight
from .small_policies import alike, alike_from_every_state

BLEND_TICKS = 10


class SlowModel(Tap):
    """A model that takes the time of a whole tick when it is told to."""

    takes_ns = 0

    def __init__(self, backend: Backend, flight: SmallSetFlight) -> None:
        super().__init__(backend)
        self._flight = flight

    def run(self) -> None:
        super().run()
        self._flight.clock_ns += self.takes_ns


class SmallSetFlight(SmallFlight):
    """A robot with two joints, and the controller of a set of two members."""

    def _open(self, tiny_policy: Any, limits: Limits) -> tuple[Tap | SetTap, Backend, Controller]:
        contract = tiny_policy.contract
        self.models = {
            name: SlowModel(open_backend(member, ["onnx"])[0], self)
            for name, member in tiny_policy.members.items()
        }
        state = SensedState(contract, limits)
        inputs = set_inputs(contract, state, limits)
        self.policy_set = policy_set_of(tiny_policy, self.models, state, inputs, self._clock)
        tap = SetTap(self.policy_set, self.models)
        controller = set_controller(contract, tap, state, inputs, limits, self._clock)
        self.requests = SetRequests(contract, controller, self.policy_set)
        return tap, self.models["walk"], controller

    def late_tick(self, member: str) -> None:
        """One tick in which a member takes too long."""
        self.models[member].takes_ns = self._period_ns + 1
        self.tick()
        self.models[member].takes_ns = 0


def lower(weights: dict[str, F32]) -> None:
    weights["b1"] -= 0.2


def small_set(folder: Path, fallback: str | None) -> SetBundle:
    """Write a set of two policies with other targets."""
    make_bundle(folder / "walk")
    make_bundle(folder / "crouch", edit=lower)
    to = {"blend_s": BLEND_TICKS / 50}
    stated = {
        "schema_version": 1,
        "kind": "set",
        "name": "gaits",
        "version": "1.0.0",
        "members": {
            name: {"bundle": f"../{name}", "sha256": sha256_of(folder / name / "policy.yaml")}
            for name in ("walk", "crouch")
        },
        "initial": "walk",
        "states": {
            "walk": {"members": ["walk"], "stand": True, "to": {"crouch": to}},
            "crouch": {
                "members": ["crouch"],
                "way_back": "walk",
                "to": {"walk": to},
                **({"fallback": fallback} if fallback else {}),
            },
        },
    }
    (folder / "set").mkdir()
    (folder / "set" / "set.yaml").write_text(yaml.safe_dump(stated), "utf-8")
    return load_bundle(folder / "set", kind=SetBundle)


@pytest.mark.slow
@pytest.mark.parametrize("fallback", [None, "walk"])
@pytest.mark.parametrize("after", [0, 1, 4])
@pytest.mark.parametrize(("late", "fallbacks"), [("walk", 0), ("crouch", 1)])
def test_a_replay_goes_on_without_the_member_that_was_late_in_a_blend(
    tmp_path: Path, late: str, fallbacks: int, after: int, fallback: str | None
) -> None:
    flight = SmallSetFlight(small_set(tmp_path, fallback), state_every=6)
    flight.stand_and_run()
    flight.requests.switch("crouch")
    flight.go_on(after)
    flight.late_tick(late)
    assert flight.controller.mode is Mode.HOLD
    flight.go_on(2 * BLEND_TICKS)
    assert flight.policy_set.report.fallbacks == (fallbacks if fallback else 0)

    flown = flight.save(tmp_path / "flown")
    alike_from_every_state(flown)
    found = alike(flown)
    assert found.replayer.stages["command"].not_judged == 0
