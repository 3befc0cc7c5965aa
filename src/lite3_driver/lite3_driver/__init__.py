# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The Lite3's own UDP interface on one side, the topics of a robot on the other.

Imports point one way: `wire <- interfaces, figures <- reception, checks, following <- link <-
link_process, host_link <- nodes`. `link` holds the whole state machine, without sockets and without
a clock; `link_process` is the process that owns the sockets, `host_link` the node's side of it.
`wire` imports nothing of this package: the emulator of the motion host reads it, too.
"""
