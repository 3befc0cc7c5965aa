#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Make the model of the tests against the real service: `service_model.py FILE VERSION`.

It answers an observation of three values with their sum and the last one.
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_model(file: str, version: str) -> None:
    weights = np.array([[1, 0], [1, 0], [1, 1]], dtype=np.float32)
    inputs = [helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["n", 3])]
    outputs = [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["n", 2])]
    node = helper.make_node("MatMul", ["obs", "weights"], ["action"])
    graph = helper.make_graph(
        [node], "sum", inputs, outputs, [numpy_helper.from_array(weights, "weights")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.model_version = int(version)
    onnx.save(model, file)


if __name__ == "__main__":
    write_model(*sys.argv[1:])
