# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Location of the Python with RKNN Toolkit2."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from policy_core.errors import BackendError

VARIABLE = "RKNN_TOOLKIT_PYTHON"


def toolkit_python() -> str:
    """Return the toolkit's Python: from the environment variable, or at the default location.

    Raises:
        BackendError: The Python does not exist.
    """
    named = os.environ.get(VARIABLE)
    # Next to the environment of the workspace, where `make setup-rknn` puts it.
    python = Path(named) if named else Path(sys.prefix).with_name(".venv-rknn") / "bin/python"
    if not os.access(python, os.X_OK) or python.is_dir():
        remedy = (
            f"correct {VARIABLE}"
            if named
            else (
                "run `make setup-rknn` in the checkout, or set "
                f"{VARIABLE} to the Python of an environment with rknn-toolkit2"
            )
        )
        raise BackendError(
            f"{python}: expected a Python with RKNN Toolkit2, found no Python that starts; {remedy}"
        )
    return str(python)
