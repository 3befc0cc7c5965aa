# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated Lite3 switches between the policies of a set.

    python -m examples.demos.policy_set --switches 12 --no-images --output out/demo-set

The robot walks and turns on random commands, is pushed, and receives random switch requests; each
round has its own friction and latency. In a final round, a member of the set fails. The simulator
and the policy node are two processes that communicate over topics, in lockstep. The output folder
contains summary.json, which --json prints.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from examples.demos.failing import FAILS_ABOVE_MPS, FORWARD_MPS, failing_set
from examples.demos.runner import (
    DemoOutcome,
    Processes,
    add_images,
    aligned,
    demo_parser,
    emptied,
    guard_events,
    progress,
    require_velocity_source,
    run_demo,
)
from examples.demos.set_timeline import TIMELINE, write_timeline
from examples.demos.switches import SetRound, SwitchEvent, SwitchLog
from examples.demos.walk import walked
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_store.command_line import number_within
from robot_operator.nodes.client import Operator
from robot_sim.errors import SimError
from robot_sim.metrics import measure
from robot_sim.trace import Trace

ROUNDS = ((1.0, 0.0), (0.4, 0.01), (1.0, 0.02), (0.4, 0.02))
"""Friction and latency (s) of each round. The final round, in which a member fails, uses the first
pair.
"""
LARGEST_STEP_RATIO = 1.5
"""Limit on target steps, as a multiple of the largest step in a healthy run."""
_NODE = "policy_set_node"
_LARGEST = (0.6, 0.4, 0.7)
"""Limits of the velocity commands: m/s, m/s, rad/s."""
_AFTER_S = (0.6, 1.8)
"""Minimum and maximum time from a new command to the switch request."""
_PUSH_EVERY_S, _PUSH = 5.0, "+0.1=60.0"
_STANDS_UP_S = 6.0
_FALLBACK_WITHIN_S = 60.0
_SPEED = 5.0
"""Maximum simulated seconds per second; limited so that the operator keeps up with the robot."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SetDemoResult:
    """Result of the demo.

    Attributes:
        bundle: The set.
        rounds: Rounds of random switches.
        failing: The round in which a member fails.
        failed: State of the member that fails.
        wall_s: Duration of the demo.
    """

    bundle: SetBundle
    rounds: tuple[SetRound, ...]
    failing: SetRound
    failed: str
    wall_s: float


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo; the exit status is 1 if the robot fell or a step was too large."""
    require_source = partial(require_velocity_source, lockstep=True)
    return run_demo("policy_set", parse(args), (TIMELINE,), _demonstrate, require_source)


def _demonstrate(given: argparse.Namespace) -> DemoOutcome:
    result = perform(given)
    summary = summarise(result)

    def draw() -> None:
        shown = [*result.rounds, result.failing]
        title = f"{result.failing.name}: the policy of {result.failed} fails"
        write_timeline(shown, [*result.bundle.contract.states], title, given.output / TIMELINE)

    status = result.failing.status
    return DemoOutcome(
        summary=summary,
        backend=status.backend,
        fallback=status.fallback,
        table=table(summary),
        failure=verdict(summary),
        draw=draw,
    )


def perform(given: argparse.Namespace) -> SetDemoResult:
    began_s = time.monotonic()
    bundle = load_bundle(given.bundle, kind=SetBundle)
    random = np.random.default_rng(given.seed)
    rounds = []
    for number, conditions in enumerate(ROUNDS[: given.switches]):
        count = (given.switches + len(ROUNDS) - 1 - number) // len(ROUNDS)
        act = partial(_switch, bundle=bundle, count=count, random=random)
        folder = emptied(given.output / f"round_{number + 1}")
        rounds.append(_round(folder, bundle, given.backend, conditions, act, _pushes(random)))
    states = bundle.contract.states
    failed = next((name for name in states if states[name].fallback is not None), None)
    if failed is None:
        raise SimError(f"{bundle.path}: expected a state with a fallback, found none")
    folder = emptied(given.output / "failing")
    broken = failing_set(bundle, states[failed].members[0], folder / "bundles")
    act = partial(_fail, bundle=broken, failed=failed)
    return SetDemoResult(
        bundle=bundle,
        rounds=tuple(rounds),
        failing=_round(emptied(folder / "round"), broken, given.backend, ROUNDS[0], act, {}),
        failed=failed,
        wall_s=time.monotonic() - began_s,
    )


def _round(
    folder: Path,
    bundle: SetBundle,
    backend: str,
    conditions: tuple[float, float],
    act: Callable[[SwitchLog], None],
    pushes: dict[float, str],
) -> SetRound:
    """Make the robot stand up, perform the switches, return to standing and lie down."""
    friction, latency_s = conditions
    name = f"friction {friction:g}, latency {1e3 * latency_s:g} ms"
    progress.info("%s", name if pushes else f"{name}: a member fails")
    simulation = {
        "trace_file": str(folder / "trace.npz"),
        "lockstep": True,
        "lockstep_speed": _SPEED,
        "friction": friction,
        "latency_s": latency_s,
        "faults": [*pushes.values()] or [""],
    }
    policy = {
        "bundle": str(bundle.path),
        "backend": backend,
        "use_sim_time": True,
        "status_rate_hz": 20.0,
        "flight.folder": str(folder / "flights"),
    }
    with Processes() as nodes:
        nodes.start("sim_node", simulation, folder / "sim_node.log")
        nodes.start(_NODE, policy, folder / f"{_NODE}.log")
        with Operator(policy_node=_NODE, use_sim_time=True, watch=nodes.check) as operator:
            operator.wait_for_robot()
            operator.record_run(True)
            operator.stand_up()
            log = SwitchLog(operator)
            initial = log.report.state
            act(log)
            status = _end(log)
    trace = Trace.load(folder / "trace.npz")
    return SetRound(
        name=name,
        friction=friction,
        latency_s=latency_s,
        trace=trace,
        initial=initial,
        events=tuple(log.events),
        pushes_s=tuple(at_s for at_s in pushes if at_s < trace.time_s[-1]),
        status=status,
        recording=next(iter(sorted(folder.glob("flights/*-run*"))), None),
    )


def _end(log: SwitchLog) -> Any:
    """Return to standing and lie down; return the last status before the robot lay down."""
    operator, before = log.operator, log.report.switches
    operator.move()
    operator.wait(1.0)
    status = operator.status
    if log.runs:
        operator.request("stand")
        log.follow_back(before)
        if operator.mode != "DAMP":
            operator.wait_for_mode("READY")
    operator.record_run(False)
    operator.demand("damp")
    operator.wait_for_mode("DAMP")
    operator.let_go()
    operator.wait(1.0)
    return operator.status if operator.status.latched else status


def _switch(log: SwitchLog, bundle: SetBundle, count: int, random: np.random.Generator) -> None:
    """Walk on random commands, and make random switch requests."""
    states = bundle.contract.states
    for _ in range(count):
        vx, vy, wz = random.uniform(-1.0, 1.0, 3) * _LARGEST
        log.operator.move(float(vx), float(vy), float(wz))
        log.operator.wait(float(random.uniform(*_AFTER_S)))
        if not log.runs:
            progress.info("the policy node left RUN: %s", log.operator.status.reason)
            return
        log.ask(str(random.choice([*states[log.report.state].to])))


def _fail(log: SwitchLog, bundle: SetBundle, failed: str) -> None:
    """Make a member fail as the set switches to it, and again while it is in command."""
    for state in _way_to(bundle, log.report.state, failed)[:-1]:
        log.ask(state)
    log.operator.move(FAILS_ABOVE_MPS + 0.1)
    log.operator.wait(2.0)
    log.ask(failed)
    log.operator.move(FORWARD_MPS)
    log.operator.wait(1.0)
    log.ask(failed)
    fallbacks = log.report.fallbacks
    log.operator.move(FAILS_ABOVE_MPS + 0.1)
    log.operator.wait_until(
        lambda: log.report.fallbacks > fallbacks or not log.runs, "the fallback", _FALLBACK_WITHIN_S
    )
    if log.runs:
        log.settle()
        log.operator.wait(2.0)


def _way_to(bundle: SetBundle, begin: str, end: str) -> list[str]:
    """Return the states on a shortest path, except the first; a set has a path to every state."""
    ways = [[begin]]
    for way in ways:
        if way[-1] == end:
            return way[1:]
        known = {state for each in ways for state in each}
        ways += [[*way, to] for to in bundle.contract.states[way[-1]].to if to not in known]
    raise SimError(f"{bundle.path}: expected a path from {begin} to {end}, found none")


def _pushes(random: np.random.Generator) -> dict[float, str]:
    """Return an hour of pushes, as simulation faults keyed by time."""
    found = {}
    for begin_s in np.arange(_STANDS_UP_S + 2.0, 3600.0, _PUSH_EVERY_S):
        at_s = float(np.round(begin_s + random.uniform(0.0, _PUSH_EVERY_S - 1.0), 2))
        side = random.choice(("front", "rear", "left", "right"))
        found[at_s] = f"push:{side}@{at_s}{_PUSH}"
    return found


def summarise(result: SetDemoResult) -> dict[str, Any]:
    contract, rounds = result.bundle.contract, [_summary(each) for each in result.rounds]
    failing = _summary(result.failing)
    everything = [*rounds, failing]
    return {
        "bundle": contract.name,
        "version": contract.version,
        "members": {
            name: {
                "bundle": member.contract.name,
                "version": member.contract.version,
                "rate_hz": member.contract.rate_hz,
            }
            for name, member in result.bundle.members.items()
        },
        "states": [*contract.states],
        "switches": sum(each["switches"] for each in rounds),
        "refused": sum(each["refused"] for each in rounds),
        "falls": sum(each["falls"] for each in everything),
        "largest_step_ratio": max(each["largest_step_ratio"] for each in everything),
        "rounds": rounds,
        "failing": {
            "state": result.failed,
            **failing,
            "events": [_described(event) for event in result.failing.events],
        },
        "simulated_s": round(sum(each["simulated_s"] for each in everything), 1),
        "wall_s": round(result.wall_s, 1),
    }


def _summary(found: SetRound) -> dict[str, Any]:
    status, granted = found.status, [event for event in found.events if event.granted]
    metrics = measure(walked(found.trace, left_run=status.latched))
    return {
        "friction": found.friction,
        "latency_ms": 1e3 * found.latency_s,
        "pushes": len(found.pushes_s),
        "switches": len(granted),
        "refused": len(found.events) - len(granted),
        "fallbacks": status.policy_set[0].fallbacks,
        "falls": metrics.falls,
        "fault": status.reason if status.latched else None,
        "largest_step_ratio": round(max((each.step_ratio for each in granted), default=0.0), 3),
        "max_tilt_deg": round(metrics.max_tilt_deg, 1),
        "distance_m": round(metrics.distance_m, 1),
        "guard_events": guard_events(status),
        "simulated_s": round(float(found.trace.time_s[-1]), 1),
        "recording": None if found.recording is None else str(found.recording),
    }


def _described(event: SwitchEvent) -> dict[str, Any]:
    return {
        "at_s": round(event.at_s, 2),
        "state": event.state,
        "granted": event.granted,
        "why": event.why,
    }


def table(summary: dict[str, Any]) -> str:
    """Return the results as text."""
    failing = summary["failing"]
    members = (
        f"{name} ({member['bundle']} {member['version']}, {member['rate_hz']:g} Hz)"
        for name, member in summary["members"].items()
    )
    rounds = (
        (
            f"friction {each['friction']:g}, {each['latency_ms']:g} ms",
            f"{each['switches']} switches, {each['refused']} refused, {each['pushes']} pushes, "
            f"{each['falls']} falls, largest step {each['largest_step_ratio']:.2f}, tilt "
            f"{each['max_tilt_deg']:.0f} degrees",
        )
        for each in summary["rounds"]
    )
    lines = [
        ("set", f"{summary['bundle']} {summary['version']}"),
        ("members", ", ".join(members)),
        *rounds,
        (
            "a member fails",
            f"{failing['refused']} refused, {failing['fallbacks']} fallback, "
            f"{failing['falls']} falls",
        ),
        ("total", f"{summary['switches']} switches, {summary['falls']} falls"),
        ("time", f"{summary['simulated_s']} s simulated in {summary['wall_s']} s"),
    ]
    return aligned(lines)


def verdict(summary: dict[str, Any]) -> str | None:
    """Return the reason that the run failed, if it did."""
    everything = [*summary["rounds"], summary["failing"]]
    if faults := [each["fault"] for each in everything if each["fault"]]:
        return f"expected no fault, found {'; '.join(faults)}"
    if summary["falls"]:
        return f"expected no fall, found {summary['falls']}"
    if summary["largest_step_ratio"] > LARGEST_STEP_RATIO:
        return (
            f"expected steps of at most {LARGEST_STEP_RATIO:g} times a healthy run's largest, "
            f"found {summary['largest_step_ratio']:.2f} times"
        )
    if not summary["failing"]["fallbacks"]:
        return "expected a fallback where a member failed, found none"
    return None


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; exit with status 2 if they do not fit together."""
    parser = demo_parser("policy_set", __doc__, backend_options=False)
    add, number = parser.add_argument, number_within(1, 99_999)
    add(
        "--bundle",
        default="lite3_gaits",
        help="folder of a policy set, or name of an installed one (default: %(default)s)",
    )
    add("--backend", default="onnx", help="back end, or several in order of preference: a,b")
    add(
        "--switches",
        type=number,
        default=48,
        help="total number of switches (default: %(default)s)",
    )
    add("--seed", type=number, default=1, help="seed for all randomness (default: %(default)s)")
    add_images(parser)
    return parser.parse_args(args)


if __name__ == "__main__":
    raise SystemExit(main())
