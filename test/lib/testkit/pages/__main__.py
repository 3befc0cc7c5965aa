# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `python -m testkit.pages FOLDER`: the table of all commands that tests of pages ran.

FOLDER holds a file of results for each page, and gets `commands.md` with the table. Prints the
commands that failed, with the end of their output.
"""

import json
import sys
from collections import Counter
from pathlib import Path

_SHOWN_LINES = 8


def main() -> int:
    """Write the table, print its totals; return 1 if a command failed or no page ran."""
    folder = Path(sys.argv[1])
    files = sorted(folder.glob("*.json"))
    if not files:
        sys.stderr.write(f"expected results of pages in {folder}, found none: no page ran\n")
        return 1
    results = [result for path in files for result in json.loads(path.read_text())]
    rows = [
        "| page | line | command | result | s | reason |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        command, detail = (
            result[key].partition("\n")[0].replace("|", "\\|") for key in ("command", "detail")
        )
        rows.append(
            f"| {result['page']} | {result['line']} | `{command}` | {result['result']} | "
            f"{result['duration_s']:.1f} | {detail} |"
        )
    (folder / "commands.md").write_text("\n".join(rows) + "\n", "utf-8")
    for result in results:
        if result["result"] == "failed":
            end = "\n  ".join(result["detail"].strip().splitlines()[-_SHOWN_LINES:])
            sys.stdout.write(f"{result['page']}:{result['line']}: {result['ran']}\n  {end}\n")
    totals = Counter(result["result"] for result in results)
    said = ", ".join(f"{totals[kind]} {kind}" for kind in sorted(totals))
    sys.stdout.write(f"commands of the pages: {len(results)} ({said}); {folder / 'commands.md'}\n")
    return 1 if totals["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
