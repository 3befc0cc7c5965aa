# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Twins of a chunk policy: what computes chunks stands beside them, late, broken or at once."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from policy_core.bundle.contract import JointContract
from policy_core.bundle.set_contract import SetContract
from policy_core.bundle.state_fields import LEADER, LEADER_POS
from policy_core.control.controller import Controller
from policy_core.errors import BackendError, NoTargetError, RefusedError, RobotError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Mode
from policy_core.members.chunk.controller import ChunkRuntime, camera_input, chunk_controller
from policy_core.members.chunk.policy import ChunkPolicy
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.worker import Outcome, Request
from policy_core.native_chunks import ExchangeEvent
from policy_core.observation.images import Frame
from policy_core.plan import plan_bytes
from policy_core.sets.chunk_member import ChunkRunner
from testkit.edits import MISSING, with_edits
from testkit.kernel.chunk_contracts import HEIGHT, STEPS, WIDTH, chunk_bundle_of, chunk_contract_of
from testkit.kernel.contracts import NOMINAL, bundle_of, contract_of
from testkit.kernel.legs_and_arm import SET
from testkit.kernel.noise import FLOW, denoising_changes
from testkit.kernel.twins import RandomModel, RandomRobot, Twins, require_equal
from testkit.kernel.walkers import WALK_AND_CROUCH, opened_set, resolved, set_bundle_of

_FAILED: tuple[Callable[[str], Exception], ...] = (BackendError, RobotError, NoTargetError)
Computed = tuple[F64 | None, int]
"""A chunk, or None and the kind of an error."""


class WaitingWorker:
    """Leaves its requests to a test: `begin` takes one, `finish` answers it.

    Attributes:
        asked: Called at the end of each `ask`.
    """

    alive = True

    def __init__(self) -> None:
        self.asked: Callable[[], None] = lambda: None
        self._pending: Request | None = None
        self._running: Request | None = None
        self._outcomes = deque[Outcome]()

    @property
    def busy(self) -> bool:
        return bool(self._pending or self._running or self._outcomes)

    def ask(self, request: Request) -> None:
        self._pending = request
        self.asked()

    def take(self, now_ns: int) -> Outcome | None:
        return self._outcomes.popleft() if self._outcomes else None

    def forget(self) -> None:
        self._pending = None

    def close(self) -> None:
        self.forget()

    def begin(self) -> Request | None:
        if self._running or self._outcomes:
            return None
        self._running, self._pending = self._pending, None
        return self._running

    def finish(self, computed: Computed, began_ns: int, ended_ns: int) -> None:
        assert self._running is not None
        chunk, kind = computed
        error = None if chunk is not None else _FAILED[kind](_words(kind))
        self._outcomes.append(
            Outcome(
                request=self._running,
                began_ns=began_ns,
                ended_ns=ended_ns,
                chunk=chunk,
                error=error,
            )
        )
        self._running = None


def _words(kind: int) -> str:
    return f"inference failed in the way {kind}"


class Inferences:
    """Computes the chunks of one policy for both twins, from one request after the other."""

    def __init__(
        self, twins: Twins, member: str, worker: WaitingWorker, policy: ChunkPolicy
    ) -> None:
        self._twins, self._member, self._worker = twins, member, worker
        self._size, self._actions = policy.plan()["size"], policy.target.size
        self.at_once, self.is_running, self._began_ns = False, False, 0
        self._frames: dict[str, list[Frame]] = {name: [] for name in policy.sync.frames}
        self._buffers, self.cameras = policy.sync.frames, [*policy.sync.frames]
        worker.asked = self._answer_python
        twins.native.on_event(member, self._answer_native)

    def see(self, camera: str, frame: Frame, time_ns: int) -> None:
        self._frames[camera].append(frame)
        self._buffers[camera].add(frame, time_ns)
        place = self.cameras.index(camera)
        pixels = np.frombuffer(frame.data, np.uint8)
        number, _ = self._twins.native.add_frame(self._member, place, pixels, time_ns)
        assert number == len(self._frames[camera])

    def forget(self, camera: str) -> None:
        """Forget the frames of a camera, as after a clock reset."""
        self._buffers[camera].clear()
        self._twins.native.clear_frames(self._member, self.cameras.index(camera))

    def begin(self) -> None:
        """Begin what is asked for, if there is anything, for both."""
        if self.is_running:
            return
        request, native = self._worker.begin(), self._twins.native.fetch(self._member)
        assert (request is None) == (native is None)
        if request is not None:
            self.is_running, self._began_ns = True, self._twins.now_ns
            self._require_same(request, native)

    def finish(self, computed: Computed) -> None:
        if self.is_running:
            self.is_running = False
            times = self._began_ns, self._twins.now_ns
            self._worker.finish(_copied(computed), *times)
            self._hand_over(computed, *times)

    def random_chunk(self, draw: random.Random) -> Computed:
        """Return a chunk, rarely one that is not finite, or an error."""
        kind = draw.random()
        if kind < 0.1:
            return None, draw.randrange(len(_FAILED))
        steps = np.random.default_rng(draw.randrange(1 << 30)).normal(
            0.0, 0.03, (self._size, self._actions)
        )
        chunk = np.cumsum(steps, axis=0)
        if kind > 0.99:
            chunk[-1, 0] = np.nan
        return chunk, 0

    def _answer_python(self) -> None:
        if self.at_once and (request := self._worker.begin()):
            now_ns = request.asked_ns
            self._worker.finish(self._computed(now_ns), now_ns, now_ns)

    def _answer_native(self, event: int, now_ns: int) -> None:
        if not self.at_once or event != ExchangeEvent.ASKED:
            return
        if request := self._twins.native.fetch(self._member):
            now_ns = request["asked_ns"]
            self._hand_over(self._computed(now_ns), now_ns, now_ns)

    def _computed(self, asked_ns: int) -> Computed:
        return self.random_chunk(random.Random(asked_ns))

    def _hand_over(self, computed: Computed, began_ns: int, ended_ns: int) -> None:
        chunk, kind = computed
        text = self._twins.words.number_of(_words(kind))
        self._twins.native.hand_over(self._member, began_ns, ended_ns, chunk, kind, text)

    def _require_same(self, request: Request, native: Any) -> None:
        frames = native.pop("frames")
        require_equal("request", request.saved(), native)
        sensed = (*request.sensed.earlier, request.sensed)
        for each, numbers in zip(sensed, frames, strict=True):
            for (camera, frame), number in zip(each.frames.items(), numbers, strict=True):
                assert frame is (self._frames[camera][number - 1] if number else None)


def _copied(computed: Computed) -> Computed:
    chunk, kind = computed
    return (None if chunk is None else chunk.copy()), kind


class ChunkTwins(Twins):
    """Both controllers of a chunk policy alone.

    Attributes:
        inferences: Where its chunks come from.
        person: Who may take over; None for nobody.
    """

    def __init__(self, native: Any, made: tuple[dict[str, object], dict[str, Any]]) -> None:
        self._begin(chunk_contract_of(made[0]), {}, 0)
        worker = WaitingWorker()
        self.runtime = chunk_runtime(*made, worker, self.clock)
        self.person = self.runtime.requests.person
        self._open(native, self.runtime.controller)
        self.inferences = Inferences(self, "", worker, self.runtime.policy)

    def request(self, name: str) -> None:
        """Ask both for `take_over` or `hand_back`."""
        granted = True
        try:
            getattr(self.runtime.requests, name)()
        except RefusedError:
            granted = False
        assert (getattr(self.native, name)() == 0) == granted

    def tick(self) -> None:
        super().tick()
        while self.runtime.chunks:
            chunk = self.runtime.chunks.popleft()
            assert self.native.pop_chunk("") == (
                chunk.sequence,
                chunk.time_ns,
                chunk.first_tick,
                chunk.tick,
            )
        assert self.native.pop_chunk("") is None
        swings = self.runtime.policy.oscillation
        problems = swings.problems
        swings.take(*self._swings())
        assert swings.problems == problems

    def _swings(self) -> tuple[F64, int]:
        values, count = self.native.swings("")
        return values.reshape(-1, 2, len(self.contract.joints.names)), count


def chunk_runtime(
    changes: dict[str, object],
    settings: dict[str, Any],
    worker: WaitingWorker,
    clock: Callable[[], int],
) -> ChunkRuntime:
    """Return a chunk policy that can be ticked."""
    contract = chunk_contract_of(changes)
    limits = limits_in_force(contract, StricterLimits())
    return chunk_controller(
        chunk_bundle_of(changes), worker, limits, clock, ChunkSettings(**settings), expected_s=0.2
    )


def random_chunk_policy(draw: random.Random) -> tuple[dict[str, object], dict[str, Any]]:
    """Return changes of the contract and settings, with queue, bounds and cameras at random."""
    mode = draw.choice(["synchronous", "asynchronous", "ensemble", "rtc"])
    observations = draw.choice([1, 1, 3]) if mode != "rtc" else 1
    changes: dict[str, object] = {
        "safety.on_fault": draw.choice(["damp", "hold_measured"]),
        "rate_hz": draw.choice([10, 30]),
        "chunk.steps": draw.choice([3, 5, STEPS]),
        "action.joints": draw.choice([["pan", "lift", "gripper"], ["gripper", "lift", "pan"]]),
        "action.grippers": draw.choice([[], ["gripper"]]),
        "joints.velocity_limit": draw.choice([0.5, 2.0]),
        "pairing.rule": draw.choice(["frame_time", "newest"]),
        "pairing.tolerance_s": draw.choice([0.0, 0.05]),
        "safety.blend_s": draw.choice([0.0, 0.3]),
    }
    if mode == "rtc" or observations > 1:
        changes |= denoising_changes({**FLOW, "observations": observations})
    elif draw.random() < 0.3:
        changes["graphs.transformer.inputs.goal"] = {"shape": [1, 4]}
        changes["environment_state"] = {
            "tensor": "goal",
            "topic": "goal",
            "size": 4,
            "normalisation": {"mode": "identity"},
        }
    if draw.random() < 0.5:
        changes["action.max_relative_target"] = 0.1
    if draw.random() < 0.5:
        changes["nominal"] = {
            "source": "test",
            "ticks": 100,
            "target_step": draw.choice([0.02, 0.2]),
            "effort_demand": 3.0,
        }
    if draw.random() < 0.5:
        changes["cameras.phone.camera_frozen_s"] = 0.5
    settings: dict[str, Any] = {"mode": mode, "refill_threshold": draw.choice([0.0, 0.5, 1.0])}
    if mode == "asynchronous":
        settings |= {"fade_s": draw.choice([0.0, 0.3]), "realign": draw.random() < 0.5}
    if mode == "ensemble":
        settings["ensemble_coeff"] = draw.choice([0.01, 0.3, -0.2, 0.0])
    if draw.random() < 0.6:
        settings |= {
            "handover_s": draw.choice([0.0, 0.4]),
            "leader_tolerance_rad": draw.choice([0.05, 0.5]),
        }
    return changes, settings


ArmedSet = tuple[SetContract, JointContract, dict[str, object], dict[str, Any]]
"""A set, its legs, and changes and settings of its arm."""


class ArmedSetTwins(Twins):
    """Both controllers of a set of a joint policy and a chunk policy.

    Attributes:
        inferences: Where the chunks of the arm come from.
    """

    def __init__(self, native: Any, made: ArmedSet, seed: int) -> None:
        contract, legs, *_ = made
        self._begin(contract, {"legs": legs}, seed)
        worker = WaitingWorker()
        self._open(native, armed_set(made, self.models["legs"][0], worker, self.clock))
        arm = self.policy_set.members["arm"].policy
        self.inferences = Inferences(self, "arm", worker, arm)


def armed_set(
    made: ArmedSet, model: RandomModel, worker: WaitingWorker, clock: Callable[[], int]
) -> Controller:
    """Return the controller of a set with an arm that can be ticked."""
    contract, legs, changes, settings = made
    arm = chunk_bundle_of(changes)
    runner = ChunkRunner(
        worker=worker,
        settings=ChunkSettings(**settings),
        expected_s=0.2,
        longest_hold_ns=round(arm.contract.safety.damp_after_s * 1e9),
    )
    bundle = set_bundle_of(contract, {"legs": bundle_of(legs), "arm": arm})
    return opened_set(bundle, {"legs": model, "arm": runner}, clock)[1]


def random_armed_set(draw: random.Random) -> ArmedSet:
    """Return a set of legs and an arm, with blends, a fallback and the arm's settings at random."""
    legs = contract_of({"safety.blend_s": 0.0, "nominal": NOMINAL})
    changes, settings = random_chunk_policy(draw)
    for key in ("handover_s", "leader_tolerance_rad"):
        settings.pop(key, None)
    changes |= {
        "rate_hz": draw.choice([10, 25]),
        "safety.on_fault": "damp",
        "safety.damp_after_s": draw.choice([0.1, 1.0]),
    }
    blend_s = draw.choice([0.0, 0.1, 0.3])
    raw = {**SET, "states.both.to.alone.blend_s": blend_s, "states.alone.to.both.blend_s": blend_s}
    if draw.random() < 0.3:
        raw["states.both.fallback"] = MISSING
    contract, problems = resolved(
        with_edits(WALK_AND_CROUCH, raw), {"legs": legs, "arm": chunk_contract_of(changes)}
    )
    assert contract is not None, problems
    return contract, legs, changes, settings


def random_armed_plan(made: ArmedSet) -> bytes:
    """Return the plan of a random set with an arm."""
    model = RandomModel(made[1], 0, lambda: None)
    return plan_bytes(armed_set(made, model, WaitingWorker(), lambda: 0).plan(), bytes(32))


def random_chunk_plan(made: tuple[dict[str, object], dict[str, Any]]) -> bytes:
    """Return the plan of a random chunk policy."""
    controller = chunk_runtime(*made, WaitingWorker(), lambda: 0).controller
    return plan_bytes(controller.plan(), bytes(32))


class RandomArm(RandomRobot):
    """Moves the twins of a chunk policy through samples, chunks, requests and faults at random."""

    _twins: ChunkTwins | ArmedSetTwins

    def __init__(self, twins: ChunkTwins | ArmedSetTwins, seed: int) -> None:
        super().__init__(twins, seed)
        self._leader: F64 = self._position.copy()
        self._freezes = self._still = self._pixel = 0
        self._speed = self._draw.choice([0.1, 0.5, 1.0])
        twins.inferences.at_once = self._happens(0.3)

    def _break_models(self) -> None:
        super()._break_models()
        inferences = self._twins.inferences
        if self._happens(self._speed):
            inferences.begin()
        if self._happens(self._speed):
            inferences.finish(inferences.random_chunk(self._draw))
        if self._happens(0.004):
            self._freezes = 40
        self._freezes -= 1

    def _send_other(self, name: str) -> None:
        twins = self._twins
        for camera in twins.inferences.cameras:
            if name == camera_input(camera):
                self._send_frame(camera)
        if name == "goal":
            twins.write("external:goal", self._noise.normal(size=4))
        if name == LEADER.name:
            self._move_leader()
            twins.write(LEADER_POS, self._leader)

    def _send_frame(self, camera: str) -> None:
        if self._happens(0.1):
            return
        if self._happens(0.002):
            self._twins.inferences.forget(camera)
            return
        if self._freezes <= 0:
            self._pixel = (self._pixel + 1) % 256
        pixels = np.full((HEIGHT, WIDTH, 3), self._pixel, np.uint8)
        late_ns = self._draw.choice([0, 20_000_000, 80_000_000])
        frame = Frame(
            encoding="rgb8",
            height=HEIGHT,
            width=WIDTH,
            step=3 * WIDTH,
            data=memoryview(pixels.tobytes()),
        )
        self._twins.inferences.see(camera, frame, self._twins.now_ns - late_ns)

    def _move_leader(self) -> None:
        if self._happens(0.008):
            self._still = round(7.0 * self._twins.contract.rate_hz)
        self._still -= 1
        if self._still == 0:
            self._leader = self._leader + 0.55
        if self._still >= 0:
            return
        step = np.clip(self._position - self._leader, -0.1, 0.1)
        self._leader = self._leader + step + 0.01 * self._noise.normal(size=step.size)
        if self._happens(0.01):
            self._leader = self._leader + self._draw.choice([0.3, 1.0, 9.0])
        if self._happens(0.3):
            self._leader = self._position.copy()

    def _ask(self) -> None:
        super()._ask()
        twins = self._twins
        if isinstance(twins, ArmedSetTwins) or twins.person is None:
            return
        if self._happens(0.05):
            twins.request("take_over")
        if self._happens(0.02 if twins.python.mode is Mode.RUN else 0.001):
            twins.request("hand_back")
