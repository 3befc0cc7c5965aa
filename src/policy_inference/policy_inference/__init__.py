# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a policy bundle on a robot: safe joint commands at a fixed rate on any accelerator.

Imports point one way: ``{errors, interfaces} <- bundle <- {core, backends} <- nodes``.
"""
