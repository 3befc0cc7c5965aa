# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which faults in the code that guards a robot do the seeds find?"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.mutants import ROOT, Mutant, mutants

_PLACES = {
    "guard": "policy_core/policy_core/guard",
    "control": "policy_core/policy_core/control",
    "pairing": "policy_core/policy_core/observation/freshness.py",
    "link": "robot_driver/robot_driver/following.py",
    "store": "policy_store/policy_store/activation.py",
}
"""Files that are changed, by the group of tools.mutants that they are in."""
_TIMEOUT_S = 1200.0
_FOUND, _CHANGED, _SAME = "found", "other events, nothing broken", "same events"


def try_mutants(
    count: int, seeds: range, seconds: float, say: Callable[[str], None], draw: int = 1
) -> int:
    """Run the seeds with one fault after the other, and say how many they find.

    Args:
        count: Of faults, the same number of each place.
        seeds: Run until one breaks an invariant, or the process ends with an error.
        seconds: Virtual time of each seed.
        say: Prints a line.
        draw: Seed of the drawing.
    """
    chance, drawn = random.Random(draw), list[Mutant]()
    for group, place in _PLACES.items():
        every = [*mutants(group, [place])]
        drawn += chance.sample(every, min(len(every), count // len(_PLACES)))
    command = [sys.executable, "-m", "tools.chaos", "--first", "--seconds", str(seconds)]
    command += ["--seeds", f"{seeds[0]}:{seeds[-1] + 1}"]
    found, base = Counter[tuple[str, str]](), dict[bool, str]()
    with tempfile.TemporaryDirectory() as folder:
        for mutant in drawn:
            of_store = mutant.group == "store"
            if of_store not in base:
                base[of_store] = _run(command, of_store, Path(folder, "none"))[1]
            status, digest = _run(command, of_store, _overlay(mutant, Path(folder)))
            result = _FOUND if status else _CHANGED if digest != base[of_store] else _SAME
            found[mutant.group, result] += 1
            say(f"{result}: {mutant.file}:{mutant.line} {mutant.fault}")
    for group in _PLACES:
        counts = {result: found[group, result] for result in (_FOUND, _CHANGED, _SAME)}
        say(f"{group}: " + ", ".join(f"{text} {number}" for text, number in counts.items()))
    total = sum(number for (_, result), number in found.items() if result == _FOUND)
    say(f"{total} of {len(drawn)} found")
    return 0


def _overlay(mutant: Mutant, folder: Path) -> Path:
    """Return a folder with the package of a mutant, the fault in it."""
    distribution, package, *_ = Path(mutant.file).parts
    overlay = folder / "overlay"
    shutil.rmtree(overlay, ignore_errors=True)
    shutil.copytree(ROOT / "src" / distribution / package, overlay / package)
    (folder / "overlay" / Path(mutant.file).relative_to(distribution)).write_text(
        mutant.text, "utf-8"
    )
    return overlay


def _run(command: Sequence[str], of_store: bool, overlay: Path) -> tuple[int, str]:
    """Return the exit status and the digest of all events."""
    path = os.pathsep.join(filter(None, [str(overlay), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [*command, *(["--store"] if of_store else [])],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, ""
    return done.returncode, done.stdout.rpartition("digest ")[2].strip()
