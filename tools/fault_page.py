# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Write docs/faults.md from the results of `test/faults/every_fault.py`.

for robot in lite3 go2; do
  python -m pytest -n 0 -m acceptance -k $robot --junitxml out/$robot.xml test/faults/every_fault.py
done
python -m tools.fault_page out/lite3.xml out/go2.xml docs/faults.md
"""

from __future__ import annotations

import argparse
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

INTRODUCTION = """# Fault matrix

This page shows what happens when a part fails while an emulated robot walks at 0.5 m/s in real
time. Every entry was measured (`test/faults/every_fault.py`), but an emulator is not a real robot
([lite3.md](lite3.md#what-is-not-verified), [unitree.md](unitree.md#what-is-not-verified)).

- *walks on*: the robot keeps walking.
- A rule of the [guard](safety.md#the-guards-rules), such as `held_too_long`: the policy damps;
  brackets contain the driver's reason for rejecting data.
- *driver*: the driver damps by itself.
- Times (in ms) run from the start of the fault until the robot's drives only damp. The Lite3's host
  has a 1 s watchdog; the Go2 has none, so its last command stays in effect.
- Bold: the robot is not brought to rest. Empty: not tried.
"""
ROBOTS = {"lite3": "Lite3", "go2": "Go2"}
TYPES = {
    "off": ("drop", "silent", "deaf", "off", "motor_off", "killed", "gone"),
    "stuck": ("freeze", "stuck", "tick", "hangs"),
    "garbage": ("nan", "crc", "length", "firmware", "not_unit", "xyzw"),
    "wrong": ("order", "zero", "bias", "reverse", "motors", "noise", "foreign", "forged", "second"),
    "delayed": ("latency", "delay"),
    "intermittent": ("loss", "reorder", "duplicate", "restart", "again"),
}
"""Columns, and the kinds of faults in them. A fault that ends by itself is intermittent."""
COMPONENTS = {
    "joint_states": "joint sensors, all",
    "joint_states.position": "joint positions",
    "joint_states.velocity": "joint velocities",
    "joint_states.effort": "joint torques",
    "joint": "one joint",
    "imu": "IMU",
    "imu.orientation": "attitude",
    "imu.angular_velocity": "gyroscope",
    "imu.linear_acceleration": "accelerometer",
    "contact": "foot contacts",
    "contact.force": "foot forces",
    "remote": "remote control",
    "state": "link from the robot",
    "command": "link to the robot",
    "host": "robot's computer",
    "driver": "driver node",
    "link": "driver's link process",
    "both": "driver, both processes",
    "policy": "policy node",
}
"""Rows, by the target of a fault."""
PROCESSES = {
    "driver: its node killed (SIGKILL)": "killed:driver",
    "driver: the process of the socket killed": "killed:link",
    "driver: both killed at once": "killed:both",
    "driver: its node hangs (SIGSTOP)": "hangs:driver",
    "driver: the process of the socket hangs": "hangs:link",
    "driver: Ctrl-C": "gone:driver",
    "driver: SIGTERM": "gone:driver",
    "policy node killed": "killed:policy",
    "policy node: Ctrl-C": "gone:policy",
    "policy node killed and started again": "again:policy",
    "a second policy node, which damps": "second:policy",
    "policy node and driver killed and started again": "again:both",
}
"""Faults of processes, named like those of an emulator."""
COMMUNICATION = {
    "repetition": ("duplicate",),
    "loss": ("loss", "silent", "deaf"),
    "delay": ("delay", "latency"),
    "insertion": ("forged",),
    "masquerade": ("foreign", "second"),
    "incorrect addressing": ("a different DDS domain", "an interface address that this machine"),
    "incorrect sequence": ("reorder", "tick"),
    "corruption": ("crc", "length", "firmware"),
    "asymmetric information": ("drop:joint_states", "drop:imu", "drop:contact"),
    "information that reaches only some receivers": ("silent:state", "deaf:command"),
    "blocked access": ("hangs", "another program has the port"),
}
"""The communication faults in AUTOSAR E2E, and the cases that cause them."""
WALKS_ON = "walks on"
_KIND = re.compile(r"`?(?P<kind>\w+):(?P<target>[\w.]+)(?:\+(?P<for_s>[\d.]+))?(?:=[\w.]+)?`?")
_RULE = re.compile(r"policy DAMP: (?P<rule>\w+)")
_REJECTED = re.compile(r"rejected as (?P<code>`\w+`)")
Row = Mapping[str, str]
"""`group` and `what` of a fault, with `ended`, `as_wanted` and `damped_ms` (a number or "None")."""


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="fault_page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+", help="files of pytest's --junitxml")
    parser.add_argument("page", type=Path, help="file to write")
    given = parser.parse_args(args)
    found = {results.stem: read_rows(results) for results in given.results}
    given.page.write_text(make_page(found), "utf-8")


def read_rows(results: Path) -> list[Row]:
    """Return the record of each test, in order."""
    tests = ElementTree.parse(results).iter("testcase")
    return [{one.attrib["name"]: one.attrib["value"] for one in t.iter("property")} for t in tests]


def make_page(found: Mapping[str, Sequence[Row]]) -> str:
    """Return the page: for each robot a matrix, requests by people, and refused starts."""
    parts = [INTRODUCTION]
    for robot, rows in found.items():
        name = ROBOTS[robot]
        parts += [f"## {name}\n", make_matrix(rows), ""]
        others = [[", ".join(what), end] for end, what in _others(rows).items()]
        parts += [_table(["other faults", "end"], others), ""]
        people = [[r["what"], _outcomes([r])] for r in rows if r["group"] == "people"]
        parts += [f"### {name}: requests\n", _table(["request", "end"], people)]
        starts = [[r["what"], _refusal(r)] for r in rows if r["group"] == "start"]
        parts += [f"\n### {name}: control is refused\n"]
        parts += [_table(["before control is taken", "message"], starts), ""]
    parts += ["## Communication faults\n", _communication(found), ""]
    return "\n".join(parts)


def make_matrix(rows: Sequence[Row]) -> str:
    """Return a Markdown table of components and types of faults."""
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        for place in _places(row):
            cells.setdefault(place, []).append(row)
    lines = [
        [component, *(_outcomes(cells.get((target, column), ())) for column in TYPES)]
        for target, component in COMPONENTS.items()
    ]
    return _table(["part", *TYPES], [line for line in lines if any(line[1:])])


def _others(rows: Sequence[Row]) -> Mapping[str, Sequence[str]]:
    """Return the faults of a walking robot that are not in the matrix, by their outcome."""
    others: dict[str, list[str]] = {}
    for row in rows:
        if row["group"] in ("robot", "network") and not [*_places(row)]:
            others.setdefault(_outcomes([row]), []).append(row["what"].replace("`, `", " with "))
    return others


def _places(row: Row) -> Iterable[tuple[str, str]]:
    """Yield the targets and types of a fault."""
    for found in _KIND.finditer(PROCESSES.get(row["what"], row["what"])):
        kind, target, for_s = found.group("kind", "target", "for_s")
        column = next((name for name, kinds in TYPES.items() if kind in kinds), None)
        if column is not None:
            target = target if target in COMPONENTS else "joint"
            yield target, "intermittent" if for_s and kind != "forged" else column


def _outcomes(rows: Sequence[Row]) -> str:
    """Return how faults ended, each outcome once with what was rejected and the range of times."""
    alike: dict[str, list[Row]] = {}
    for row in rows:
        alike.setdefault(_outcome(row), []).append(row)
    return "; ".join(_outcome_of_all(outcome, same) for outcome, same in alike.items())


def _outcome_of_all(outcome: str, rows: Sequence[Row]) -> str:
    codes = dict.fromkeys(code for row in rows for code in _REJECTED.findall(row["ended"]))
    times = [float(row["damped_ms"]) for row in rows if row["damped_ms"] != "None"]
    ends = dict.fromkeys(f"{each(times):.0f}" for each in (min, max)) if times else {}
    return " ".join(
        [
            outcome,
            *([f"({', '.join(codes)})"] if codes else []),
            *([f"{' to '.join(ends)} ms"] if ends and outcome != WALKS_ON else []),
        ]
    )


def _outcome(row: Row) -> str:
    """Return a short name of how a fault ended."""
    if row["as_wanted"] != "True":
        return "**never damped**" if row["damped_ms"] == "None" else f"**{row['ended']}**"
    if row["ended"].startswith(WALKS_ON):
        return WALKS_ON
    rule = _RULE.search(row["ended"])
    return f"`{rule['rule']}`" if rule and rule["rule"] != "driver" else "driver"


def _refusal(row: Row) -> str:
    """Return the first clause of a refusal, with its code."""
    said = re.sub(r"^status \d+: \[\w+\]: ", "", row["ended"])
    rejected = _REJECTED.search(said)
    first = re.split(r"; |: (?!expected)", re.sub(r"[\d.]+:\d{4,5}", "this PC", said))[0]
    return f"{first} ({rejected['code']})" if rejected else first


def _communication(found: Mapping[str, Sequence[Row]]) -> str:
    lines = []
    for fault, cases in COMMUNICATION.items():
        cells = []
        for rows in found.values():
            chosen = [
                row
                for row in rows
                for name in [PROCESSES.get(row["what"], ""), row["what"].strip("`")]
                if name.startswith(cases)
            ]
            refused = any(row["group"] == "start" for row in chosen)
            outcomes = _outcomes([row for row in chosen if row["group"] != "start"])
            cells.append("; ".join(filter(None, [outcomes, "refused" if refused else ""])))
        lines.append([fault, *cells])
    return _table(["fault (AUTOSAR E2E)", *(ROBOTS[robot] for robot in found)], lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(map(_line, [head, ["---"] * len(head), *rows]))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()
