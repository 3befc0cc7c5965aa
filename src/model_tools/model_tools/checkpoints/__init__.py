# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of PyTorch trainings: what they hold, without running what is in them.

The only place of this package that imports torch.
"""
