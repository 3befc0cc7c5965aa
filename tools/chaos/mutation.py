# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tests which faults in the code that guards a robot are found by the seeds.

A fault in the Python core must break an invariant or, with `--core both`, make it differ from the
native core; a fault in the driver, which has only one implementation, must break an invariant.
"""

from __future__ import annotations

import ast
import importlib
import os
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from math import ceil
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from coverage import Coverage

from policy_inference.kinds.opening import NATIVE, PYTHON
from tools.chaos.mutated import run_mutated
from tools.chaos.scenario import BOTH, Options, holds, run_with_digests
from tools.mutants import ROOT, Mutant, mutants

_PLACES = {
    "guard": "policy_core/policy_core/guard",
    "control": "policy_core/policy_core/control",
    "pairing": "policy_core/policy_core/observation/freshness.py",
    "link": "robot_driver/robot_driver/following.py",
}
"""Files to change, by their group for tools.mutants."""
_ALONE = "link"
"""Group whose code has no second implementation."""
_STRICTNESS = ("Lt -> LtE", "LtE -> Lt", "Gt -> GtE", "GtE -> Gt")
"""Faults that only a value exactly at a limit reveals; unit tests use such values, seeds do not."""


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
        count: Number of faults in lines that the seeds execute, the same for each of the four
            groups, so rounded up to a multiple of 4.
        seeds: Seeds to run until one finds the fault or an error ends the process.
        options: Options for running the seeds.
        say: Prints a line.
        jobs: Number of faults tried in parallel.
        draw: Seed for the random choice of faults.

    Returns:
        0, or 1 if a seed fails even without a fault.
    """
    chance, drawn = random.Random(draw), list[Mutant]()
    every = {group: [*mutants(group, [place])] for group, place in _PLACES.items()}
    native = replace(options, core=NATIVE)
    expected = {
        seed: run_with_digests(seed, native)[1] if options.core == BOTH else [] for seed in seeds
    }
    files = {one.file for some in every.values() for one in some}
    unreached, broken = _unreached(files, expected, options)
    if broken:
        say(f"seeds {broken} do not hold without a fault, so they would find every fault")
        return 1
    for some in every.values():
        fit = [
            one
            for one in some
            if one.fault not in _STRICTNESS
            and one.line not in unreached[one.file]
            and not _is_a_nanosecond(one)
        ]
        drawn += chance.sample(fit, min(len(fit), ceil(count / len(_PLACES))))
    chance.shuffle(drawn)  # so that a run that is ended early covers all places
    of, found = Counter(mutant.group for mutant in drawn), Counter[str]()
    for mutant, is_found in _tried(drawn, expected, options, jobs):
        found[mutant.group] += is_found
        say(f"{'found' if is_found else 'missed'}: {mutant.file}:{mutant.line} {mutant.fault}")
    for group in _PLACES:
        say(f"{group}: {found[group]} of {of[group]} found")
    say(f"{found.total()} of {len(drawn)} found")
    return 0


def _is_a_nanosecond(mutant: Mutant) -> bool:
    """Return whether a fault changes a time by 1 ns, which nothing in a seed can show."""
    if mutant.fault != "0 -> 1":
        return False
    lines = (ROOT / "src" / mutant.file).read_text("utf-8").splitlines()
    return "_ns" in lines[mutant.line - 1]


def _unreached(
    files: set[str], expected: Mapping[int, list[str]], options: Options
) -> tuple[dict[str, set[int]], list[int]]:
    """Return each file's lines in functions that no seed executes, and the seeds that fail."""
    modules = {file: importlib.import_module(_module_name(file)) for file in files}
    places = {file: os.path.realpath(str(module.__file__)) for file, module in modules.items()}
    seen = Coverage(data_file=None, include=[*places.values()])
    with seen.collect():
        python = replace(options, core=PYTHON)
        broken = [seed for seed, digests in expected.items() if not holds(seed, python, digests)]
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
    return found, broken


def _module_name(file: str) -> str:
    return file.partition("/")[2].removesuffix(".py").replace("/", ".")


def _tried(
    drawn: list[Mutant], expected: Mapping[int, list[str]], options: Options, jobs: int
) -> Iterator[tuple[Mutant, bool]]:
    """Yield each fault, and whether the seeds find it."""
    waiting, running = deque(drawn), dict[int, tuple[Mutant, BaseProcess]]()
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.popleft()
            process = _begin(mutant, expected, options)
            running[process.sentinel] = mutant, process
        for sentinel in wait([*running]):
            assert isinstance(sentinel, int)
            mutant, process = running.pop(sentinel)
            process.join()
            yield mutant, process.exitcode != 0


def _begin(mutant: Mutant, expected: Mapping[int, list[str]], options: Options) -> BaseProcess:
    """Run the seeds with a fault in a new process, which exits with 0 if no seed finds it."""
    digests = {seed: [] for seed in expected} if mutant.group == _ALONE else expected
    given = _module_name(mutant.file), mutant.text, digests, asdict(replace(options, core=PYTHON))
    process = get_context("spawn").Process(target=run_mutated, args=given)
    process.start()
    return process
