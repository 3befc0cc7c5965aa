# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy in the updates of a controller manager: the program in C++, and its Python twin."""

from __future__ import annotations

import math
import re
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from policy_core.bundle.bundle import Bundle, JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.terms import is_perceived
from policy_core.control.controller import Controller
from policy_core.errors import RefusedError, RobotError
from policy_core.guard.bounds import Rule
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Backend, JointTargets, Mode
from policy_core.members.chunk.worker import Outcome, Request
from policy_core.members.joint import joint_controller
from policy_core.plan import read_plan
from policy_core.sets.controller import (
    SensedState,
    SetRequests,
    make_policy_set,
    set_controller,
    set_inputs,
)
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.controller_plan import executing_controller
from policy_inference.messages.readers import PerceivedReader

COUNTER = (
    "expected a finite number in its counter, found NaN or infinity (an interface that the "
    "hardware never writes is NaN)"
)
QUATERNION = "expected an orientation, found none (the quaternion's length is not 1)"
NOT_FINITE = "expected finite numbers, found NaN or infinity"
NO_VELOCITY = (math.nan, math.nan, math.nan)
_FOLLOWED = 16
_HEAD = struct.Struct("<qqqq")
_AGO = re.compile(r" \(-?\d+ ms ago\)$")


class Field(NamedTuple):
    """A field of the state, and where it is in what `update` reads."""

    name: str
    group: str
    place: slice


class Command(NamedTuple):
    """What is commanded after an update: mode and block as bytes; empty where nothing is."""

    mode: int
    block: bytes

    @property
    def rows(self) -> F64:
        """Rows of the targets [6, joints]."""
        return np.frombuffer(self.block).reshape(6, -1)


NOTHING = Command(-1, b"")


def fields_of(plan: Path) -> list[Field]:
    """Return the fields that a plan lists, less those that come in messages."""
    _, values = read_plan(plan.read_bytes(), plan)
    found, begin, i = list[Field](), 0, 0
    while f"host.fields.{i}.name" in values:
        part = f"host.fields.{i}"
        [name], [source] = values[f"{part}.name"], values[f"{part}.source"]
        [size], [place] = map(int, values[f"{part}.size"]), map(int, values[f"{part}.input"])
        if source not in ("command", "perceived"):
            [group] = values[f"inputs.{place}.name"]
            found.append(Field(name, group, slice(begin, begin + size)))
            begin += size
        i += 1
    return found


class Program:
    """`update_check`, which has a policy ticked in C++."""

    def __init__(
        self, program: str, plan: Path, rate_hz: float, counted: Sequence[str] = ()
    ) -> None:
        words = [program, str(plan), repr(rate_hz), *counted]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.now_ns = 0

    def close(self) -> int:
        """End it; return the status of its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        return self._process.wait(10)

    def _send(self, kind: str, more: bytes = b"", ros_now_ns: int = 0) -> None:
        assert self._process.stdin is not None
        head = _HEAD.pack(ord(kind), self.now_ns, ros_now_ns, len(more))
        self._process.stdin.write(head + more)
        self._process.stdin.flush()

    def _answer(self) -> bytes:
        assert self._process.stdout is not None
        size = self._process.stdout.read(8)
        assert len(size) == 8, f"the program has ended: {self._process.wait(10)}"
        return self._process.stdout.read(int.from_bytes(size, "little"))

    def _command(self) -> Command:
        found = self._answer()
        return Command(int(np.frombuffer(found[:8])[0]), found[8:])

    def start(self) -> None:
        self._send("s")

    def stop(self) -> Command:
        self._send("e")
        return self._command()

    def update(
        self, values: F64, velocity: Sequence[float] | None = None, late_ns: int = 0
    ) -> Command:
        if late_ns:
            self._send("l", ros_now_ns=late_ns)
        numbers = np.array([*(velocity or NO_VELOCITY), *values])
        self._send("u" if velocity is None else "c", numbers.tobytes(), self.now_ns)
        if late_ns:
            self._send("l")
        return self._command()

    def hear(self, velocity: Sequence[float], stamp_ns: int | None = None) -> None:
        self._send("v", np.array([*velocity, 0.0]).tobytes(), stamp_ns or 0)

    def press_estop(self) -> None:
        """Press it as a chained controller does."""
        self._send("x")

    def hear_perceived(self, values: F64, problem: str, label: str, stamp_ns: int) -> None:
        """Take what is perceived on the first of these topics."""
        texts = label.encode(), problem.encode()
        numbers = np.array([0.0, *map(len, texts), *values])
        self._send("p", numbers.tobytes() + b"".join(texts), stamp_ns)

    def hear_chunk(
        self, names: Sequence[str], chunk: F64, age_ns: int, period_s: float, steps: int
    ) -> str:
        """Return why it is refused."""
        text = "\n".join(names).encode()
        numbers = np.array([len(text), period_s, steps, chunk.size, *chunk.flat])
        self._send("h", numbers.tobytes() + text, age_ns)
        return self._answer().decode()

    def ask(self, request: str) -> str:
        self._send("r", request.encode())
        return self._answer().decode()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Have a request keep ticks out."""
        self._send("k")
        yield
        self._send("f")

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Have each run of a model hang until the e-stop is pressed; look at ticks meanwhile."""
        self._send("g")
        yield
        self._send("f")

    @contextmanager
    def asked_by_others(self) -> Iterator[None]:
        """Have another thread ask, report and command all the time."""
        self._send("t")
        yield
        self._send("f")

    def status(self) -> dict[str, str]:
        self._send("w")
        lines = self._answer().decode().splitlines()
        found = dict(line.split(": ", 1) for line in lines if not line.startswith("log "))
        logs = [_AGO.sub("", line.partition(": ")[2]) for line in lines if line.startswith("log ")]
        return {**found, "log": "\n".join(logs)}


class _Group:
    """Fields that are measured together, and whether they were."""

    def __init__(self, name: str, fields: Iterable[Field], counter: int | None) -> None:
        self.name, self.fields = name, [field for field in fields if field.group == name]
        self.counter, self.changed_ns = counter, 0
        self.forget()

    def forget(self) -> None:
        self.is_new, self.count = False, math.nan

    def is_uncounted(self, now: F64) -> bool:
        return self.counter is not None and not math.isfinite(now[self.counter])

    def has_changed(self, before: F64, now: F64) -> bool:
        if self.counter is not None:
            count, self.count = self.count, float(now[self.counter])
            if self.is_uncounted(now):
                self.count = count
            return math.isfinite(count) and self.count != count
        return any(
            before[each.place].tobytes() != now[each.place].tobytes() for each in self.fields
        )


class HeardChunks:
    """Answers with the chunk that has come last, unless it was observed before the run."""

    alive = True

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock, self._began_ns = clock, 0
        self._request: Request | None = None
        self._heard: tuple[F64, int, int] | None = None

    @property
    def busy(self) -> bool:
        return self._request is not None

    def hear(self, chunk: F64, age_ns: int) -> None:
        self._heard = chunk, self._clock() - age_ns, self._clock()

    def ask(self, request: Request) -> None:
        self._request = request

    def take(self, now_ns: int) -> Outcome | None:
        if self._heard is None or self._heard[1] < self._began_ns:
            self._heard = None
            return None
        if self._request is None:
            return None
        chunk, taken_ns, heard_ns = self._heard
        request = replace(self._request, sensed=replace(self._request.sensed, time_ns=taken_ns))
        self._heard = self._request = None
        return Outcome(request=request, began_ns=taken_ns, ended_ns=heard_ns, chunk=chunk)

    def forget(self) -> None:
        self._request, self._began_ns = None, self._clock()

    def close(self) -> None:
        """Do nothing."""


class Twin:
    """The same of the Python core, which is ticked by the same rules."""

    def __init__(
        self, bundle: Bundle, plan: Path, rate_hz: float, counted: Sequence[str] = ()
    ) -> None:
        self.now_ns, self._late_ns = 0, 0
        self.requests: SetRequests | None = None
        self.chunks = HeardChunks(self._clock)
        self.controller = self._controller(bundle)
        fields = self._fields = fields_of(plan)
        names = list(dict.fromkeys(field.group for field in fields))
        end = fields[-1].place.stop
        places = {int(group): end + i for i, groups in enumerate(counted) for group in groups}
        self._groups = [_Group(name, fields, places.get(i)) for i, name in enumerate(names)]
        self._period_ns = bundle.contract.period_ns
        updates = round(rate_hz * self._period_ns * 1e-9)
        self._slack_ns = self._period_ns // updates // 2
        self._heard: tuple[Sequence[float], int | None] | None = None
        self._newest: tuple[Sequence[float], int | None] | None = None
        self._perceived: tuple[F64, str, str, int] | None = None
        self.refusals = list[str]()
        self.start()

    def _clock(self) -> int:
        return self.now_ns + self._late_ns

    def _controller(self, bundle: Bundle) -> Controller:
        limits = limits_in_force(bundle.contract, StricterLimits())
        if isinstance(bundle, JointBundle):
            return joint_controller(bundle, _opened(bundle), limits, self._clock)
        if isinstance(bundle, ChunkBundle):
            return executing_controller(bundle, limits, self.chunks, self._clock)
        assert isinstance(bundle, SetBundle)
        state = SensedState(bundle.contract, limits)
        inputs = set_inputs(bundle.contract, state, limits)
        runners = {name: _opened(each) for name, each in bundle.select_members(JointBundle).items()}
        self.policy_set = make_policy_set(bundle, runners, state, inputs, self._clock)
        controller = set_controller(
            bundle.contract, self.policy_set, state, inputs, limits, self._clock
        )
        self.requests = SetRequests(bundle.contract, controller, self.policy_set)
        return controller

    def start(self) -> None:
        if self.controller.mode is not Mode.DAMP:
            self.controller.stop("the controller is deactivated")
        self.controller.start()
        self._deadline_ns: int | None = None
        self._values: F64 | None = None
        for group in self._groups:
            group.forget()
        self._newest = self._perceived = None
        self._command, self.ticks, self.missed = NOTHING, 0, 0
        self._ticked_ns = self.now_ns

    def stop(self) -> Command:
        self.controller.stop("the controller is deactivated")
        return self._commanded(self.controller.safe_targets())

    def _commanded(self, targets: JointTargets | None) -> Command:
        """Return a copy in which joints without stiffness have their measured positions."""
        if targets is None:
            return NOTHING
        block = targets.block.copy()
        found = [each.place for each in self._fields if each.name == "joint_pos"]
        if found and self._values is not None:
            measured = self._values[found[0]]
            block[0] = np.where((block[3] == 0.0) & np.isfinite(measured), measured, block[0])
        return Command(int(targets.mode), block.tobytes())

    def update(
        self, values: F64, velocity: Sequence[float] | None = None, late_ns: int = 0
    ) -> Command:
        for group in self._groups:
            before = values if self._values is None else self._values
            if group.has_changed(before, values):
                group.is_new, group.changed_ns = True, self.now_ns
        self._values = values.copy()
        if velocity is None:
            self._newest, self._heard = self._heard or self._newest, None
        elif not all(map(math.isnan, velocity)):
            self._newest = velocity, None
        if self._deadline_ns is None or self.now_ns >= self._deadline_ns - self._slack_ns:
            self._tick(values, late_ns)
        if self.controller.estop_pressed:
            self._command = self._commanded(self.controller.safe_targets())
        return self._command

    def _tick(self, values: F64, late_ns: int) -> None:
        deadline_ns = self.now_ns if self._deadline_ns is None else self._deadline_ns
        missed = max(0, self.now_ns - deadline_ns + self._slack_ns) // self._period_ns
        deadline_ns += missed * self._period_ns
        off_ns = self.now_ns - deadline_ns
        if off_ns <= self._slack_ns:
            deadline_ns += int(off_ns / _FOLLOWED)
        self._deadline_ns = deadline_ns + self._period_ns
        self.missed += missed
        for group in self._groups:
            if group.is_new:
                group.is_new = False
                self._sample(group, values)
            elif group.is_uncounted(values):
                self.controller.inputs[group.name].reject(COUNTER)
        self._sample_velocity()
        self._sample_perceived()
        self._late_ns = late_ns
        self._command = self._commanded(self.controller.tick(self.now_ns, self._deadline_ns))
        self.ticks += 1
        self._ticked_ns = self.now_ns
        if self.requests is not None:
            try:
                self.requests.tick(self.now_ns)
            except RefusedError as error:
                self.refusals.append(str(error))
        self._late_ns = 0

    def _sample(self, group: _Group, values: F64) -> None:
        entry, found = self.controller.inputs[group.name], dict[str, F64]()
        if not entry.is_new(group.changed_ns, self.now_ns):
            return
        for field in group.fields:
            found[field.name] = values[field.place]
        problem = ""
        if "joint_pos" in found:
            check = self.controller.joint_check
            problem = check.problem(found["joint_pos"], found.get("joint_vel"), self.now_ns)
        if "quat_xyzw" in found:
            norm = math.sqrt(sum(each * each for each in found["quat_xyzw"].tolist()))
            problem = QUATERNION if not 0.9 < norm < 1.1 and math.isfinite(norm) else ""
        if problem:
            entry.reject(problem)
            return
        entry.accept(self.now_ns, group.changed_ns, self.now_ns)
        for name, numbers in found.items():
            self.controller.state[name][:] = numbers

    def _sample_velocity(self) -> None:
        newest, self._newest = self._newest, None
        entry = self.controller.inputs.get("cmd_vel")
        if entry is None or newest is None:
            return
        velocity, stamp_ns = newest
        if not entry.is_new(stamp_ns, self.now_ns):
            return
        if not all(map(math.isfinite, velocity)):
            entry.reject(NOT_FINITE)
            self.controller.reject_command()
            return
        entry.accept(self.now_ns, stamp_ns, self.now_ns)
        born_ns = self.now_ns - (entry.age_ns(self.now_ns) or 0)
        self.controller.command.set((velocity[0], velocity[1], velocity[2]), born_ns)

    def _sample_perceived(self) -> None:
        heard, self._perceived = self._perceived, None
        if heard is None:
            return
        values, problem, label, stamp_ns = heard
        name = next(name for name in self.controller.inputs if is_perceived(name))
        entry = self.controller.inputs[name]
        if not entry.is_new(stamp_ns, self.now_ns):
            return
        header = SimpleNamespace(frame_id=label)
        message = SimpleNamespace(header=header, data=values.tolist(), problem=problem)
        try:
            PerceivedReader(name, self.controller.state).read(message)
        except RobotError as error:
            entry.reject(str(error))
        else:
            entry.accept(self.now_ns, stamp_ns, self.now_ns)

    def hear(self, velocity: Sequence[float], stamp_ns: int | None = None) -> None:
        self._heard = velocity, stamp_ns

    def hear_perceived(self, values: F64, problem: str, label: str, stamp_ns: int) -> None:
        self._perceived = values, problem, label, stamp_ns

    def ask(self, request: str) -> str:
        controller, requests = self.controller, self.requests
        acts: Mapping[str, Callable[[], Any]] = {
            "stand": requests.stand if requests else controller.stand,
            "run": controller.run,
            "damp": lambda: controller.damp("requested by service"),
            "reset": controller.reset,
            "estop": lambda: controller.estop("pressed by service"),
            "chained estop": lambda: controller.estop("pressed by a chained controller"),
        }
        try:
            if request in acts:
                acts[request]()
            else:
                assert requests is not None
                requests.switch(request.partition(" ")[2])
        except RefusedError as error:
            return str(error)
        return ""

    def status(self) -> dict[str, str]:
        snapshot = self.controller.snapshot()
        found = {
            "mode": snapshot.mode.name,
            "latched": str(snapshot.latched),
            "reason": snapshot.reason,
            "ticks": str(self.ticks),
            "missed": str(self.missed),
            "waited": "0",
        }
        found |= {f"counter {rule}": str(count) for rule, count in snapshot.counters.items()}
        for name, entry in self.controller.inputs.items():
            now_ns = self._ticked_ns
            text = entry.describe(now_ns) if entry.is_stale(now_ns) else entry.problem
            is_named = not text or text.startswith(name)
            found[f"input {name}"] = text if is_named else f"{name}: {text}"
        lines = list[str]()
        while self.controller.edges:
            mode, reason, _ = self.controller.edges.popleft()
            lines.append(f"{mode.name}: {reason}")
        if self.requests is not None:
            report = self.policy_set.report
            found |= {"state": report.state, "asked": report.asked, "refused": report.refused}
            found["switches"] = str(report.switches)
            lines += [*self.policy_set.refusals, *self.refusals]
            self.policy_set.refusals.clear()
            self.refusals.clear()
        return {**found, "log": "\n".join(lines)}

    @property
    def rules(self) -> set[str]:
        """Rules that have acted so far."""
        counts = self.controller.snapshot().counters
        return {rule.value for rule in Rule if counts[rule.value]}


def _opened(bundle: JointBundle) -> Backend:
    model = bundle.contract.model
    _, file = bundle.artifact("onnx")
    return OnnxBackend(file, model.input_specs, model.output_specs)
