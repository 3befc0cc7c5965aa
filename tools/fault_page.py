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

Made by `test/faults/every_fault.py`. A robot behind an emulated motion host
(`lite3_emulator`) walks at 0.5 m/s under `lite3_walk`, through the driver, over UDP and DDS, in
real time; then one fault is injected. *Damped after* is the time from the beginning of the fault
until the emulated host only damps its drives; the host's watchdog is 1 s. Bold marks an unexpected
end. Faults are named as in the emulator's parameter `faults`:
`python -m pydoc robot_sim.lite3_host`, `robot_sim.host_faults`, `robot_sim.faults`.

An emulator is not a robot: [lite3.md](lite3.md#what-is-not-verified).
""",
    "go2": """# Fault injection on an emulated Go2

Made by `test/faults/every_fault.py`. An emulated robot (`unitree_emulator`) walks at
0.5 m/s under `go2_walk`, through the driver, over DDS, in real time; then one fault is injected.
*Damped after* is the time from the beginning of the fault until the emulated robot's computer only
damps its drives. It has no watchdog: the last command stays in effect. Bold marks an unexpected
end. Faults are named as in [unitree_emulator.md](unitree_emulator.md#faults-and-buttons).

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
Row = Mapping[str, str]
"""`group` and `what` of a fault; of one that was tried also `ended`, `as_wanted`, `damped_ms`."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command."""
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
    """Return what each test has recorded, in their order."""
    tests = ElementTree.parse(results).iter("testcase")
    return [{one.attrib["name"]: one.attrib["value"] for one in t.iter("property")} for t in tests]


def page(introduction: str, titles: Mapping[str, str], found: Sequence[Row]) -> str:
    """Return a table in Markdown for each group of faults; bold is an unexpected end."""
    parts = [introduction]
    for group, title in titles.items():
        in_group = [row for row in found if row["group"] == group]
        if in_group:
            parts.append(f"## {title}\n\n{_table(in_group, damped=group != 'start')}\n")
    return "\n".join(parts)


def _table(found: Sequence[Row], *, damped: bool) -> str:
    head = ["what", "how it ended", *(["damped after, ms"] if damped else [])]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in found:
        ended, time_ms = row.get("ended", "not tried"), row.get("damped_ms", "None")
        shown = ended if row.get("as_wanted") == "True" else f"**{ended}**"
        shown_ms = "-" if time_ms == "None" else f"{float(time_ms):.0f}"
        lines.append(_line([row["what"], shown, *([shown_ms] if damped else [])]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()
