# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Completes a contract of `config/bundles` to a whole bundle: weights, golden vectors, nominal.

    python -m tools.complete_bundle --contract config/bundles/lite3_deeprobotics \
        --weights policy.onnx --output bundles/lite3_deeprobotics

Golden vectors and nominal values come from a rollout on the simulated robot.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.contract_text import set_section
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.load import (
    CONTRACT_FILE,
    Bundle,
    file_entry,
    load_bundle,
    read_contract,
    sha256_of,
)
from policy_inference.errors import PolicyError
from policy_inference.interfaces import Tensor
from robot_sim.errors import SimError
from tools.nominal import Rollout, measure_nominal, roll_out, without_nominal

GOLDEN_FILE, GOLDEN_ROWS, GOLDEN_TOLERANCE = "golden.npz", 256, 1e-5
LARGEST_ALTERED_SHARE = 1e-3
_log = logging.getLogger("complete_bundle")


def complete_bundle(
    contract: Path, weights: Path, output: Path, golden: Path | None = None, *, force: bool = False
) -> Bundle:
    """Make a whole bundle; where something fails, what was at `output` is still there.

    Args:
        contract: Folder with the `policy.yaml`; what else is in it is copied too.
        weights: The reference model (ONNX), which must have the contract's hash.
        output: Folder of the bundle; may be `contract` itself.
        golden: Golden vectors to check and take; made from the rollout if absent.
        force: Whether an `output` that exists may be replaced.

    Returns:
        The bundle in its place.

    Raises:
        PolicyError: Something does not fit: contract, weights, golden vectors, robot; or the
            output exists, or the guard would alter a healthy walk.
    """
    if output.exists() and not force:
        raise PolicyError(f"{output}: expected no such folder yet, found one; --force replaces it")
    if output.exists() and not (output / CONTRACT_FILE).is_file():
        raise PolicyError(f"{output}: expected a bundle to replace, found something else, which "
                          "--force does not touch")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as scratch:
        made = Path(scratch, output.name)
        _take_over(contract, weights, made)
        _measure(made, golden)
        _check(load_bundle(made))
        if output.exists():
            output.rename(Path(scratch, "replaced"))
        made.rename(output)
    return load_bundle(output)


def _take_over(contract: Path, weights: Path, made: Path) -> None:
    """Copy contract and weights into the new folder."""
    entry = read_contract(contract / CONTRACT_FILE).model.artifacts.get("onnx")
    if entry is None:
        raise PolicyError(f"{contract / CONTRACT_FILE}: model.artifacts: expected onnx, found none")
    found = sha256_of(weights) if weights.is_file() else "no such file"
    if found != entry.sha256:
        source = f"; get it from {entry.url}" if entry.url else ""
        raise PolicyError(f"{weights}: expected sha256 {entry.sha256}, found {found}{source}")
    # Contents only: a file that is read-only where it comes from need not be so here.
    shutil.copytree(contract, made, copy_function=shutil.copyfile)
    (made / entry.file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, made / entry.file)


def _measure(made: Path, golden: Path | None) -> None:
    """Write golden vectors and nominal values into the new folder."""
    bundle = without_nominal(load_bundle(made))
    rollouts = roll_out(bundle)
    if golden is not None:
        shutil.copyfile(golden, made / GOLDEN_FILE)
    else:
        _write_golden(made / GOLDEN_FILE, rollouts[0])
    nominal = measure_nominal(bundle.contract, rollouts)
    file = made / CONTRACT_FILE
    text = file.read_text(encoding="utf-8")
    entry = file_entry(made / GOLDEN_FILE, made)
    text = set_section(text, "model.golden", dataclasses.asdict(entry))
    text = set_section(text, "nominal", _plain(dataclasses.asdict(nominal)))
    file.write_text(text, encoding="utf-8")
    _log.info("%s: nominal of %d ticks in RUN", bundle.contract.name, nominal.ticks)


def _write_golden(file: Path, rollout: Rollout) -> None:
    rows = np.linspace(0, rollout.ticks - 1, GOLDEN_ROWS).astype(int)
    with file.open("wb") as stream:
        arrays = {name: recorded[rows] for name, recorded in rollout.tensors.items()}
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def _check(bundle: Bundle) -> None:
    """Raise unless the golden vectors are the model's and the guard leaves a healthy walk alone."""
    error = _golden_error(bundle)
    if not error <= GOLDEN_TOLERANCE:
        raise PolicyError(f"golden vectors: expected the model's outputs within "
                          f"{GOLDEN_TOLERANCE}, found a difference of {error:.3g}")
    rollouts = roll_out(bundle)
    altered, ticks = (sum(counts) for counts in zip(
        *((rollout.altered_ticks, rollout.ticks) for rollout in rollouts), strict=True))
    share = altered / ticks
    if share > LARGEST_ALTERED_SHARE:
        raise PolicyError(f"guard: expected at most {LARGEST_ALTERED_SHARE:.1%} of the ticks of a "
                          f"healthy walk altered, found {share:.2%}")
    _log.info("golden vectors within %.1e; the guard alters %d of %d ticks", error,
              altered, ticks)  # fmt: skip


def _golden_error(bundle: Bundle) -> float:
    """Return the largest |output - golden output|."""
    golden, worst = bundle.golden(), 0.0
    backend, _ = open_backend(bundle, ["onnx"])
    try:
        for row in range(len(golden[bundle.contract.action.output])):
            for name, array in backend.inputs.items():
                array[0] = golden[name][row]
            backend.run()
            worst = max(worst, *(_distance(array[0], golden[name][row])
                                 for name, array in backend.outputs.items()))  # fmt: skip
    finally:
        backend.close()
    return worst


def _distance(found: Tensor, expected: Tensor) -> float:
    return float(np.abs(np.subtract(found, expected, dtype=np.float64)).max())


def _plain(value: Any) -> Any:
    """Turn tuples into lists, which YAML writes without tags."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (tuple, list)) else value


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="complete_bundle", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contract", type=Path, required=True, help="folder with the policy.yaml")
    parser.add_argument("--weights", type=Path, required=True, help="the reference model, ONNX")
    parser.add_argument("--golden", type=Path, help="golden vectors to take instead of new ones")
    parser.add_argument("--output", type=Path, required=True, help="folder of the new bundle")
    parser.add_argument("--force", action="store_true", help="replace an output that exists")
    given = parser.parse_args(args)
    try:
        bundle = complete_bundle(
            given.contract, given.weights, given.output, given.golden, force=given.force
        )
    except (PolicyError, SimError, OSError, ValueError) as error:
        _log.error("complete_bundle: %s", error)
        return 1
    _log.info("%s", bundle.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
