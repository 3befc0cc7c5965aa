# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One module per verb of the command: its arguments and its output.

These modules import only light modules at the top; `run` imports the heavy ones, so that only the
chosen verb loads them.
"""
