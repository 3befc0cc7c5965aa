# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `python3 -m tools.setup [torch|ray|docs]`: set up the workspace, or list missing tools.

`torch` also creates `.venv-torch`, for training; `ray` also creates `.venv-ray`, for evaluations on
a cluster; `docs` also creates `.venv-docs`, for building the documentation.
"""

from __future__ import annotations

import argparse
import logging
import sys

_LAYERS = ("torch", "ray", "docs")
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)

_log = logging.getLogger("setup")


def main() -> int:
    """Set up the workspace around this file; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        _log.error(
            "setup: expected Python 3.10 to 3.13, found %d.%d at %s; use another one with "
            "`make setup PYTHON=python3.12`",
            *sys.version_info[:2],
            sys.executable,
        )
        return 1
    layers = _parse_layers()
    # only now: the modules below use syntax that an older Python cannot parse
    from tools.setup.host import SetupError
    from tools.setup.layer import ensure_layer
    from tools.setup.workspace import ROOT, set_up

    try:
        set_up()
        for layer in layers:
            ensure_layer(ROOT / f".venv-{layer}", ROOT / ".venv", layer)
    except SetupError as error:
        _log.error("setup: %s", error)
        return 1
    return 0


def _parse_layers() -> list[str]:
    parser = argparse.ArgumentParser(prog="python3 -m tools.setup", description=__doc__)
    parser.add_argument(
        "layers", nargs="*", metavar="|".join(_LAYERS), help="environments beside .venv"
    )
    layers: list[str] = parser.parse_args().layers
    if unknown := [layer for layer in layers if layer not in _LAYERS]:
        parser.error(f"expected {' or '.join(_LAYERS)}, found {unknown[0]}")
    return layers


if __name__ == "__main__":
    sys.exit(main())
