# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Mutation testing: finds changes that no test notices in the code that guards a robot.

    python -m tools.mutants --count 300 --seed 1 --output out/mutants

Draws small faults (a changed comparison, constant, sign or condition, an omitted call) from the
code of each group. With one fault at a time in a copy of the package, it runs those of the group's
tests that execute the faulty line, and prints the share of faults noticed. The checkout is not
changed. A fault that is not noticed means that a test is missing or that the change has no visible
effect; check each one.
"""
# run: short: --count 1 --groups queue

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue

from coverage import CoverageData

ROOT = Path(__file__).resolve().parents[1]
CORE, TESTS = "policy_core/policy_core", "src/policy_core/test"
TIMEOUT_S = 300.0
QUICK = "not real_time and not acceptance and not ros and not slow"
PYTEST = (
    sys.executable,
    "-m",
    "pytest",
    "-x",
    "-q",
    "-n",
    "0",
    "-p",
    "no:cacheprovider",
    "-m",
    QUICK,
)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Code below src/, and the tests that should notice its faults."""

    code: tuple[str, ...]
    tests: tuple[str, ...]


GROUPS = {
    "guard": Group(
        code=(f"{CORE}/guard",),
        tests=(TESTS,),
    ),
    "control": Group(
        code=(
            f"{CORE}/control",
            f"{CORE}/members/chunk/controller.py",
        ),
        tests=(TESTS,),
    ),
    "observation": Group(
        code=(
            f"{CORE}/observation/rows.py",
            f"{CORE}/observation/state.py",
            f"{CORE}/members/joint.py",
        ),
        tests=(TESTS,),
    ),
    "pairing": Group(
        code=(
            f"{CORE}/observation/pairing.py",
            f"{CORE}/observation/freshness.py",
            f"{CORE}/observation/ticks.py",
            f"{CORE}/members/chunk/observation_sync.py",
        ),
        tests=(TESTS,),
    ),
    "queue": Group(
        code=(f"{CORE}/members/chunk/queue.py", f"{CORE}/members/chunk/policy.py"),
        tests=(f"{TESTS}/chunks",),
    ),
    "store": Group(
        code=("policy_store/policy_store",),
        tests=(
            "src/policy_store/test",
            "src/policy_inference/test/candidate",
            "src/model_tools/test/ship/registry",
        ),
    ),
    "link": Group(
        code=(
            "robot_driver/robot_driver/link.py",
            "robot_driver/robot_driver/following.py",
            "robot_driver/robot_driver/consistency.py",
        ),
        tests=("src/robot_driver/test", "src/lite3_driver/test", "src/unitree_driver/test"),
    ),
}
_LARGE = 1000
"""Constants of at least this size are doubled; others are increased by 1."""
_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One fault in one file below src/."""

    group: str
    file: str
    line: int
    fault: str
    text: str


def _faults(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Put each fault into a tree in turn, yield its node and name, and remove the fault again."""
    nodes: list[ast.AST] = [tree]
    for parent in nodes:
        for field, value in ast.iter_fields(parent):
            if field in ("annotation", "returns", "decorator_list", "type_params"):
                continue  # types, and values that tools read
            if field == "args" and isinstance(value, ast.arguments):
                continue  # defaults that callers rarely leave out
            nodes += [each for each in _listed(value) if isinstance(each, ast.AST)]
            for child in _listed(value):
                if isinstance(child, ast.AST):
                    yield from _faults_at(parent, field, child)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _faults_at(parent: ast.AST, field: str, node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    place = getattr(parent, "ops", None)
    if type(node) in _SWAPS and not isinstance(getattr(parent, "left", None), ast.Constant):
        other = _SWAPS[type(node)]()
        fault = f"{type(node).__name__} -> {type(other).__name__}"
        if isinstance(place, list):
            at = place.index(node)
            place[at] = other
            yield parent, fault
            place[at] = node
        else:
            setattr(parent, field, other)
            yield parent, fault
            setattr(parent, field, node)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        kept = node.value
        more = 2 * kept if abs(kept) >= _LARGE else kept + 1
        node.value = not kept if isinstance(kept, bool) else more
        yield node, f"{kept} -> {node.value}"
        node.value = kept
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        kept_test = node.test
        node.test = ast.UnaryOp(ast.Not(), kept_test)
        yield node, "condition negated"
        node.test = kept_test
    elif isinstance(node, ast.Expr | ast.AugAssign) or (
        isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)
    ):
        body = getattr(parent, field)
        if isinstance(body, list) and not isinstance(getattr(node, "value", None), ast.Constant):
            at = body.index(node)
            body[at] = ast.copy_location(ast.Pass(), node)
            yield node, "left out"
            body[at] = node


def mutants(group: str, code: Sequence[str] = ()) -> Iterator[Mutant]:
    """Yield every fault for a group's code, or for given files and folders below src/."""
    for name in code or GROUPS[group].code:
        path = ROOT / "src" / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            tree = ast.parse(file.read_text("utf-8"))
            for node, fault in _faults(tree):
                yield Mutant(
                    group=group,
                    file=str(file.relative_to(ROOT / "src")),
                    line=getattr(node, "lineno", 0),
                    fault=fault,
                    text=ast.unparse(tree),
                )


class Coverage:
    """Lines that each test of a group executes."""

    def __init__(self, group: Group, folder: Path) -> None:
        """Run the group's tests once.

        Raises:
            CalledProcessError: A test fails without any fault, or cannot be found by its name.
        """
        self._all, file = group.tests, folder / "coverage"
        packages = {f"--cov={Path(name).parts[1]}" for name in group.code}
        subprocess.run(
            [*PYTEST, *packages, "--cov-context=test", "--cov-report=", *group.tests],
            cwd=ROOT,
            env={**os.environ, "COVERAGE_FILE": str(file)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        self._data = CoverageData(str(file))
        self._data.read()
        contexts = self._data.measured_contexts() - {""}
        named = "\n".join(sorted({context.rpartition("|")[0] for context in contexts}))
        (folder / "tests.txt").write_text(named, "utf-8")
        # a test that cannot be found by name would look like a failing one
        subprocess.run(
            [*PYTEST, "--collect-only", f"@{folder / 'tests.txt'}"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def tests(self, mutant: Mutant) -> list[str]:
        """Return the tests that execute a mutant's line."""
        file = str((ROOT / "src" / mutant.file).resolve())
        contexts = self._data.contexts_by_lineno(file)
        # a statement of several lines is recorded by its first
        line = next((line for line in range(mutant.line, 0, -1) if line in contexts), 0)
        found = contexts.get(line, [""])
        # code that runs during an import has no context: any test may notice it
        if "" in found:
            return [*self._all]
        return sorted({context.rpartition("|")[0] for context in found})


def is_noticed(mutant: Mutant, tests: Sequence[str], overlay: Path) -> bool:
    """Return whether a test fails with the mutant; the packages are imported from `overlay`."""
    package = mutant.file.partition("/")[2]
    file = overlay / package
    if not file.exists():
        top = Path(package).parts[0]
        source = ROOT / "src" / Path(mutant.file).parts[0] / top
        shutil.copytree(source, overlay / top, dirs_exist_ok=True)
    kept, listed = file.read_text("utf-8"), overlay / "tests.txt"
    listed.write_text("\n".join(tests), "utf-8")
    file.write_text(mutant.text, "utf-8")
    path = os.pathsep.join(filter(None, [str(overlay), os.environ.get("PYTHONPATH", "")]))
    try:
        done = subprocess.run(
            [*PYTEST, f"@{listed}"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        file.write_text(kept, "utf-8")
    return done.returncode != 0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--count", type=int, default=300, help="total number of mutants (default 300)"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the draw (default 1)")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=[*GROUPS], metavar="GROUP")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="number of parallel processes"
    )
    parser.add_argument("--output", type=Path, help="folder for the list of unnoticed mutants")
    given = parser.parse_args()
    chance, drawn = random.Random(given.seed), list[Mutant]()
    for group in given.groups:
        every = list(mutants(group))
        drawn += chance.sample(every, min(len(every), given.count // len(given.groups)))
    missed, counts, began_s = list[Mutant](), Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        overlays = Queue[Path]()
        for job in range(given.jobs):
            overlays.put(Path(folder, str(job)))
            Path(folder, str(job)).mkdir()

        coverage, known = dict[str, Coverage](), dict[tuple[str, ...], Coverage]()
        for group in given.groups:
            tests = GROUPS[group].tests
            if tests not in known:
                (part := Path(folder, group)).mkdir()
                known[tests] = Coverage(GROUPS[group], part)
            coverage[group] = known[tests]

        def judge(mutant: Mutant) -> None:
            overlay = overlays.get()
            noticed = is_noticed(mutant, coverage[mutant.group].tests(mutant), overlay)
            overlays.put(overlay)
            counts[mutant.group] += noticed
            if not noticed:
                missed.append(mutant)
                say(f"not noticed: {mutant.group} {mutant.file}:{mutant.line} {mutant.fault}")

        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(judge, drawn))
    of = Counter(mutant.group for mutant in drawn)
    for group in given.groups:
        say(f"{group}: {counts[group]} of {of[group]}, {100 * counts[group] / of[group]:.0f} %")
    say(f"{sum(counts.values())} of {len(drawn)} in {(time.monotonic() - began_s) / 60:.0f} min")
    if given.output:
        given.output.mkdir(parents=True, exist_ok=True)
        rows = [{k: v for k, v in asdict(each).items() if k != "text"} for each in missed]
        (given.output / "not_noticed.json").write_text(json.dumps(rows, indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
