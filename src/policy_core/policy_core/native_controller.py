# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Controller around the native core: ticks run in C++, requests and words are handled in Python."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from policy_core.bundle.body import Body
from policy_core.bundle.contract import VelocityCommand
from policy_core.control.controller import (
    LOCK_TIMEOUT_S,
    RESTART,
    TICK_HANGS,
    Controller,
    ControllerStatus,
)
from policy_core.control.motions import silence_words
from policy_core.control.tick import Tick
from policy_core.control_state import ControlState, Tree
from policy_core.errors import BackendError, PolicyError, RefusedError
from policy_core.guard.bounds import Rule, Trip
from policy_core.guard.command import CommandFader
from policy_core.guard.joint_check import JointCheck
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64, Backend, JointTargets, Mode, Policy, Tensor
from policy_core.native import Words
from policy_core.native_words import native_plan
from policy_core.observation.freshness import Input
from policy_core.observation.state import StateVector
from policy_core.plan import plan_bytes
from policy_core.words import STAMPS

if TYPE_CHECKING:  # a joint policy alone needs no sets or chunks
    from policy_core.native_chunks import NativeChunks
    from policy_core.sets.native_set import NativeSet
    from policy_core.sets.policy import PolicySet

_MODES, _RULES = tuple(Mode), tuple(Rule)
_STATUS_LOCK_S = 0.02


class _Model:
    """Runs a back end for the native core, which refers to errors by message number."""

    def __init__(self, backend: Backend, number_of: Callable[[str], int]) -> None:
        self._backend, self._number_of = backend, number_of
        self.raised: BaseException | None = None
        """Error other than BackendError, which the tick re-raises."""
        self.seen = tuple(
            {name: np.zeros_like(array) for name, array in arrays.items()}
            for arrays in (backend.inputs, backend.outputs)
        )
        """Copies of the model's inputs and outputs from the displayed tick."""

    def native(self) -> Any:
        """Return what the native core needs: a native model, or the arrays and `run`."""
        open_native = getattr(self._backend, "native_model", None)
        model = open_native() if open_native is not None else None
        return model or (self._backend.inputs, self._backend.outputs, self.run)

    def run(self) -> int:
        try:
            self._backend.run()
        except BackendError as error:
            return self._number_of(str(error))
        except BaseException as error:  # noqa: BLE001  # none may pass through C++
            self.raised = error
            return self._number_of(str(error) or type(error).__name__)
        return 0


class TickRecord(NamedTuple):
    """One tick of the native core, without arrays; see `Record` in host.hpp."""

    number: int
    now_ns: int
    stamp_ns: int
    duration_ns: int
    missed: int
    late_ns: int
    mode: int
    reason: tuple[Any, ...] | None
    edges: int
    trips: int
    trip: tuple[int, tuple[Any, ...], bool] | None
    asked: bool
    begins: bool
    answered: bool
    taken: bool
    blend: float
    clipped_ticks: int
    sent_mode: int
    sequence: int
    refused: int
    doubted: int
    born_ns: tuple[int | None, ...]
    measured_ns: tuple[int | None, ...]
    wire: tuple[bytes | None, ...]
    snapshot: bytes | None


class NativeController(Controller):
    """A controller that ticks in C++, with results bit-identical to those of `Controller`.

    The native core holds the state that ticks change. The part of this state that requests use,
    except a chunk policy's own memory, is copied from the native core before each request and
    copied back afterwards, between two ticks. State fields are shared memory. `latest_tick` holds a
    copy of a tick, so that further ticks may run meanwhile.
    """

    _COPIED = (
        "mode",
        "_latched",
        "_estop_noted",
        "_counters",
        "_last_tick_ns",
        "_commanded_by",
        "_stand",
        "_safe",
        "_step",
        "_held",
        "_held_mode",
        "_hold_began_ns",
        "_held_until_ns",
        "state",
        "_run",
    )
    _native: Any = None
    _is_copied = False

    def __init__(
        self,
        body: Body,
        policy: Policy,
        state: StateVector,
        inputs: Mapping[str, Input],
        command: CommandFader,
        limits: Limits,
        clock: Callable[[], int],
        *,
        models: Mapping[str, Backend],
        sha256: bytes,
    ) -> None:
        """Connect the parts, as `Controller` does, and open the native core with their plan.

        Args:
            body: Same as for `Controller`, as are the arguments up to `clock`.
            policy: The policy for RUN.
            state: Measured state.
            inputs: Ages of the inputs, by topic.
            command: The operator's command.
            limits: Limits in force.
            clock: The clock that `now_ns` comes from.
            models: Opened models by set member name; "" for a single policy.
            sha256: Hash of the bundle [32].

        Raises:
            ImportError: The native core is not installed.
            ValueError: The native core cannot run this policy.
        """
        import policy_core_native

        live = self.live = {name: NativeInput(each) for name, each in inputs.items()}
        """The inputs; the native core holds their ages."""
        super().__init__(body, policy, state, live, command, limits, clock)
        plan = plan_bytes(native_plan(self), sha256)
        words = self.words = Words(self, plan)
        self._models = {name: _Model(each, words.number_of) for name, each in models.items()}
        native = policy_core_native.NativeController(
            plan,
            {name: each.native() for name, each in self._models.items()},
            clock,
            state.flat,
            slots=_shown_ticks(body.period_ns),
            sources=len(live),
        )
        for place, entry in enumerate(live.values()):
            entry.join(native, place, words)
        self.command = NativeCommand(command, native, words)
        self.joint_check = NativeJointCheck(body, limits.state_timeout_ns, native, words)
        self._sent, self._fault = (JointTargets(len(body.joints.names)) for _ in range(2))
        self.policy_set: NativeSet | None = None
        """View of the running set; None for a single policy."""
        if hasattr(policy, "states"):
            from policy_core.sets.native_set import NativeSet

            self.policy_set = NativeSet(cast("PolicySet", policy), native, words)
        self._chunks = _native_chunks(policy, live, native, words)
        self.asked: Callable[[bool], None] | None = None
        """Called for each displayed tick that ran the policy, with True if the policy answered."""
        self.runs_ahead = False
        """True if ticks may continue while a tick is displayed."""
        self._shown = StateVector(
            {name: place.stop - place.start for name, place in state.slices.items()}
        )
        self.seen_state: F64 = np.zeros_like(state.flat)
        """State fields as the policy saw them in the displayed tick."""
        self._shown_inputs = {
            name: Input(name, each.timeout_ns, stops_all=each.stops_all, no_message=each.no_message)
            for name, each in live.items()
        }
        self.latest_tick = Tick(
            self._shown, self._shown_inputs, self.latest_tick.target.copy(), self._state_of_tick
        )
        self._granted = deque[tuple[int, tuple[tuple[str, int], ...], str]]()
        """For each group of requests: number of the next tick, requests, reason for the mode."""
        self._edges = self._trips = 0
        self._snapshot_bytes: bytes | None = None
        seen = [each.seen for each in self._models.values()]
        native.mirror(
            self.seen_state,
            self._shown.flat,
            self.latest_tick.target,
            self.latest_tick.authority,
            self._sent.block,
            [array for inputs, _ in seen for array in inputs.values()],
            [array for _, outputs in seen for array in outputs.values()],
        )
        self._native = native

    @property
    def native(self) -> Any:
        """The controller in policy_core_native, for a loop that runs its ticks."""
        return self._native

    @property
    def seen(self) -> Mapping[str, tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]:
        """Each model's inputs and outputs in the displayed tick, in arrays that never move."""
        return {name: (each.seen[0], each.seen[1]) for name, each in self._models.items()}

    @property
    def mode(self) -> Mode:
        """Current mode."""
        if self._is_copied or self._native is None:
            return self._mode
        return _MODES[int(self._native.mode)]

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode

    def start(self) -> None:
        """Begin in DAMP; see `Controller.start`."""
        try:
            with self._between_ticks():
                super().start()
                self._granted.clear()
                self._native.driver_stopped(-1)
        except RefusedError as error:
            raise PolicyError(RESTART) from error

    def tick(self, now_ns: int, next_deadline_ns: int) -> JointTargets | None:
        """Return the targets for this tick; see `Controller.tick`."""
        with self._locked():
            self._native.advance(now_ns, next_deadline_ns)
        self.show_next()
        return self.latest_tick.targets

    def show_next(self) -> TickRecord | None:
        """Show the next completed tick in `latest_tick`, and return it; None if there is none."""
        found = self._native.pop()
        if found is None:
            return None
        record, tick = TickRecord(*found), self.latest_tick
        granted = list[tuple[str, int]]()
        while self._granted and self._granted[0][0] <= record.number:
            _, requests, tick.reason = self._granted.popleft()
            granted += requests
        tick.now_ns, tick.granted, tick.mode = record.now_ns, tuple(granted), _MODES[record.mode]
        tick.asked, tick.begins, tick.taken = record.asked, record.begins, record.taken
        tick.blend, tick.clipped_ticks = record.blend, record.clipped_ticks
        if record.reason is not None:
            self._note(record)
        tick.targets = None
        if record.sent_mode >= 0:
            tick.targets, self._sent.mode = self._sent, _MODES[record.sent_mode]
        for entry, born_ns, measured_ns in zip(
            self._shown_inputs.values(), record.born_ns, record.measured_ns, strict=True
        ):
            entry.show(born_ns, measured_ns)
            entry.repeats = self.live[entry.name].repeats
        self._snapshot_bytes = record.snapshot
        if record.asked and self.asked is not None:
            self.asked(record.answered)
        if self.policy_set is not None:
            with self._locked():
                self.policy_set.take_refusals()
        for chunks in self._chunks.values():
            with self._locked():
                chunks.show()
        runs: list[_Model | NativeChunks] = [*self._models.values(), *self._chunks.values()]
        for each in runs:
            if each.raised is not None:
                raised, each.raised = each.raised, None
                raise raised
        return record

    def _note(self, record: TickRecord) -> None:
        """Convert the reasons of mode changes and of the last trip to words."""
        assert record.reason is not None
        self.latest_tick.reason = self.words.reason(record.reason)
        if record.edges != self._edges:
            with self._locked():
                while (edge := self._native.pop_edge()) is not None:
                    mode, reason, at_ns = edge
                    words = self.words.reason(reason)
                    self.edges.append((_MODES[mode], words, at_ns))
        if record.trip is not None and record.trips != self._trips:
            rule, reason, latched = record.trip
            words = self.words.reason(reason)
            self.latest_tick.trip = Trip(rule=_RULES[rule], reason=words, latched=latched)
        self._edges, self._trips = record.edges, record.trips

    @contextmanager
    def _locked(self, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
        """Keep ticks from running; raise RefusedError if a running tick does not return in time."""
        if not self._native.lock(round(timeout_s * 1e9)):
            raise RefusedError(TICK_HANGS)
        try:
            yield
        finally:
            self._native.unlock()

    @contextmanager
    def _between_ticks(self) -> Iterator[None]:
        with self._locked():
            self._copy_from_native()
            self._is_copied = True
            try:
                yield
            finally:
                self._copy_to_native()
                self._is_copied = False

    def _copy_from_native(self) -> None:
        tree = self.words.tree(self._native.saved(False))
        for name, chunks in self._chunks.items():
            owners, key = _owners(tree, name)
            owners[key] = chunks.complete(owners[key])
        self._restore(self._COPIED, tree)
        self._reason = self.words.reason(self._native.reason())

    def _copy_to_native(self) -> None:
        saved = self._native.saved(False)
        tree = self._saved((*self._COPIED, "_reason"))
        saved |= self.words.numbers(tree, {name: saved[name] for name in tree})
        self._native.restore(saved, all=False)
        self._granted.append((self._native.ticks, tuple(self._granted_since), self._reason))
        self._granted_since.clear()
        if self._estop is not None and self._native.pressed < 0:
            self._native.press_estop(self.words.number_of(self._estop[0]))
        if self._driver_stopped:  # from a controller whose state was taken over
            self.driver_stopped(self._driver_stopped)
            self._driver_stopped = ""

    def saved(self) -> dict[str, Any]:
        """Return a copy of the full state; call between two ticks."""
        return {**self.words.tree(self._native.saved()), "estop": self._estop}

    def restore(self, saved: Tree) -> None:
        """Restore the state of a controller with the same contract and limits."""
        super().restore(saved)
        self._copy_to_native()
        form = self._native.saved() if self._chunks else {}
        for name, chunks in self._chunks.items():
            (found, key), (like, _) = _owners(saved, name), _owners(form, name)
            chunks.restore(found[key], like[key])

    def control_state(self) -> ControlState:
        """Return a copy of the control path's full state; see `Controller.control_state`."""
        with self._locked():
            return ControlState(tree=self.saved())

    def _state_of_tick(self) -> ControlState | None:
        """Return the state after the displayed tick; None if it was not kept."""
        if not self.runs_ahead:
            return self.control_state()
        if self._snapshot_bytes is None:
            return None
        return ControlState(tree=self.words.tree(self._native.tree_of(self._snapshot_bytes)))

    def take_over(self, before: Controller) -> None:
        """Continue from another controller; see `Controller.take_over`."""
        self._is_copied = True
        try:
            super().take_over(before)
            self._copy_to_native()
        finally:
            self._is_copied = False

    def driver_stopped(self, reason: str) -> None:
        """Enter DAMP at the next tick; see `Controller.driver_stopped`."""
        self._native.driver_stopped(self.words.number_of(reason))

    def estop(self, reason: str) -> JointTargets | None:
        """Request DAMP without waiting for a tick; see `Controller.estop`."""
        self._native.press_estop(self.words.number_of(reason))
        return super().estop(reason)

    def reset(self) -> None:
        """Clear a latched fault and the e-stop; see `Controller.reset`."""
        pressed = self._native.pressed
        super().reset()
        if self._estop is None:
            self._native.forget_press(pressed)

    def reject_command(self) -> None:
        """Count a velocity command that was ignored because it was not finite."""
        self._native.reject_command()

    def safe_targets(self) -> JointTargets | None:
        """Return the targets to send in DAMP; see `Controller.safe_targets`."""
        block = self._native.safe()
        if block is None:
            return None
        self._fault.block.reshape(-1)[:] = block
        return self._fault

    def snapshot(self) -> ControllerStatus:
        """Return mode, reason and counters; see `Controller.snapshot`."""
        native = self._native
        with suppress(RefusedError), self._locked(_STATUS_LOCK_S):  # a tick may hang
            self._reason = self.words.reason(native.reason())
        known, requested = native.silence
        return self._snapshot(
            native.counters,
            silence_words(known=known, requested=requested),
            latched=native.latched,
            estop_noted=native.estop_noted,
            authority=native.authority,
        )


def _native_chunks(
    policy: Any, inputs: Mapping[str, Input], native: Any, words: Words
) -> dict[str, NativeChunks]:
    """Return the connection of each chunk policy, by set member ("" for a single policy)."""
    owners = policy.members if hasattr(policy, "members") else {"": policy}
    found: dict[str, NativeChunks] = {}
    for name, owner in owners.items():
        if getattr(owner, "chunk_policy", None) is None:
            continue
        from policy_core import native_chunks

        found[name] = native_chunks.NativeChunks(name, owner, owner.chunk_policy, native, words)
        if hasattr(owner, "leader"):
            owner.leader = inputs[owner.leader.name]
    return found


def _owners(tree: Any, name: str) -> tuple[Any, str]:
    """Return the part of a saved state that contains a chunk policy, and the policy's key there."""
    return (tree["run"]["policy"]["members"], name) if name else (tree["run"], "policy")


def _shown_ticks(period_ns: int) -> int:
    """Return how many ticks may wait to be displayed: one second's worth, clamped to 64 to 1024."""
    return max(64, min(1024, 1_000_000_000 // period_ns))


class NativeInput(Input):
    """An input whose state is kept in a native core, once the input has joined that core."""

    _native: Any = None
    _repeats = 0
    _step: tuple[int, int] = (0, 0)
    _step_words = ""

    def __init__(self, entry: Input) -> None:
        """Copy the name and time-out of another input."""
        super().__init__(
            entry.name, entry.timeout_ns, stops_all=entry.stops_all, no_message=entry.no_message
        )

    def join(self, native: Any, place: int, words: Words) -> None:
        """Become input number `place` of a native controller."""
        self._place, self._words, self._native = place, words, native
        self.number = words.new_number()
        """Number that represents the last message's problem in the native core."""

    def reset(self) -> None:
        self._repeats = 0
        if self._native is not None:
            self._native.reset_input(self._place)

    def is_new(self, stamp_ns: int | None, now_ns: int) -> bool:
        """Return True if a message is new; see `Input.is_new`."""
        return bool(self._native.is_new(self._place, stamp_ns, now_ns))

    def accept(self, now_ns: int, stamp_ns: int | None = None, ros_now_ns: int = 0) -> None:
        """Record a new, usable message; see `Input.accept`."""
        self._native.accept(self._place, now_ns, stamp_ns, ros_now_ns)

    def reject(self, problem: str) -> None:
        """Record an unusable message; see `Input.reject`."""
        self.say(problem)
        self._native.reject(self._place, self.number)

    def say(self, problem: str) -> None:
        """Set the words that describe why the native core has rejected a message."""
        self._words.set_text(self.number, problem)

    def age_ns(self, now_ns: int) -> int | None:
        """Return the age of the newest message; see `Input.age_ns`."""
        age_ns: int | None = self._native.age_ns(self._place, now_ns)
        return age_ns

    def is_stale(self, now_ns: int) -> bool:
        """Return True if the input is too old to act on."""
        return bool(self._native.is_stale(self._place, now_ns))

    def describe(self, now_ns: int) -> str:
        """Describe the input in a few words; see `Input.describe`."""
        problem, _, refused, stamps, *_ = self._native.input_report(self._place)
        return self.described(
            self.age_ns(now_ns), self._words.text(problem), refused, STAMPS[stamps]
        )

    @property
    def problem(self) -> str:
        """Reason why the last message was unusable; "" if it was usable."""
        return self._words.text(int(self._native.input_report(self._place)[0]))

    @problem.setter
    def problem(self, problem: str) -> None:
        if problem:
            self.reject(problem)

    @property
    def measured_ns(self) -> int | None:  # type: ignore[override]
        """Measurement time of the newest message; see `Input`."""
        measured_ns: int | None = self._native.input_report(self._place)[1]
        return measured_ns

    @property
    def clock_step(self) -> str:  # type: ignore[override]
        """Latest clock step, in words; a new object for each step."""
        *_, whose, step_ns = self._native.input_report(self._place)
        if (whose, step_ns) != self._step:
            self._step = whose, step_ns
            self._step_words = self._words.clock_step(whose, step_ns)
        return self._step_words

    @property
    def repeats(self) -> int:
        """Number of consecutive earlier messages from a camera with the same image."""
        return self._repeats

    @repeats.setter
    def repeats(self, repeats: int) -> None:
        if repeats != self._repeats:
            self._repeats = repeats
            self._native.note_repeats(self._place, repeats)

    def saved(self) -> dict[str, Any]:
        """Return a copy of the state."""
        return self._words.tree(self._native.saved_input(self._place))

    def restore(self, saved: Tree) -> None:
        """Restore a saved state."""
        numbers = self._words.numbers(saved, self._native.saved_input(self._place))
        self._native.restore_input(self._place, numbers)


class NativeCommand(CommandFader):
    """Velocity command that is held in a native core."""

    def __init__(self, command: CommandFader, native: Any, words: Words) -> None:
        """Hold the command in this native controller, limited to the range of `command`."""
        self._low, self._high = command._low, command._high
        self._native, self._words = native, words

    def set(self, velocity: tuple[float, float, float], born_ns: int) -> bool:
        """Accept a new command; see `CommandFader.set`."""
        return bool(self._native.set_command(*velocity, born_ns))

    def narrow(self, within: VelocityCommand) -> None:
        """Narrow the range of commands; see `CommandFader.narrow`."""
        super().narrow(within)
        self._native.narrow_command(self._low, self._high)

    def update(self, now_ns: int) -> tuple[Rule, ...]:
        """Write this tick's commands; see `CommandFader.update`."""
        acted = self._native.update_command(now_ns)
        return tuple(rule for place, rule in enumerate(_RULES) if acted >> place & 1)

    def close(self, now_ns: int) -> None:
        """Start to fade the command to zero; see `CommandFader.close`."""
        self._native.close_command(now_ns)

    def open(self) -> None:
        """Accept commands again."""
        self._native.open_command()

    def saved(self) -> dict[str, Any]:
        """Return a copy of the state."""
        return self._words.tree(self._native.saved_command())

    def restore(self, saved: Tree) -> None:
        """Restore a saved state; see `CommandFader.restore`."""
        numbers = self._words.numbers(saved, self._native.saved_command())
        self._native.restore_command(numbers)


class NativeJointCheck(JointCheck):
    """Plausibility check on joint samples in a native core."""

    _native: Any = None

    def __init__(self, body: Body, longest_ns: int, native: Any, words: Words) -> None:
        """Use the check in this native controller; the other arguments are as for `JointCheck`."""
        super().__init__(body, longest_ns)
        self._native, self._words = native, words

    def forget(self) -> None:
        """Discard the trusted pose; see `JointCheck.forget`."""
        if self._native is None:
            super().forget()
        else:
            self._native.forget_joints()

    def believe(self, position: F64, now_ns: int) -> None:
        """Trust this pose; see `JointCheck.believe`."""
        self._native.believe_joints(position, now_ns)

    def problem(self, position: F64, velocity: F64 | None, now_ns: int) -> str:
        """Check a sample; see `JointCheck.problem`."""
        found = self._native.judge(position, velocity, now_ns)
        return self._words.joint_problem(found)

    @property
    def doubted(self) -> F64 | None:
        """Newest positions if they are not yet trusted; see `JointCheck.doubted`."""
        doubted: F64 | None = self._native.doubted()
        return doubted

    @property
    def in_motion(self) -> bool:
        """True if the robot is commanded to move; set by the controller."""
        return bool(self._native.in_motion)

    @in_motion.setter
    def in_motion(self, in_motion: bool) -> None:
        if self._native is not None:
            self._native.in_motion = in_motion

    @property
    def lost(self) -> bool:
        """True if the source was silent and no sample has been trusted since."""
        return bool(self._native.joints_lost)

    @lost.setter
    def lost(self, lost: bool) -> None:
        """Set the value before the check has joined a native core."""

    @property
    def replaced(self) -> int:
        """Number of accepted implausible jumps; see `JointCheck.replaced`."""
        return int(self._native.joints_replaced)

    @replaced.setter
    def replaced(self, replaced: int) -> None:
        """Set the value before the check has joined a native core."""

    def saved(self) -> dict[str, Any]:
        """Return a copy of the state."""
        return self._words.tree(self._native.saved_joint_check())

    def restore(self, saved: Tree) -> None:
        """Restore a saved state."""
        numbers = self._words.numbers(saved, self._native.saved_joint_check())
        self._native.restore_joint_check(numbers)
