# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""RKNN Toolkit2, shared by its simulator and the compiler, so that both build the same model.

The toolkit has its own Python, because it needs specific versions of onnx, protobuf and setuptools.
Code that runs in it needs only NumPy and this package from the suite.
"""
