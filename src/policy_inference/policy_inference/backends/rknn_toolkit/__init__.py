# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""RKNN Toolkit2, shared by its simulator and by the compiler, so that both build the same model.

The toolkit lives in a Python of its own: it needs versions of onnx, protobuf and setuptools that
nothing else should. What runs there needs nothing of this suite but this package, and numpy.
"""
