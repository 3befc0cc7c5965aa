# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of the fast parts, each compared with a stated baseline. Run as `python -m bench`."""
