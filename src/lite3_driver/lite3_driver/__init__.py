# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The Lite3's own UDP interface on one side, the topics of a robot on the other.

`robot_driver` does what every driver does; here is what only a Lite3 has. Imports point one way:
`wire <- figures <- reception, sockets <- robot <- nodes`. `wire` imports nothing of this package:
the emulator of the motion host reads it, too.
"""
