# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cross-checks on a policy set that do not need its bundles: names and transitions."""

import re
from collections.abc import Iterator

from policy_core.bundle.contract import NAME
from policy_core.bundle.schema import Found, Reader
from policy_core.bundle.set_contract import (
    FIRST_FRAME,
    FIRST_TARGET,
    STAND,
    SetFile,
    SetState,
    Transition,
)
from policy_core.bundle.validate_body import listed

_OWN_POSES = (STAND, FIRST_TARGET, FIRST_FRAME)


def validate_set(stated: SetFile, reader: Reader) -> None:
    """Add contradictions between fields of a set to `reader`."""
    check = _SetValidator(stated, reader)
    check.names()
    check.initial()
    for name, state in stated.states.items():
        check.state(name, state)
    check.reachable()


class _SetValidator:
    def __init__(self, stated: SetFile, reader: Reader) -> None:
        self._stated, self._states = stated, stated.states
        self._reader, self._expect = reader, reader.expect

    def names(self) -> None:
        """Check that names are valid in services and files, and that each member is used."""
        for section in ("members", "states", "poses"):
            for name in getattr(self._stated, section):
                self._expect(
                    re.fullmatch(NAME, name) is not None,
                    f"{section}.{name}",
                    f"a name like {NAME}",
                    name,
                )
        for name in {*_OWN_POSES} & self._stated.poses.keys():
            self._reader.problem(
                f"poses.{name}", "a different name (every set has a pose with this name)", name
            )
        used = {member for state in self._states.values() for member in state.members}
        for name in self._stated.members:
            self._expect(
                name in used,
                f"members.{name}",
                "at least one state with this member",
                Found("none"),
            )

    def initial(self) -> None:
        """Check that the initial state has `stand: true`."""
        name = self._stated.initial
        if self._known("initial", name):
            self._expect(
                self._states[name].stand,
                f"states.{name}.stand",
                "true (RUN begins in this state with the robot standing)",
                Found("false"),
            )

    def state(self, name: str, state: SetState) -> None:
        """Check the names in a state, its transitions and its way back."""
        key = f"states.{name}"
        for i, member in enumerate(state.members):
            if member in self._stated.members:
                is_first = member not in state.members[:i]
                self._expect(is_first, f"{key}.members[{i}]", "each member once", member)
            else:
                self._reader.problem(
                    f"{key}.members[{i}]",
                    f"one of the members ({listed(self._stated.members)})",
                    member,
                )
        for to, transition in state.to.items():
            self._transition(f"{key}.to.{to}", name, to, transition)
        if state.fallback is not None and self._known(f"{key}.fallback", state.fallback):
            self._is_another(f"{key}.fallback", name, state.fallback)
        if state.ends is not None:
            self._leads(f"{key}.ends.to", name, state.ends.to)
        self._way_back(f"{key}.way_back", name, state)

    def _transition(self, key: str, name: str, to: str, transition: Transition) -> None:
        if self._known(key, to):
            self._is_another(key, name, to)
        if transition.timeout_state is not None:
            self._leads(f"{key}.timeout_state", name, transition.timeout_state)
            self._is_another(f"{key}.timeout_state", to, transition.timeout_state)
            self._expect(
                transition.otherwise == "wait",
                f"{key}.timeout_state",
                "nothing",
                transition.timeout_state,
                "only a request with `otherwise: wait` can wait too long",
            )
        pose, known = transition.when.pose, (*_OWN_POSES, *self._stated.poses)
        self._expect(
            pose is None or pose in known, f"{key}.when.pose", f"one of {', '.join(known)}", pose
        )

    def _way_back(self, key: str, name: str, state: SetState) -> None:
        """Check that the way back leads to a state from which the robot may stand up."""
        if state.stand:
            self._expect(
                state.way_back is None,
                key,
                "nothing (the robot may stand up from this state)",
                state.way_back,
            )
            return
        if state.way_back is None:
            self._reader.problem(
                key,
                "the next state on the way back to standing",
                Found("nothing"),
                "name it, or set `stand: true` if the stand motion may begin in this state",
            )
            return
        self._leads(key, name, state.way_back)
        way = [name, *self._ways_back(name)]
        self._expect(
            way[-1] not in way[:-1],
            key,
            "a way that ends in a state with `stand: true`",
            Found(f"the cycle {' -> '.join(way)}"),
        )

    def _ways_back(self, name: str) -> Iterator[str]:
        """Yield the states on the way back from a state; stop after a repeated state."""
        seen = {name}
        while (state := self._states.get(name)) is not None and state.way_back is not None:
            name = state.way_back
            yield name
            if name in seen:
                return
            seen.add(name)

    def reachable(self) -> None:
        """Check that every state is reachable."""
        if self._stated.initial not in self._states:
            return
        found, left = set[str](), [self._stated.initial]
        while left:
            name = left.pop()
            if name in self._states and name not in found:
                found.add(name)
                state = self._states[name]
                left += [*state.to, *filter(None, [state.fallback])]
        for name in self._states:
            self._expect(
                name in found,
                f"states.{name}",
                f"a transition or a fallback that leads here from {self._stated.initial}",
                Found("none"),
                "add one, or remove the state",
            )

    def _known(self, key: str, state: str) -> bool:
        known = state in self._states
        self._expect(known, key, f"one of the states ({listed(self._states)})", state)
        return known

    def _is_another(self, key: str, name: str, to: str) -> None:
        self._expect(to != name, key, f"a state other than {name}", to)

    def _leads(self, key: str, name: str, to: str) -> None:
        """Check that a state has a transition to a given other state."""
        leads = self._states[name].to
        self._expect(
            to in leads, key, f"a state that `states.{name}.to` leads to ({listed(leads)})", to
        )
