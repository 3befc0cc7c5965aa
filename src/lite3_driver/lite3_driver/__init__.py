# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The Lite3's own UDP interface on one side, the topics of a robot on the other.

Imports point one way: `wire, figures <- checks <- link <- (the process that owns the socket) <-
nodes`. `wire` imports nothing of this package: the emulator of the motion host reads it, too.
"""
