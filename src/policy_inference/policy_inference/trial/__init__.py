# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A version on trial: what it may do, what ends the trial, and the record of it."""
