# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One module per verb of the command: its arguments, and what it prints.

Modules here import what is light; what is heavy is imported by `run`, when its verb was chosen.
"""
