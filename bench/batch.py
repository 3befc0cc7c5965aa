# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Four robots in one request to the service, against four requests one after another."""

import hashlib
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import yaml

from bench.figures import Figure, alternated, timed
from bench.processes import BUNDLE, BenchError
from bench.service import serving
from policy_core.errors import PolicyError
from policy_inference.service.client import PolicyClient, connect
from policy_inference.service.protocol import Hello

_ROBOTS, _BLOCKS, _CALLS = 4, 10, 1000


def measure() -> list[Figure]:
    """Measure each side over its own connection."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        path = folder / "service.sock"
        opened.enter_context(
            serving(
                path,
                "--framed-socket",
                str(path),
                "--batch",
                str(_ROBOTS),
                bundle=_for_several(folder / "bundle"),
            )
        )
        try:
            four, one = (
                opened.enter_context(connect(str(path), Hello(rows=rows))) for rows in (_ROBOTS, 1)
            )
            return [_compare(four, one)]
        except PolicyError as error:
            raise BenchError(str(error)) from error


def _compare(four: PolicyClient, one: PolicyClient) -> Figure:
    rows = np.zeros((_ROBOTS, one.welcome.obs_dim), np.float32)

    def together() -> None:
        four.infer(rows)

    def apart() -> None:
        for row in rows:
            one.infer(row)

    ours, baseline = timed(_CALLS, together), timed(_CALLS, apart)
    return alternated("service_batch_ratio", ours, baseline, blocks=_BLOCKS, wanted=0.5)


def _for_several(folder: Path) -> Path:
    """Copy the bundle, and open the first axis of the model's tensors."""
    shutil.copytree(BUNDLE, folder)
    file, contract_file = folder / "policy.onnx", folder / "policy.yaml"
    model = onnx.load(file)
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "robots"
    del model.graph.value_info[:]
    onnx.save(model, file)
    contract = yaml.safe_load(contract_file.read_text("utf-8"))
    contract["model"]["artifacts"]["onnx"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    contract_file.write_text(yaml.safe_dump(contract, sort_keys=False), "utf-8")
    return folder
