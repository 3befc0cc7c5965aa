# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
r"""Write docs/faults.md from the results of `test/faults/every_fault.py`.

Build and source the workspace of my_robot (docs/bring_your_robot.md), and give the folder of a G1's
bundle in G1_BUNDLE (docs/isaac_lab.md). Then, with no other ROS nodes on the machine, run in a
shell that may use real-time priorities up to 50:

for robot in lite3 go2 g1 arm my_robot; do
  python -m pytest -n 0 -m acceptance -k "$robot:" --junitxml out/faults/$robot.xml \
    test/faults/every_fault.py
done
python -m tools.fault_page out/faults/*.xml

If a case is in several files, the last file counts.
"""

from __future__ import annotations

import argparse
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "faults.md"
INTRODUCTION = """# Fault matrix

This page shows what happens when one part fails while an emulated robot moves in real time. All
entries were measured, but an emulator is not a real robot
([lite3.md](lite3.md#what-is-not-verified), [unitree.md](unitree.md#what-is-not-verified)).{absent}

| entry | meaning |
| --- | --- |
| goes on | the robot keeps walking or reaching for 5 s |
| `held_too_long` | the policy node damps because of this [rule](safety.md#the-guards-rules) |
| 98/250 ms | measured time until the drives only damp / test limit |
| (`old`) | the driver rejects the robot's data for this reason |
| driver | the driver damps |
| requested, started | the policy node damps on request, or because it was restarted |
| **bold** | not as intended: damped too late, never or needlessly, or moved again by itself |
| no result | the test could not be carried out |
| – | the fault does not apply to this part, or is listed in another row |
| empty | not tested |

The limit is 250 ms (for the arm, up to 1.8 s) if data is missing or rejected, or if commands are
not renewed: a driver tolerates each of these for 100 ms; a walking policy tolerates missing data
for 40 ms, then holds for 100 ms. The limit is 5 s if only the robot's motion reveals the fault, or
if one process has to damp on behalf of another.
"""
ROBOTS = {
    "lite3": "Lite3",
    "go2": "Go2",
    "g1": "G1",
    "arm": "SO-101 arm",
    "my_robot": "my_robot",
}
NOTES = {
    "lite3": "The robot walks at 0.5 m/s. Its own computer damps after 1 s without commands.",
    "go2": """The robot walks at 0.5 m/s. Its own computer keeps executing the last command. When
the driver exits, its link process lowers the robot for 2 s; then the drives only damp.""",
    "g1": """The robot walks at 0.5 m/s with a published policy
([which](verified.md#policies-trained-in-isaac-lab)), after a hoist has let it down. It has no foot
contacts, and falls when it is damped.""",
    "arm": """The arm reaches for a cube. There is no driver between policy and arm: here, *driver*
means that a command expired, 200 ms after it was sent. The policy node tolerates missing
images for 500 ms, keeps its last target for 1 s, and then holds the measured pose, which counts as
damped.""",
    "my_robot": "The robot walks at 0.5 m/s. Its own computer damps after 1 s without commands.",
}
"""Notes on each robot, for readers of the page."""
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
"""Columns, and the kinds of faults in each. A fault that ends on its own is intermittent."""
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
"""Rows for targets in the messages of my_robot and the arm."""
_OF_NODES = ("garbage", "wrong", "delayed")
NO_MEANING = {
    **{part: ("off", "slow", "delayed") for part in COMPONENTS if "." in part},
    **dict.fromkeys(("joint_states", "imu", "contact"), ("garbage", "wrong")),
    "joint": ("garbage", "slow", "delayed"),
    "remote": tuple(TYPES)[1:],
    "state": ("garbage", "wrong"),
    "command": ("wrong",),
    "host": tuple(TYPES)[1:-1],
    **dict.fromkeys(("driver", "link", "policy"), _OF_NODES),
    "both": ("slow", *_OF_NODES),
}
"""Types of faults that a component cannot have, or that are in another row."""
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
"""The communication faults in AUTOSAR E2E, and the cases that represent them."""
_DASH = "–"
_KIND = re.compile(r"`?(?P<kind>\w+):(?P<target>[\w.]+)(?:\+(?P<for_s>[\d.]+))?(?:=[\w.]+)?`?")
_RULE = re.compile(r"policy DAMP: (?P<rule>\w+)(?P<is_rule>:?)")
_REJECTED = re.compile(r"rejected as (?P<code>`\w+`)")
Row = Mapping[str, str]
"""`robot`, `group` and `what` of a fault; for a completed case, also `ended`, `as_wanted`,
`damped_ms` and `within_ms` (a number or "None"). `commit`: the measured commit.
"""


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="fault_page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+", help="files of pytest's --junitxml")
    given = parser.parse_args(args)
    PAGE.write_text(make_page(read_results(given.results)), "utf-8")


def read_results(files: Iterable[Path]) -> list[Row]:
    """Return the last record of each case."""
    rows = [
        {**_properties(test.find("properties")), **_properties(suite.find("properties"))}
        for file in files
        for suite in ElementTree.parse(file).iter("testsuite")
        for test in suite.iter("testcase")
    ]
    return [*{(row["robot"], row["group"], row["what"]): row for row in rows}.values()]


def _properties(found: ElementTree.Element | None) -> Row:
    return {} if found is None else {one.attrib["name"]: one.attrib["value"] for one in found}


def make_page(rows: Sequence[Row]) -> str:
    """Return the page: each robot's matrix and refused starts, requests, communication faults."""
    found = {robot: [row for row in rows if row["robot"] == robot] for robot in ROBOTS}
    absent = [ROBOTS[robot] for robot in ROBOTS if not found[robot]]
    found = {robot: of_robot for robot, of_robot in found.items() if of_robot}
    not_measured = f"\n\n**Not measured: {', '.join(absent)}.**" if absent else ""
    parts = [INTRODUCTION.format(absent=not_measured)]
    for robot, of_robot in found.items():
        name = ROBOTS[robot]
        others = [[", ".join(what), end] for end, what in _others(of_robot).items()]
        starts = [[r["what"], _refusal(r)] for r in of_robot if r["group"] == "start"]
        commits = dict.fromkeys(row["commit"] for row in of_robot)
        noun = "commit" if len(commits) == 1 else "commits"
        measured = f"Measured at {noun} {', '.join(f'`{each}`' for each in commits)}."
        parts += [f"## {name}\n", f"{NOTES[robot]}\n{measured}\n", make_matrix(of_robot), ""]
        parts += [_table(["other faults", "end"], others), ""] if others else []
        if starts:
            parts += [f"### {name}: control is refused\n"]
            parts += [_table(["before control is taken", "reason"], starts), ""]
    parts += ["## Requests\n", _requests(found), ""]
    parts += ["## Communication faults\n", _communication(found), ""]
    return "\n".join(parts)


def make_matrix(rows: Sequence[Row]) -> str:
    """Return a Markdown table of components and types of faults."""
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        for place in _places(row):
            cells.setdefault(place, []).append(row)
    lines = []
    for target, component in COMPONENTS.items():
        if any((target, column) in cells for column in TYPES):
            dashed = NO_MEANING.get(target, ())
            line = [
                _outcomes(cells.get((target, column), ())) or _DASH * (column in dashed)
                for column in TYPES
            ]
            lines.append([component, *line])
    return _table(["part", *TYPES], lines)


def _others(rows: Sequence[Row]) -> Mapping[str, Sequence[str]]:
    """Return the faults that are not in the matrix, by outcome."""
    others: dict[str, list[str]] = {}
    for row in rows:
        if row["group"] in ("robot", "network") and not [*_places(row)]:
            others.setdefault(_outcomes([row]), []).append(row["what"].replace("`, `", " with "))
    return others


def _places(row: Row) -> Iterable[tuple[str, str]]:
    """Yield the cells of a row's faults: target and type."""
    for found in _KIND.finditer(row["what"]):
        kind, target, for_s = found.group("kind", "target", "for_s")
        column = next((name for name, kinds in TYPES.items() if kind in kinds), None)
        if column is not None:
            target = ALIASES.get(target, target if target in COMPONENTS else "joint")
            yield target, "intermittent" if for_s and kind != "forged" else column


def _outcomes(rows: Sequence[Row]) -> str:
    """Return each outcome of faults once, with what was rejected and the range of times."""
    alike: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault((*_outcome(row), row.get("within_ms", "")), []).append(row)
    return "; ".join(
        _outcome_of_all(outcome, wanted, same) for (outcome, wanted, _), same in alike.items()
    )


def _outcome_of_all(outcome: str, wanted: str, rows: Sequence[Row]) -> str:
    codes = dict.fromkeys(code for row in rows for code in _REJECTED.findall(row.get("ended", "")))
    times = [float(row["damped_ms"]) for row in rows if row.get("damped_ms", "None") != "None"]
    words = [outcome, *([f"({', '.join(codes)})"] if codes else [])]
    if times:
        range_ms = " to ".join(dict.fromkeys(f"{each(times):.0f}" for each in (min, max)))
        words.append(f"{range_ms}/{rows[0]['within_ms']} ms")
    text = " ".join(words)
    return text if wanted == "True" else f"**{text}**"


def _outcome(row: Row) -> tuple[str, str]:
    """Return a short name for a fault's outcome, and whether it is the expected one."""
    ended = row.get("ended")
    if ended is None:
        return "no result", "True"
    wanted = row["as_wanted"]
    first = next((name for name in ("goes on", "moved again") if ended.startswith(name)), None)
    if first is not None:
        return first, wanted
    if row["damped_ms"] == "None" and wanted != "True":
        return "never damped", wanted
    rule = _RULE.search(ended)
    if rule is None or rule["rule"] == "driver":
        return "driver", wanted
    return f"`{rule['rule']}`" if rule["is_rule"] else rule["rule"], wanted


def _refusal(row: Row) -> str:
    """Return the code of a refusal; if it has none, its first clause."""
    if "ended" not in row:
        return "no result"
    said = re.sub(r"^status \d+: (?:\[[^]]*\] ?)+: ", "", row["ended"])
    rejected = _REJECTED.search(said)
    first = re.split(r"; |: (?!expected)", re.sub(r"[\d.]+:\d{4,5}", "this PC", said))[0]
    text = rejected["code"] if rejected else first
    return text if row["as_wanted"] == "True" else f"**{text}**"


def _requests(found: Mapping[str, Sequence[Row]]) -> str:
    of_people = {
        robot: {row["what"]: row for row in rows if row["group"] == "people"}
        for robot, rows in found.items()
    }
    lines = [
        [what, *(_outcomes([rows[what]] if what in rows else []) for rows in of_people.values())]
        for what in dict.fromkeys(what for rows in of_people.values() for what in rows)
    ]
    return _table(["request", *(ROBOTS[robot] for robot in found)], lines)


def _communication(found: Mapping[str, Sequence[Row]]) -> str:
    lines = []
    for fault, cases in COMMUNICATION.items():
        cells = []
        for rows in found.values():
            chosen = [row for row in rows if row["what"].strip("`").startswith(cases)]
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
