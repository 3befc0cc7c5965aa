# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Write the page of a robot's faults from the results of `test/faults/every_fault.py`.

python -m pytest -n 0 -m acceptance -k go2 --junitxml out/go2.xml test/faults/every_fault.py
python -m tools.fault_page --robot go2 out/go2.xml docs/go2_faults.md
"""

from __future__ import annotations

import argparse
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

INTRODUCTIONS = {
    "lite3": """# Fault injection on an emulated Lite3

This page lists the result of each fault that was injected while a robot behind `lite3_emulator`
walked at 0.5 m/s with `lite3_walk`, in real time (`test/faults/every_fault.py`). *Damped after*:
from the beginning of the fault until the emulated host only damps its drives; its watchdog is 1 s.
Faults are named as in `python -m pydoc robot_sim.lite3_host`, `robot_sim.host_faults` and
`robot_sim.faults`; a semicolon separates faults that ended alike, a comma faults at the same time.
Bold: an unexpected end.

An emulator is not a robot: [lite3.md](lite3.md#what-is-not-verified).
""",
    "go2": """# Fault injection on an emulated Go2

This page lists the result of each fault that was injected while `unitree_emulator` walked at
0.5 m/s with `go2_walk`, in real time (`test/faults/every_fault.py`). *Damped after*: from the
beginning of the fault until the emulated robot only damps its drives. It has no watchdog: the last
command stays in effect. Faults are named as in [unitree.md](unitree.md#faults-and-buttons); a
semicolon separates faults that ended alike, a comma faults at the same time. Bold: an unexpected
end.

An emulator is not a robot: [unitree.md](unitree.md#what-is-not-verified).
""",
}
_OF_EVERY_ROBOT = {
    "processes": "Processes that end or hang",
    "people": "What people ask for",
    "start": "Before control is taken",
}
TITLES = {
    "lite3": {
        "robot": "The robot and its sensors",
        "network": "The network and the motion host",
        **_OF_EVERY_ROBOT,
    },
    "go2": {
        "robot": "The robot, its sensors and its remote control",
        "network": "The network and the robot's computer",
        **_OF_EVERY_ROBOT,
    },
}
_SHORTER = {
    r": \d+ ms old, limit \d+ ms": "",
    r"; driver FOLLOWING: the newest joint_command is followed; policy RUN: the policy runs$": "",
    r"; a command in MODE_DAMP is waited for": "",
    r"(driver DAMPING: (.*)); policy DAMP: driver: DAMPING, \2$": r"\1; policy DAMP",
    r"\[ERROR\] \[[\d.]+\] ": "",
    r"LISTENING: control was given back: ": "LISTENING: ",
    r" on /lowstate for 1.0 s: check the cable, .*?\(docs/unitree.md\)": " for 1.0 s",
}
"""Words in the result of a fault, and their replacement on the page."""
Row = Mapping[str, str]
"""`group` and `what` of a fault; also `ended`, `as_wanted`, `damped_ms` if it was tried."""


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="fault_page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--robot", choices=TITLES, required=True)
    parser.add_argument("results", type=Path, help="file of pytest's --junitxml")
    parser.add_argument("page", type=Path, help="file to write")
    given = parser.parse_args(args)
    text = page(INTRODUCTIONS[given.robot], TITLES[given.robot], rows(given.results))
    given.page.write_text(text, "utf-8")


def rows(results: Path) -> list[Row]:
    """Return the record of each test, in order."""
    tests = ElementTree.parse(results).iter("testcase")
    return [{one.attrib["name"]: one.attrib["value"] for one in t.iter("property")} for t in tests]


def page(introduction: str, titles: Mapping[str, str], found: Sequence[Row]) -> str:
    """Return a Markdown table for each group of faults, with equal results in one row.

    Bold is an unexpected end.
    """
    parts = [introduction]
    for group, title in titles.items():
        in_group = [row for row in found if row["group"] == group]
        if in_group:
            parts.append(f"## {title}\n\n{_table(in_group, damped=group != 'start')}\n")
    return "\n".join(parts)


def _table(found: Sequence[Row], *, damped: bool) -> str:
    head = ["what", "how it ended", *(["damped after, ms"] if damped else [])]
    lines = [_line(head), _line(["---"] * len(head))]
    alike: dict[tuple[str, int], list[Row]] = {}
    for row in found:
        alike.setdefault((_end(row), round((_damped_ms(row) or 0.0) / 100.0)), []).append(row)
    for (end, _), same in alike.items():
        what = "; ".join(row["what"] for row in same)
        lines.append(_line([what, end, *([_damped_after(same)] if damped else [])]))
    return "\n".join(lines)


def _end(row: Row) -> str:
    """Return the result of a fault, without redundant words."""
    ended = row.get("ended", "not tried")
    for words, shorter in _SHORTER.items():
        ended = re.sub(words, shorter, ended)
    return ended if row.get("as_wanted") == "True" else f"**{ended}**"


def _damped_ms(row: Row) -> float | None:
    time_ms = row.get("damped_ms", "None")
    return None if time_ms == "None" else float(time_ms)


def _damped_after(same: Sequence[Row]) -> str:
    times = [time_ms for row in same if (time_ms := _damped_ms(row)) is not None]
    ends = dict.fromkeys(f"{each(times):.0f}" for each in (min, max)) if times else ["-"]
    return " to ".join(ends)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()
