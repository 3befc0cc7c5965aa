# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What runs in the Python of RKNN Toolkit2, which finds this folder first when it imports.

So no module here has the name of a package, as `compilers.onnx` has.
"""
