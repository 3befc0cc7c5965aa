# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Four robots in one request to the service, against four successive requests."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx

from bench.effort import Effort
from bench.figures import Figure, alternated, timed
from bench.processes import BUNDLE, BenchError, copied_bundle
from bench.service import serving
from policy_core.errors import PolicyError
from policy_inference.service.client import PolicyClient, connect
from policy_inference.service.protocol import Hello

_ROBOTS, _BLOCKS, _CALLS = 4, 10, 1000


def measure(effort: Effort) -> list[Figure]:
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
            return [_compare(four, one, effort.count(_BLOCKS))]
        except PolicyError as error:
            raise BenchError(str(error)) from error


def _compare(four: PolicyClient, one: PolicyClient, blocks: int) -> Figure:
    rows = np.zeros((_ROBOTS, one.welcome.obs_dim), np.float32)

    def together() -> None:
        four.infer(rows)

    def apart() -> None:
        for row in rows:
            one.infer(row)

    ours, baseline = timed(_CALLS, together), timed(_CALLS, apart)
    return alternated("service_batch_ratio", ours, baseline, blocks=blocks, wanted=0.5)


def _for_several(folder: Path) -> Path:
    """Copy the bundle, and make the first axis of the model's tensors dynamic."""
    model = onnx.load(BUNDLE / "policy.onnx")
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "robots"
    del model.graph.value_info[:]
    return copied_bundle(folder, {}, model.SerializeToString())
