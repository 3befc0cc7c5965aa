# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Artifacts for remote inference servers: the model to serve, and rows to verify it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime

from model_tools.errors import ToolError
from model_tools.ship.compilers.compiler import CompileOrder, Made
from policy_core.bundle.verified import sha256_file
from policy_core.interfaces import Tensor
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.remote.oip_model import OipModel, write_oip_model

_ROWS, _MOST_ROWS = 8, 64
_TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "int8": 0.2}


class OipCompiler:
    """Makes artifacts for the `oip` back end; serve the model separately."""

    backend, suffix = "oip", ".oip.npz"
    precisions: Mapping[str, bool] = dict.fromkeys(_TOLERANCES, False)
    targets: tuple[str, ...] = ()
    options: Mapping[str, str] = {
        "model": "name of the model on the server, followed by the graph's name if there are "
        "several (default: the name used by `serve --open-inference` and `deploy triton`)",
        "version": "its version on the server (default: the server's choice)",
        "endpoint": "HOST:PORT that robots connect to without the option oip.endpoint",
        "tolerance": "largest difference from the reference, as a share of the largest value of "
        "an output (fp32 0.001, fp16 0.02, int8 0.2)",
    }

    def compile(self, order: CompileOrder) -> Made:
        """Write `order.output`: rows, and the reference model's outputs for them."""
        options, tolerance = order.options, _TOLERANCES[order.precision]
        if text := options.get("tolerance", ""):
            try:
                tolerance = float(text)
            except ValueError:
                tolerance = 0.0
            if not 0.0 < tolerance < 1.0:
                raise ToolError(
                    f"oip: option tolerance: expected a share between 0 and 1, found {text!r}"
                )
        name = options.get("model") or order.served_name
        if "model" in options and order.name != "policy":  # one of several graphs
            name += f"_{order.name}"
        model = OipModel(
            model=name,
            version=options.get("version", ""),
            # In another precision, a different file is served.
            sha256=sha256_file(order.model) if order.precision == "fp32" else "",
            tolerance=tolerance,
            endpoint=options.get("endpoint", ""),
        )
        inputs, outputs = _rows(order)
        count = len(next(iter(inputs.values())))
        write_oip_model(order.output, model, inputs, outputs)
        return Made(
            tool=f"onnxruntime {onnxruntime.__version__}",
            how=f"{count} rows from the reference model; the server's model {model.model} must "
            f"answer them within {tolerance:g} of the largest value",
        )


def _rows(order: CompileOrder) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return input rows and the reference's outputs [rows, *shape]; golden rows if available."""
    reference, rng = OnnxBackend(order.model, order.inputs, order.outputs), np.random.default_rng(1)
    golden = order.golden or {}
    try:
        seen = list[dict[str, Tensor]]()
        for number in range(_MOST_ROWS):
            for name, array in reference.inputs.items():
                known = golden.get(name, ())
                if number < len(known):
                    array[0] = known[number]
                else:
                    array[...] = rng.normal(size=array.shape).astype(array.dtype)
            reference.run()
            tensors = {**reference.inputs, **reference.outputs}
            if all(np.isfinite(array).all() for array in tensors.values()):
                seen.append({name: array.copy() for name, array in tensors.items()})
            if len(seen) == _ROWS:
                break
    finally:
        reference.close()
    if not seen:
        raise ToolError(
            f"{order.model}: expected finite answers to golden or random rows, found none; "
            "`model_tools complete` adds golden rows"
        )
    inputs, outputs = (
        {spec.name: np.stack([row[spec.name] for row in seen]) for spec in specs}
        for specs in (order.inputs, order.outputs)
    )
    return inputs, outputs
