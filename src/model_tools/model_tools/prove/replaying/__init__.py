# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of the flight recorder: run through the bundle again, and shown."""
