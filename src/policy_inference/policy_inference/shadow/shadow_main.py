# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow's process: open and verify a policy, and answer ticks until the node ends."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from policy_core.bundle.body import AnyContract
from policy_core.bundle.contract_difference import contract_differences
from policy_core.bundle.load import load_bundle, trusted_keys
from policy_core.errors import PolicyError, RobotError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, ShadowMode
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.observation.images import require_size
from policy_inference.flight.ring import ShadowAnswer
from policy_inference.kinds.chunk import ChunkKind
from policy_inference.kinds.joint import JointKind
from policy_inference.kinds.opening import B, OpenedPolicy, OpenRequest, PolicyKind
from policy_inference.machine.scheduling import list_threads
from policy_inference.shadow.chunk_shadow import ChunkShadow
from policy_inference.shadow.comparable import require_comparable
from policy_inference.shadow.joint_shadow import JointShadow
from policy_inference.shadow.shadow_process import ABOUT
from policy_inference.shadow.shadowed_member import ShadowQuestion
from policy_inference.shadow.slots import SLOTS, ObservationSlots, TickSlots
from policy_inference.worker_process import talk_through

LATE_TICKS = SLOTS // 2
"""Maximum number of waiting ticks before the shadow skips some."""
Answer = Callable[[int, bool], tuple[ShadowAnswer, str]]
"""Callable that answers the tick in a slot (late or not); also returns this run's last error."""


def main(output: int, order: Mapping[str, Any]) -> None:
    """Open and verify the requested policy, then answer ticks until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node decides when to stop
    _yield_to_the_node()
    about = Path.cwd() / ABOUT
    sizes = order["state_sizes"]
    os.chdir(order["folder"])  # base of relative paths
    slots = TickSlots(sum(sizes.values()), order["joints"], order["fds"])
    try:
        active = load_bundle(Path(order["active"]), sha256=order["active_sha256"]).contract
        opened, answer = _opened(order, active, slots)
    except PolicyError as error:
        slots.text = str(error)
        slots.answer()
        return
    about.write_text(
        json.dumps(
            {
                "bundle": str(opened.bundle.path.resolve()),
                "bundle_name": opened.bundle.contract.name,
                "bundle_version": opened.bundle.contract.version,
                "bundle_sha256": opened.bundle.sha256,
                "backend": opened.backend.name,
                "runs_on": opened.models.runs_on,
                "differences": [
                    str(one) for one in contract_differences(active, opened.bundle.contract)
                ],
            }
        ),
        "utf-8",
    )
    talk_through(output)
    _run_when_idle([os.getpid(), *(model.pid for model in opened.models.values())])
    slots.answer()
    _serve(answer, slots)


def _serve(answer_tick: Answer, slots: TickSlots) -> None:
    number = waiting = 0
    while True:
        waiting += slots.given(wait=not waiting)
        if not waiting:
            continue
        slot, began_ns = number % SLOTS, time.monotonic_ns()
        answer, problem = answer_tick(slot, waiting > LATE_TICKS)
        if problem != slots.text:
            slots.text = problem
        slots.write(slot, answer._replace(duration_ns=time.monotonic_ns() - began_ns))
        slots.answer()
        number, waiting = number + 1, waiting - 1


def _opened(
    order: Mapping[str, Any], active: Any, slots: TickSlots
) -> tuple[OpenedPolicy[Any], Answer]:
    """Open and verify a policy as `~/load` does; return it, and a function that answers ticks."""
    given, sizes = order["request"], order["state_sizes"]
    stricter = StricterLimits(**given["stricter_limits"])
    request = OpenRequest(**{**given, "stricter_limits": stricter})
    mode = ShadowMode(order["mode"])
    if order["settings"] is None:
        opened = _proven(JointKind(), request, active, sizes)
        shadow = JointShadow(opened.bundle, opened.backend, opened.limits, active, sizes, mode)
        return opened, _answers(shadow, slots)
    settings = ChunkSettings(**order["settings"])
    kind = ChunkKind(settings, simulated_time=order["simulated_time"])
    chunks = _proven(kind, request, active, sizes)
    contract = chunks.bundle.contract
    inference = Inference(contract, chunks.models)

    def run(sensed: Snapshot) -> F64:
        for name, camera in contract.cameras.items():
            try:
                require_size(sensed.frames[name], camera)
            except RobotError as error:
                raise RobotError(f"camera {name}: {error}") from error
        return inference.run(sensed)

    return chunks, _answers(
        ChunkShadow(contract, run, chunks.limits, active, sizes, settings, mode),
        slots,
        ObservationSlots(active, sizes, *order["chunk_fds"]),
    )


def _proven(
    kind: PolicyKind[B], request: OpenRequest, active: AnyContract, sizes: Mapping[str, int]
) -> OpenedPolicy[B]:
    bundle = load_bundle(request.bundle, trusted_keys(request.public_key), kind=kind.bundle)
    require_comparable(active, sizes, bundle)
    limits = limits_in_force(bundle.contract, request.stricter_limits)
    return kind.open_proven(request, bundle, limits, time.monotonic_ns)


def _answers(
    shadow: JointShadow | ChunkShadow,
    slots: TickSlots,
    observation_slots: ObservationSlots | None = None,
) -> Answer:
    def answer(slot: int, late: bool) -> tuple[ShadowAnswer, str]:
        tick, lost, begins = slots.ticks[slot].tolist()
        chunk = None if observation_slots is None else observation_slots.given(slot)
        question = ShadowQuestion(
            slots.states[slot], slots.commands[slot], bool(begins), lost, chunk
        )
        found = shadow.answer(tick, question, late=late)
        if observation_slots is not None:
            observation_slots.answer(found.inferences)
        return found, shadow.problem

    return answer


def _yield_to_the_node() -> None:
    """Give up all priority, and be killed first if memory runs out; child processes inherit both.

    The limits matter because the robot's user may have permission to set any priority.
    """
    for limit in (resource.RLIMIT_RTPRIO, resource.RLIMIT_NICE):
        resource.setrlimit(limit, (0, 0))
    Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _run_when_idle(processes: list[int]) -> None:
    for process in processes:
        for thread in list_threads(process):
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
