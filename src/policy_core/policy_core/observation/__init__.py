# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which messages make the observation of a tick, by their times: on robots and from recordings."""
