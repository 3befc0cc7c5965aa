# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Answers observations with actions over sockets, for control stacks without ROS.

    policy_inference serve --bundle lite3_walk --socket /run/user/1000/policy.sock

--socket and --tcp speak the raw protocol: the observation as float32 in, the action as float32
out. --framed-socket and --framed-tcp speak one that names errors and refuses clients that were
built for another policy. Without any of them it is a framed socket, policy.sock in the runtime
directory. docs/service_protocol.md has the formats. It ends with Ctrl-C or SIGTERM, status 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    policy = parser.add_argument_group("policy")
    policy.add_argument("--bundle", required=True,
                        help="folder of a bundle, or the name of an installed one")
    policy.add_argument("--public-key", default="", metavar="FILE",
                        help="key that must have signed the bundle")
    policy.add_argument("--backend", default="onnx", metavar="A,B",
                        help="what runs the model, or several, of which the first that opens does "
                        "(default onnx)")
    policy.add_argument("--backend-option", action="append", default=[],
                        metavar="BACKEND.OPTION=VALUE",
                        help="option of a back end, such as rknn.core_mask=0_1; may be repeated")

    places = parser.add_argument_group("endpoints")
    places.add_argument("--socket", type=Path, metavar="PATH", help="Unix socket, raw protocol")
    places.add_argument("--tcp", type=_place, metavar="HOST:PORT", help="TCP, raw protocol")
    places.add_argument("--framed-socket", type=Path, metavar="PATH",
                        help="Unix socket, framed protocol")
    places.add_argument("--framed-tcp", type=_place, metavar="HOST:PORT",
                        help="TCP, framed protocol")
    places.add_argument("--socket-group", default="", metavar="GROUP",
                        help="group whose members may connect to the Unix sockets (default: that "
                        "of this process)")
    places.add_argument("--clients", type=_count, default=64, metavar="N",
                        help="most clients at once, of all endpoints (default 64)")
    places.add_argument("--spin-us", type=_spin, default=0, metavar="N",
                        help="look so long for the next request through shared memory before "
                        "sleeping: quicker answers, for a core that is busy (default 0)")
    places.add_argument("--insecure-tcp", action="store_true",
                        help="let --tcp be reached from other machines: no encryption, anybody "
                        "may ask")

    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning",
                        "error"], help="least that is logged (default info)")


def run(given: argparse.Namespace) -> int:
    """Do it; return the exit status."""
    # Not before signals are handled: this takes a while.
    from policy_inference.commands.serving import serve

    return serve(given)


def _place(text: str) -> tuple[str, int]:
    """Read HOST:PORT, of which an IPv6 address stands in brackets."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in bare) != (bare != host) or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, such as 127.0.0.1:5555 or "
                                         f"[::1]:5555, found {text!r}")
    return bare, int(port)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 4096:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 4096, found {text!r}")
    return int(text)


def _spin(text: str) -> int:
    if not text.isdecimal() or int(text) > 1_000_000:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1000000, found {text!r}")
    return int(text)
