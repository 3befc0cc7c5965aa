# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Write the ranges of healthy episodes from `make demo-act` into a bundle, as its `nominal`.

    python -m tools.train_arm.nominal --bundle config/bundles/so101_reach out/demo-act/trace.npz

The bundle that produced the traces must not have had a `nominal`, which would have clipped the
commands.
"""
# run: swap: {config/bundles/so101_reach: my_arm}

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from model_tools.files.contract_text import set_section
from model_tools.make.act.demonstrated import asked_for
from policy_core.bundle.bundle import CONTRACT_FILE
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import PolicyError
from policy_core.interfaces import F64, Mode
from robot_sim.arm_episodes import ArmTrace
from robot_sim.arm_world import JOINTS

_log = logging.getLogger("train_arm")


def healthy(traces: Iterable[ArmTrace]) -> Iterator[tuple[F64, F64]]:
    """Yield commanded and measured positions [ticks, 6], rad, during RUN in successful episodes."""
    for trace in traces:
        for episode in trace.succeeded.nonzero()[0]:
            rows = (trace.episode == episode) & (trace.mode == Mode.RUN)
            yield trace.target[rows], trace.pose[rows, :JOINTS]


def write_nominal(bundle: Path, files: Sequence[Path]) -> int:
    """Write the `nominal`; return the number of episodes on which it is based."""
    contract = load_bundle(bundle, kind=ChunkBundle).contract
    episodes = list(healthy(map(ArmTrace.load, files)))
    nominal = asked_for(
        contract, episodes, f"{len(episodes)} healthy episodes of the policy on the simulated arm"
    )
    if nominal is None:
        raise PolicyError(
            f"{', '.join(map(str, files))}: expected episodes that succeeded, found none"
        )
    file = bundle / CONTRACT_FILE
    file.write_text(
        set_section(
            file.read_text("utf-8"),
            "nominal",
            {
                "source": nominal.source,
                "ticks": nominal.ticks,
                "target_step": nominal.target_step,
                "effort_demand": nominal.effort_demand,
            },
        ),
        "utf-8",
    )
    load_bundle(bundle, kind=ChunkBundle)
    return len(episodes)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("traces", nargs="+", type=Path, metavar="trace.npz")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the policy's bundle")
    given = parser.parse_args(args)
    try:
        count = write_nominal(given.bundle, given.traces)
    except (PolicyError, OSError) as error:
        _log.error("train_arm.nominal: %s", error)
        return 1
    _log.info("%s: nominal of %d episodes", given.bundle, count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
