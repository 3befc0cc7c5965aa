# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How long a model takes for one row on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping

from policy_inference.core.latency import Latency, LatencyWindow
from policy_inference.interfaces import Backend, Tensor

RUNS = 2000


def measure_latency(backend: Backend, inputs: Mapping[str, Tensor], runs: int = RUNS) -> Latency:
    """Time single runs of a model.

    Args:
        backend: Opened backend, warm; its input arrays are overwritten.
        inputs: Rows by model input, of which the first is fed.
        runs: How many.
    """
    for name, values in inputs.items():
        backend.inputs[name][0] = values[0]
    window = LatencyWindow(runs)
    for _ in range(runs):
        start_ns = time.perf_counter_ns()
        backend.run()
        window.add(time.perf_counter_ns() - start_ns)
    return window.summary()
