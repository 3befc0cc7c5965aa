# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tests which faults the seeds find in the code that guards a robot.

Faults of the Python core must break an invariant or, with `--core both`, make it differ from the
native core; faults of the driver, which has one implementation, must break an invariant.
"""

from __future__ import annotations

import ast
import importlib
import os
import random
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from coverage import Coverage

from policy_inference.kinds.opening import NATIVE, PYTHON
from tools.chaos.scenario import BOTH, Options, run_seed, run_with_digests
from tools.mutants import Mutant, mutants

_PLACES = {
    "guard": "policy_core/policy_core/guard",
    "control": "policy_core/policy_core/control",
    "pairing": "policy_core/policy_core/observation/freshness.py",
    "link": "robot_driver/robot_driver/following.py",
}
"""Files to change, by their group in tools.mutants."""
_ALONE = "link"
"""Group whose code has no second implementation."""
_LIMIT_S = 1800
_STRICTNESS = ("Lt -> LtE", "LtE -> Lt", "Gt -> GtE", "GtE -> Gt")
"""Faults that only a value exactly at its limit reveals: unit tests have those, seeds do not."""


def try_mutants(
    count: int,
    seeds: range,
    options: Options,
    say: Callable[[str], None],
    jobs: int = 1,
    draw: int = 1,
) -> int:
    """Run the seeds with one fault at a time, and print how many faults they find.

    Args:
        count: Number of faults, equally many from each place, in lines that the seeds execute.
        seeds: Seeds to run until one breaks an invariant, or an error ends the process.
        options: Options of the seeds.
        say: Prints a line.
        jobs: Number of faults tried in parallel.
        draw: Seed of the random choice of faults.
    """
    chance, drawn = random.Random(draw), list[Mutant]()
    every = {group: [*mutants(group, [place])] for group, place in _PLACES.items()}
    unreached = _unreached({one.file for some in every.values() for one in some}, seeds, options)
    for some in every.values():
        fit = [
            one
            for one in some
            if one.fault not in _STRICTNESS and one.line not in unreached[one.file]
        ]
        drawn += chance.sample(fit, min(len(fit), count // len(_PLACES)))
    chance.shuffle(drawn)  # so that a run that is ended early covers all places
    of, found = Counter(mutant.group for mutant in drawn), Counter[str]()
    native = replace(options, core=NATIVE)
    expected = {
        seed: run_with_digests(seed, native)[1] if options.core == BOTH else [] for seed in seeds
    }
    for mutant, is_found in _tried(drawn, expected, options, jobs):
        found[mutant.group] += is_found
        say(f"{'found' if is_found else 'missed'}: {mutant.file}:{mutant.line} {mutant.fault}")
    for group in _PLACES:
        say(f"{group}: {found[group]} of {of[group]} found")
    say(f"{found.total()} of {len(drawn)} found")
    return 0


def _unreached(files: set[str], seeds: range, options: Options) -> dict[str, set[int]]:
    """Return the lines in functions of each file that the seeds do not execute."""
    modules = {file: importlib.import_module(_module_name(file)) for file in files}
    places = {file: os.path.realpath(str(module.__file__)) for file, module in modules.items()}
    seen = Coverage(data_file=None, include=[*places.values()])
    with seen.collect():
        for seed in seeds:
            run_seed(seed, replace(options, core=PYTHON))
    found = dict[str, set[int]]()
    for file, place in places.items():
        executed = seen.get_data().lines(place) or ()
        tree = ast.parse(Path(place).read_text("utf-8"))
        functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]
        found[file] = {
            line
            for one in functions
            for statement in ast.walk(one)
            if isinstance(statement, ast.stmt) and statement is not one
            if statement.lineno not in executed
            for line in range(statement.lineno, (statement.end_lineno or 0) + 1)
        }
    return found


def _module_name(file: str) -> str:
    return file.partition("/")[2].removesuffix(".py").replace("/", ".")


def _tried(
    drawn: list[Mutant], expected: Mapping[int, list[str]], options: Options, jobs: int
) -> Iterator[tuple[Mutant, bool]]:
    """Yield each fault, and whether the seeds find it."""
    waiting, running = deque(drawn), dict[int, Mutant]()
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.popleft()
            running[_begin(mutant, expected, options)] = mutant
        child, status = os.wait()
        yield running.pop(child), status != 0


def _begin(mutant: Mutant, expected: Mapping[int, list[str]], options: Options) -> int:
    """Run the seeds with a fault in a copy of this process, which exits with 0 if they hold."""
    child = os.fork()
    if child:
        return child
    signal.alarm(_LIMIT_S)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        put_in(mutant)
        python = replace(options, core=PYTHON)
        for seed, digests in expected.items():
            outcome, seen = run_with_digests(seed, python)
            differs = digests and mutant.group != _ALONE and seen != digests
            if outcome.broken is not None or differs:
                os._exit(1)
        os._exit(0)
    finally:
        os._exit(1)


def put_in(mutant: Mutant) -> None:
    """Give the functions of a module that others have already imported the code of a mutant."""
    name = _module_name(mutant.file)
    there = importlib.import_module(name)
    other = ModuleType(name)
    other.__file__ = there.__file__
    sys.modules[name] = other  # dataclasses look it up
    exec(compile(mutant.text, str(there.__file__), "exec"), vars(other))
    sys.modules[name] = there
    for old, new in _functions(there, other):
        old.__code__ = new.__code__
    for key, value in vars(other).items():
        if isinstance(value, int | float | tuple) and vars(there).get(key) != value:
            setattr(there, key, value)


def _functions(old: Any, new: Any) -> Iterator[tuple[FunctionType, FunctionType]]:
    """Yield each function of a module or class, with the one that is to replace it."""
    for key, value in vars(old).items():
        other = vars(new).get(key)
        if isinstance(value, type) and isinstance(other, type):
            if value.__module__ == getattr(old, "__name__", "") or not isinstance(old, ModuleType):
                yield from _functions(value, other)
            continue
        for part in ("fget", "__func__", "__wrapped__"):
            value, other = getattr(value, part, value), getattr(other, part, other)
        if (
            isinstance(value, FunctionType)
            and isinstance(other, FunctionType)
            and value.__code__.co_freevars == other.__code__.co_freevars
        ):
            yield value, other
