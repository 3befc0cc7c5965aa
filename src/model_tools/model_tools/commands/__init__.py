# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One module per verb of the command: the verb's arguments and output.

Modules here import only light packages; `run` imports heavy ones once its verb has been chosen.
"""
