# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a policy bundle on a robot: safe joint commands at a fixed rate on any accelerator.

Imports point one way: ``{errors, interfaces} <- bundle <- {core, backends} <- nodes``.
"""

import os

# From 1.31 on, ONNX Runtime keeps a database of how it is used in the user's home and sends it to
# its maker, from a thread of its own. A robot sends nothing unless its owner asks for it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
