# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
r"""Write docs/faults.md from the results of `test/faults/every_fault.py`.

for robot in lite3 go2 g1 my_robot arm; do
  python -m pytest -n 0 -m acceptance -k $robot: --junitxml out/$robot.xml \\
    test/faults/every_fault.py
done
python -m tools.fault_page out/*.xml docs/faults.md

A file's name begins with the robot's. Entries that the page already has stay, and results fill the
empty cells, so a run of some cases (`-k`) suffices after new ones are added. To measure again,
delete the entries or the page.
"""

from __future__ import annotations

import argparse
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

INTRODUCTION = """# Fault matrix

This page shows what happens when a part fails while an emulated robot moves in real time: a Lite3,
Go2 or my_robot walks at 0.5 m/s, a G1 squats and sways (the suite has no G1 policy that walks), an
arm reaches for a cube. Every entry was measured (`test/faults/every_fault.py`), but an emulator is
not a real robot ([lite3.md](lite3.md#what-is-not-verified),
[unitree.md](unitree.md#what-is-not-verified)).

- *goes on*: the robot keeps walking, squatting or reaching.
- A rule of the [guard](safety.md#the-guards-rules), such as `held_too_long`: the policy damps;
  brackets contain the driver's reason for rejecting data.
- *driver*: the driver damps by itself; the arm has none, and its drives damp when the policy's
  command has expired.
- Times (in ms) run from the start of the fault until the robot's drives only damp. The Lite3's host
  has a 1 s watchdog, as has my_robot; the Go2 and the G1 have none, so their last command stays in
  effect. The arm's commands expire.
- Limits: a driver damps when the state is 100 ms old. A policy for legs holds its last target when
  data is 40 ms old, and damps 100 ms later. The arm's policy allows 500 ms, holds its last target
  for 1 s, and then the measured pose, which counts as rest.
- Bold: the robot is not brought to rest. *moved again*: without a driver that waits for MODE_DAMP,
  the arm follows a policy node that stalled and goes on. Empty: not tried.
- A dash: this fault has no meaning of its own. One field of a message cannot be missing, slow or
  late without the rest. A whole sensor's garbage or wrong values are listed by field. A process
  shows the robot no garbage other than that of its link.
"""
ROBOTS = {"lite3": "Lite3", "go2": "Go2", "g1": "G1", "my_robot": "my_robot", "arm": "SO-101 arm"}
TYPES = {
    "off": ("drop", "silent", "deaf", "off", "motor_off", "restart", "killed", "gone"),
    "stuck": ("freeze", "hold", "stuck", "tick", "repeat", "hangs"),
    "garbage": ("nan", "crc", "length", "firmware", "not_unit", "xyzw", "garbage"),
    "wrong": (
        *("order", "swapped", "zero", "bias", "reverse", "motors", "noise"),
        *("foreign", "forged", "second"),
    ),
    "slow": ("slow",),
    "delayed": ("latency", "delay", "late"),
    "intermittent": ("loss", "reorder", "duplicate", "again"),
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
    "camera": "cameras",
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
ALIASES = {
    "state.angle_deg": "joint_states.position",
    "state.speed_deg_s": "joint_states.velocity",
    "state.torque_nm": "joint_states.effort",
    "state.orientation_wxyz": "imu.orientation",
    "state.gyro_deg_s": "imu.angular_velocity",
    "state.acceleration_g": "imu.linear_acceleration",
    "command.angle_deg": "command",
    "command.position": "command",
    **dict.fromkeys(("front", "front.data", "wrist", "wrist.data"), "camera"),
}
"""Rows of targets in the messages of my_robot and the arm."""
_OF_NODES = ("garbage", "wrong", "delayed")
NO_MEANING = {
    **{part: ("off", "slow", "delayed") for part in COMPONENTS if "." in part},
    **dict.fromkeys(("joint_states", "imu", "contact"), ("garbage", "wrong")),
    "joint": ("garbage", "slow", "delayed"),
    "remote": tuple(TYPES)[1:],
    "command": ("wrong",),
    "host": tuple(TYPES)[1:-1],
    **dict.fromkeys(("driver", "link", "policy"), _OF_NODES),
    "both": ("slow", *_OF_NODES),
}
"""Types of faults that a component cannot have, or that another row shows."""
PROCESSES = {
    "driver: its node killed (SIGKILL)": "killed:driver",
    "driver: the process of the socket killed": "killed:link",
    "driver: both killed at once": "killed:both",
    "driver: its node hangs (SIGSTOP)": "hangs:driver",
    "driver: the process of the socket hangs": "hangs:link",
    "driver: both hang": "hangs:both",
    "policy node hangs": "hangs:policy",
    **{
        f"{name}: {what}": fault.format(target)
        for name, target in (
            ("driver's node", "driver"),
            ("driver's link", "link"),
            ("policy node", "policy"),
        )
        for what, fault in (
            ("stopped for 0.5 s (SIGSTOP)", "hangs:{}+0.5"),
            ("runs half of the time", "slow:{}"),
        )
    },
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
    "repetition": ("duplicate", "repeat"),
    "loss": ("loss", "silent", "deaf", "drop:state", "drop:command"),
    "delay": ("delay", "latency", "late"),
    "insertion": ("forged", "second"),
    "masquerade": ("foreign", "second"),
    "incorrect addressing": ("a different DDS domain", "an interface address that this machine"),
    "incorrect sequence": ("reorder", "tick", "repeat", "freeze:state", "freeze:command"),
    "corruption": ("crc", "length", "firmware", "garbage", "nan"),
    "asymmetric information": (
        *("drop:joint_states", "drop:imu", "drop:contact", "drop:front", "drop:wrist"),
    ),
    "information that reaches only some receivers": (
        *("silent:state", "deaf:command", "drop:state", "drop:command"),
    ),
    "blocked access": ("hangs", "another program has the port"),
}
"""The communication faults in AUTOSAR E2E, and the cases that cause them."""
GOES_ON, WALKS_ON = "goes on", "walks on"
_DASH = "–"
_STALLED = "the machine is too busy"
_KIND = re.compile(r"`?(?P<kind>\w+):(?P<target>[\w.]+)(?:\+(?P<for_s>[\d.]+))?(?:=[\w.]+)?`?")
_RULE = re.compile(r"policy DAMP: (?P<rule>\w+)")
_REJECTED = re.compile(r"counts as (?P<code>`\w+`)")
Earlier = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Cells of a page, by heading, first cell of the row, and head of the column."""
Row = Mapping[str, str]
"""`group` and `what` of a fault, with `ended`, `as_wanted` and `damped_ms` (a number or "None")."""


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="fault_page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+", help="files of pytest's --junitxml")
    parser.add_argument("page", type=Path, help="file to write")
    given = parser.parse_args(args)
    earlier = read_page(given.page.read_text("utf-8")) if given.page.is_file() else {}
    given.page.write_text(make_page(read_results(given.results), earlier), "utf-8")


def read_results(files: Iterable[Path]) -> dict[str, list[Row]]:
    """Return the records of each robot; of a case that ran repeatedly, the last one."""
    found: dict[str, dict[tuple[str, str], Row]] = {robot: {} for robot in ROBOTS}
    for file in files:
        rows = found[next(robot for robot in ROBOTS if file.stem.startswith(robot))]
        rows.update({(row["group"], row["what"]): row for row in read_rows(file)})
    return {robot: [*rows.values()] for robot, rows in found.items()}


def read_rows(results: Path) -> list[Row]:
    """Return the record of each test that came to an end, in order.

    Without those in which a stalled machine, not the fault, may have damped the robot.
    """
    tests = ElementTree.parse(results).iter("testcase")
    rows = [{one.attrib["name"]: one.attrib["value"] for one in t.iter("property")} for t in tests]
    return [
        row
        for row in rows
        if "ended" in row
        and not (
            row["group"] in ("robot", "network")
            and row["damped_ms"] != "None"
            and _STALLED in row["ended"]
        )
    ]


def read_page(text: str) -> Earlier:
    """Return the cells of a page's tables."""
    cells: dict[str, dict[str, dict[str, str]]] = {}
    heading, head = "", [""]
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.strip("# ")
        elif line.startswith("| "):
            row = line[2:-2].split(" | ")
            if line.startswith("| ---"):
                continue
            if row[0] in _HEADS:
                head = row
            else:
                name = f"{heading}: others" if head[0] == _HEADS[1] else heading
                cells.setdefault(name, {})[row[0]] = dict(zip(head[1:], row[1:], strict=True))
    return cells


_HEADS = (
    *("part", "other faults", "request", "before control is taken"),
    "fault (AUTOSAR E2E)",
)


def make_page(found: Mapping[str, Sequence[Row]], earlier: Earlier | None = None) -> str:
    """Return the page: for each robot a matrix, requests by people, and refused starts."""
    parts, earlier = [INTRODUCTION], earlier or {}
    found = {robot: rows for robot, rows in found.items() if rows or ROBOTS[robot] in earlier}
    for robot, rows in found.items():
        name = ROBOTS[robot]
        parts += [f"## {name}\n", make_matrix(rows, earlier.get(name, {})), ""]
        others = {", ".join(what): end for end, what in _others(rows).items()}
        people = {r["what"]: _outcomes([r]) for r in rows if r["group"] == "people"}
        starts = {r["what"]: _refusal(r) for r in rows if r["group"] == "start"}
        for heading, head, table in (
            (f"{name}: others", ["other faults", "end"], others),
            (f"{name}: requests", ["request", "end"], people),
            (f"{name}: control is refused", ["before control is taken", "message"], starts),
        ):
            kept = {what: cells[head[1]] for what, cells in earlier.get(heading, {}).items()}
            lines = {**table, **kept}
            title = [] if head[0] == _HEADS[1] else [f"### {heading}\n"]
            parts += [*title, _table(head, [*lines.items()]), ""] if lines else []
    kept_faults = earlier.get("Communication faults", {})
    parts += ["## Communication faults\n", _communication(found, kept_faults), ""]
    return "\n".join(parts)


def make_matrix(rows: Sequence[Row], earlier: Mapping[str, Mapping[str, str]]) -> str:
    """Return a Markdown table of components and types of faults."""
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        for place in _places(row):
            cells.setdefault(place, []).append(row)
    lines = []
    for target, component in COMPONENTS.items():
        kept = earlier.get(component, {})
        line = [_kept(kept, t) or _outcomes(cells.get((target, t), ())) for t in TYPES]
        no_meaning = NO_MEANING.get(target, ())
        if any(line):
            dashed = zip(line, TYPES, strict=True)
            lines.append([component, *(c or _DASH * (t in no_meaning) for c, t in dashed)])
    return _table(["part", *TYPES], lines)


def _kept(cells: Mapping[str, str], column: str) -> str:
    return cells.get(column, "").replace(_DASH, "")


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
            target = ALIASES.get(target, target if target in COMPONENTS else "joint")
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
            *([f"{' to '.join(ends)} ms"] if ends and outcome != GOES_ON else []),
        ]
    )


def _outcome(row: Row) -> str:
    """Return a short name of how a fault ended."""
    if row["as_wanted"] != "True":
        return "**never damped**" if row["damped_ms"] == "None" else f"**{row['ended']}**"
    if row["ended"].startswith(WALKS_ON):
        return GOES_ON
    rule = _RULE.search(row["ended"])
    return f"`{rule['rule']}`" if rule and rule["rule"] != "driver" else "driver"


def _refusal(row: Row) -> str:
    """Return the first clause of a refusal, with its code."""
    said = re.sub(r"^status \d+: \[\w+\]: ", "", row["ended"])
    rejected = _REJECTED.search(said)
    first = re.split(r"; |: (?!expected)", re.sub(r"[\d.]+:\d{4,5}", "this PC", said))[0]
    return f"{first} ({rejected['code']})" if rejected else first


def _communication(
    found: Mapping[str, Sequence[Row]], earlier: Mapping[str, Mapping[str, str]]
) -> str:
    """Return the table of these faults; an entry of the page stays, as results may be partial."""
    lines = []
    for fault, cases in COMMUNICATION.items():
        cells = []
        for robot, rows in found.items():
            chosen = [
                row
                for row in rows
                for name in [PROCESSES.get(row["what"], ""), row["what"].strip("`")]
                if name.startswith(cases)
            ]
            refused = any(row["group"] == "start" for row in chosen)
            outcomes = _outcomes([row for row in chosen if row["group"] != "start"])
            new = "; ".join(filter(None, [outcomes, "refused" if refused else ""]))
            cells.append(earlier.get(fault, {}).get(ROBOTS[robot]) or new)
        lines.append([fault, *cells])
    return _table(["fault (AUTOSAR E2E)", *(ROBOTS[robot] for robot in found)], lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(map(_line, [head, ["---"] * len(head), *rows]))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()
