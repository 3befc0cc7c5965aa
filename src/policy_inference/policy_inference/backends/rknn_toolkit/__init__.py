# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""RKNN Toolkit2, shared by its simulator and the compiler, so that both build the same model.

The toolkit has a Python of its own, because it needs special versions of onnx, protobuf and
setuptools. Code that runs there needs only numpy and this package of the suite.
"""
