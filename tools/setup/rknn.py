# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `python3 -m tools.setup.rknn`: RKNN Toolkit2 in its own environment, `.venv-rknn`.

The toolkit needs versions of onnx, protobuf and setuptools that no other package should use.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from tools.arguments import refuse_arguments
from tools.setup import stamp
from tools.setup.apart import FOR_CPU, make_apart, require_python
from tools.setup.environment import FOLDER, known_lock
from tools.setup.host import SetupError
from tools.setup.workspace import ROOT

VENV = ".venv-rknn"
PYTHONS = ((3, 10), (3, 11), (3, 12))
"""Python versions with wheels of the toolkit, except for 3.8."""
_OURS = ".made-by-setup-rknn"

_log = logging.getLogger(__name__)


def ensure_toolkit(venv: Path, version: tuple[int, int]) -> None:
    """Create or refresh the environment.

    Args:
        venv: Folder of the environment.
        version: Version of this Python.
    """
    python = require_python(
        version, PYTHONS, "RKNN Toolkit2", "make setup-rknn RKNN_PYTHON=python3.12"
    )
    lock = known_lock("rknn", python)
    base_python = Path(sys.executable).resolve()
    key = stamp.digest([lock, FOR_CPU, *FOLDER.glob("*.py")], extra=f"{base_python}{version}")
    if stamp.matches(venv, key):
        return
    _log.info("setup: making %s with RKNN Toolkit2 (1.5 GB, a minute on first use)", venv)
    make_apart(venv, _OURS, python, lock)
    stamp.write(venv, key)


def main() -> int:
    """Set up the environment in this file's checkout; return the exit status."""
    refuse_arguments("tools.setup.rknn", __doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        ensure_toolkit(ROOT / VENV, sys.version_info[:2])
    except SetupError as error:
        _log.error("setup: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
