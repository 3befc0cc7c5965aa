# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A back end tested on the machine that it is for: right, fast, steady; one report to send back."""
