# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Digest observations, targets, modes, counters and published bytes; compare with the digests.

That proves that a change of structure changes none of them.

    python -m tools.digests --check
    python -m tools.digests --check --recordings ../recordings
    python -m tools.digests --write --only 'walk/'

`--write` and `--check` take a file; without one it is that of the group of cases: what needs
nothing but the checkout, with `--recordings` what needs a folder of recordings, with `--machine`
what ONNX Runtime and MuJoCo compute, which is of one processor alone. Arrays and texts of the last
`--write` are kept in `--keep`; with them `--check` says where two runs differ first.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tools.digests.chunks import execute
from tools.digests.commands import command_line, shipped
from tools.digests.digest import Case, Digest, difference, digest, keep, kept, write
from tools.digests.every_term import every_term
from tools.digests.exchanges import exchange
from tools.digests.recorded import recorded
from tools.digests.ros_robot import prepare_environment
from tools.digests.texts import ROOT
from tools.digests.walk import walk

Run = Callable[[Path], Iterator[tuple[str, Case]]]
"""Gets an empty folder of its own, and gives cases by name."""
_log = logging.getLogger("digests")
_FOLDER = Path(__file__).resolve().parent


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = _parser().parse_args(args)
    group = "recordings" if given.recordings else "machine" if given.machine else "suite"
    own = ROOT / "out" / "digests" if group == "machine" else _FOLDER
    file = Path(given.write or given.check or own / f"{group}.json")
    writes = given.write is not None
    folder = given.keep or ROOT / "out" / "digests" / group
    runs = _runs_of(group, given.recordings)
    chosen = [name for name in runs if re.search(given.only, name)]
    found = dict[str, dict[str, Digest]]()
    known = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    differences = 0
    for name, case in _cases({name: runs[name] for name in chosen}):
        found[name] = {stage: digest(value) for stage, value in case.items()}
        if writes:
            keep(folder, name, case)
        else:
            differences += _report(folder, name, case, known.get(name, {}), found[name])
    others = {name: case for name, case in known.items() if name.partition("/")[0] not in chosen}
    if writes:
        write(file, {**others, **found})
        _log.info("%s: %d cases", file, len(found))
        return 0
    gone = [name for name in known if name not in {**others, **found}]
    for name in gone:
        _log.error("%s: no such case any more", name)
    _log.info("%d cases, %d stages differ", len(found), differences + len(gone))
    return 1 if differences or gone else 0


def _report(
    folder: Path, name: str, case: Case, before: Mapping[str, Digest], found: Mapping[str, Digest]
) -> int:
    """Say which stages of a case differ; return how many do."""
    differ = [stage for stage in {**before, **found} if before.get(stage) != found.get(stage)]
    for stage in differ:
        if stage not in found:
            _log.error("%s: %s: no such stage any more", name, stage)
            continue
        if stage not in before:
            _log.error("%s: %s: new: %s", name, stage, found[stage])
            continue
        earlier = kept(folder, name, stage, case[stage])
        where = "" if earlier is None else f"\n    {difference(earlier, case[stage])}"
        was, now = _figures(before[stage]), _figures(found[stage])
        _log.error("%s: %s:\n    %s\n    %s%s", name, stage, was, now, where)
    return len(differ)


def _figures(known: Digest) -> str:
    return ", ".join(f"{key} {str(value)[:60]}" for key, value in known.items())


def _cases(runs: Mapping[str, Run]) -> Iterator[tuple[str, Case]]:
    """Run all; return the cases of each as `RUN/CASE`."""
    with tempfile.TemporaryDirectory(prefix="digests") as place:
        root = Path(place)
        prepare_environment(root / "home")
        for name, run in runs.items():
            began_s = time.monotonic()
            (root / name).mkdir()
            for case, stages in run(root / name):
                yield f"{name}/{case}", stages
            _log.info("%-24s %5.1f s", name, time.monotonic() - began_s)


def _runs_of(group: str, recordings: Path | None) -> dict[str, Run]:
    """Return the runs of a group by name, the quickest first.

    Args:
        group: `suite`, `recordings` or `machine`.
        recordings: Folder of recordings, of that group.
    """
    if recordings is not None:
        data = recordings.resolve()
        return {"recorded": lambda folder: recorded(folder, data)}
    if group == "machine":
        return {"shipped": shipped}
    return {
        "tools": command_line,
        "service": exchange,
        "every_term": every_term,
        "walk": walk,
        "chunks": execute,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tools.digests",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", nargs="?", const="", metavar="FILE", help="write the digests")
    what.add_argument("--check", nargs="?", const="", metavar="FILE", help="compare with them")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--recordings", type=Path, metavar="FOLDER", help="cases of recordings")
    group.add_argument("--machine", action="store_true", help="cases of this machine alone")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="(default out/digests/GROUP)")
    parser.add_argument("--only", default="", metavar="REGEX", help="runs of this name alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
