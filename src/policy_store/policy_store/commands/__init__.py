# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One module per verb of the command: its arguments and its output.

Modules here import only light modules; `run` imports the heavy ones once its verb has been chosen.
"""
