# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Show how many tests have produced each code of the suite; the status is 1 if one has none.

pytest --codes out/codes.json && PYTHONPATH=test/lib python -m testkit.known_codes out/codes.json
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lerobot_arm_driver.arms import ArmSettings
from lerobot_arm_driver.frames import ArmReception
from lite3_driver.figures import Lite3Settings
from lite3_driver.reception import Lite3Reception
from model_tools.prove.replaying.invariants import INVARIANTS, RECORDER_INVARIANTS
from policy_core.errors import PolicyError
from policy_core.guard.bounds import Rule
from policy_inference.flight.ring import ShadowOutcome
from policy_inference.service.protocol import Code
from policy_store.trial_record import TrialEvent
from robot_driver.consistency import SenseConsistency
from robot_driver.testing.invariants import DRIVER_INVARIANTS
from testkit import codes, watching
from testkit.store import STORE_INVARIANTS
from tools.chaos.watch import CHAOS_INVARIANTS
from unitree_driver.figures import GO2, UnitreeSettings
from unitree_driver.reception import UnitreeReception

ROOT = Path(__file__).resolve().parents[3]
_NO_REJECTIONS = ("received", "missed", "contact_not_finite")
"""What receptions count beside datagrams that they reject."""
_LOGGED = "logged, test_freshness.py compares the numbers"
EXCEPTIONS: Mapping[tuple[str, str], str] = {
    (codes.REASON, "OUR_CLOCK"): _LOGGED,
    (codes.REASON, "SENDERS_CLOCK"): _LOGGED,
    (codes.REASON, "CLOCK_STEP"): _LOGGED,
    (codes.REASON, "SLOW"): "only a chunk that another machine has computed is so old",
    (codes.STATUS, f"{codes.INTERRUPTED} + N"): "in processes of their own, test_command_line.py",
    (codes.ERROR, "ToolkitError"): "in the job of RKNN",
    (codes.INVARIANT, "driver_answers"): "at the end of each test of a driver's conformance",
}
"""What no test of this job produces where it is counted, and why."""


INVARIANT_GROUPS: Mapping[str, Mapping[str, str]] = {
    "The control path": INVARIANTS,
    "Requests": watching.REQUEST_INVARIANTS,
    "Another policy takes over": watching.LOAD_INVARIANTS,
    "Recordings and shadows": {**RECORDER_INVARIANTS, **watching.PUBLISHED_INVARIANTS},
    "Drivers": DRIVER_INVARIANTS,
    "The store": STORE_INVARIANTS,
    "The service": watching.SERVICE_INVARIANTS,
    "Everything at once": CHAOS_INVARIANTS,
}
"""What holds, by the heading of docs/invariants.md and by name."""


def known_codes() -> Mapping[str, Sequence[str]]:
    """Return all codes, by kind."""
    receptions = (
        Lite3Reception(Lite3Settings()),
        UnitreeReception(GO2, UnitreeSettings()),
        ArmReception(ArmSettings()),
    )
    return {
        codes.RULE: [rule.value for rule in Rule],
        codes.REASON: [*codes.reasons()],
        codes.ERROR: [*_errors()],
        codes.STATUS: [*map(str, range(5)), f"{codes.INTERRUPTED} + N"],
        codes.SERVICE: [code.name for code in Code],
        codes.SENSES: [*SenseConsistency(GO2.figures, torques=True).shares],
        codes.STATE: [
            f"{type(each).__name__}: {name}"
            for each in receptions
            for name in each.counts
            if name not in _NO_REJECTIONS
        ],
        codes.TRIAL: [event.value for event in TrialEvent],
        codes.SHADOW: [outcome.name for outcome in ShadowOutcome],
        codes.INVARIANT: [name for group in INVARIANT_GROUPS.values() for name in group],
    }


def main(file: Path) -> int:
    """Print the table, and what no test has produced; return the exit status."""
    if not file.is_file():
        sys.stderr.write(
            f"codes: {file}: expected the codes that tests have produced, found no file; "
            f"make test-all CODES={file}\n"
        )
        return 1
    counts = json.loads(file.read_text("utf-8"))
    missing = []
    for kind, known in known_codes().items():
        print(f"\n{kind}: {len(known)}")  # noqa: T201  # that is what it is for
        for code in known:
            count, why = counts.get(kind, {}).get(code, 0), EXCEPTIONS.get((kind, code), "")
            print(f"  {code:<32}{count:>7}  {'' if count else why}".rstrip())  # noqa: T201
            if not (count or why):
                missing.append(f"{kind}: {code}")
    print("\n" + ("\n".join(["no test produces", *missing]) if missing else "each has a test"))  # noqa: T201
    return 1 if missing else 0


def _errors() -> Iterator[str]:
    """Yield the names of all errors of the suite that have a cause outside of it."""
    bases: dict[str, list[str]] = {}
    for file in sorted(ROOT.glob("src/*/*/**/*.py")):
        if "/test/" in str(file) or "src/lerobot_robot" in str(file):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [each.id for each in node.bases if isinstance(each, ast.Name)]
    found = {PolicyError.__name__}
    while more := {name for name, of in bases.items() if found & {*of}} - found:
        found |= more
    yield from sorted(found)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
