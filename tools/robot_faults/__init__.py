# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Emulated robots behind their drivers, and the faults that they can have."""
