# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Lets everything go wrong for an emulated Lite3: `python -m tools.lite3_faults --help`."""
