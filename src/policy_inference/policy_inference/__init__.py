# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a policy bundle on a robot: safe joint commands at a fixed rate on any accelerator.

Imports point one way: ``{errors, interfaces} <- bundle <- {core, backends} <- nodes``.
"""

import os

# Since 1.31, ONNX Runtime records its usage in a database in the user's home and sends it to its
# vendor from a separate thread. A robot sends nothing unless its owner wants it to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
