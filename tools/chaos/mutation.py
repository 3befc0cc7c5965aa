# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which faults in the code that guards a robot do the seeds find?"""

from __future__ import annotations

import importlib
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from tools.chaos.scenario import Options, run_seed
from tools.chaos.store import make_sources, run_store_seed
from tools.mutants import Mutant, mutants

_PLACES = {
    "guard": "policy_core/policy_core/guard",
    "control": "policy_core/policy_core/control",
    "pairing": "policy_core/policy_core/observation/freshness.py",
    "link": "robot_driver/robot_driver/following.py",
    "store": "policy_store/policy_store/activation.py",
}
"""Files that are changed, by the group of tools.mutants that they are in."""
_LIMIT_S = 1800
_STORE_SEEDS = 8
"""So many of the store for each other one: they take less time."""
_FOUND, _CHANGED, _SAME = "found", "other events, nothing broken", "same events"


def try_mutants(
    count: int, seeds: range, options: Options, say: Callable[[str], None], draw: int = 1
) -> int:
    """Run the seeds with one fault after the other, and say how many they find.

    Args:
        count: Of faults, the same number of each place.
        seeds: Run until one breaks an invariant, or an error ends the process.
        options: Of the seeds.
        say: Prints a line.
        draw: Seed of the drawing.
    """
    chance, drawn = random.Random(draw), list[Mutant]()
    for group, place in _PLACES.items():
        every = [*mutants(group, [place])]
        drawn += chance.sample(every, min(len(every), count // len(_PLACES)))
    chance.shuffle(drawn)  # of a run that is ended early, all places are known
    found, usual = Counter[tuple[str, str]](), dict[bool, bytes]()
    with tempfile.TemporaryDirectory() as folder:
        sources = make_sources(Path(folder))

        def run(mutant: Mutant | None, of_store: bool) -> bytes:
            return _in_child(lambda: _events(mutant, of_store, seeds, options, sources))

        for mutant in drawn:
            of_store = mutant.group == "store"
            if of_store not in usual:
                usual[of_store] = run(None, of_store)
                if not usual[of_store]:
                    say("expected seeds that break nothing without a fault, found one that does")
                    return 1
            digest = run(mutant, of_store)
            result = _FOUND if not digest else _CHANGED if digest != usual[of_store] else _SAME
            found[mutant.group, result] += 1
            say(f"{result}: {mutant.file}:{mutant.line} {mutant.fault}")
    for group in _PLACES:
        counts = {result: found[group, result] for result in (_FOUND, _CHANGED, _SAME)}
        say(f"{group}: " + ", ".join(f"{text} {number}" for text, number in counts.items()))
    total = sum(number for (_, result), number in found.items() if result == _FOUND)
    say(f"{total} of {len(drawn)} found")
    return 0


def _events(
    mutant: Mutant | None, of_store: bool, seeds: range, options: Options, sources: Path
) -> bytes:
    """Return the digest of all seeds; nothing where one broke an invariant."""
    if mutant is not None:
        put_in(mutant)
    digest = blake2b(digest_size=16)
    if of_store:
        seeds = range(seeds.start, seeds.start + _STORE_SEEDS * len(seeds))
    for seed in seeds:
        if of_store:
            if run_store_seed(seed, sources):
                return b""
        else:
            outcome = run_seed(seed, options)
            if outcome.broken is not None:
                return b""
            digest.update(outcome.digest.encode())
    return digest.digest()


def _in_child(work: Callable[[], bytes]) -> bytes:
    """Work in a copy of this process; return nothing where an error, or the time, ended it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(_LIMIT_S)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            os.write(writer, work())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


def put_in(mutant: Mutant) -> None:
    """Give the functions of a module, which all others have already, the code of a mutant."""
    name = mutant.file.partition("/")[2].removesuffix(".py").replace("/", ".")
    there = importlib.import_module(name)
    other = ModuleType(name)
    other.__file__ = there.__file__
    sys.modules[name] = other  # what dataclasses look for
    exec(compile(mutant.text, str(there.__file__), "exec"), vars(other))
    sys.modules[name] = there
    for old, new in _functions(there, other):
        old.__code__ = new.__code__
    for key, value in vars(other).items():
        if isinstance(value, int | float | tuple) and vars(there).get(key) != value:
            setattr(there, key, value)


def _functions(old: Any, new: Any) -> Iterator[tuple[FunctionType, FunctionType]]:
    """Yield each function of a module or class beside the one that is to replace it."""
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
