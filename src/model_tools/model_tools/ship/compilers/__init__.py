# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One module per compiler, each registered as an entry point of `model_tools.compilers`."""
