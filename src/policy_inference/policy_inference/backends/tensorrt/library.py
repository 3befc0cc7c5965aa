# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The `tensorrt` package, and a logger that collects the reasons for failures."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

from policy_core.errors import BackendError

INSTALL = (
    "install it: on a Jetson `sudo apt install python3-libnvinfer` and a Python environment "
    "that sees system packages (python3 -m venv --system-site-packages), elsewhere "
    "`pip install tensorrt`"
)
_log = logging.getLogger("policy_inference")
_KEPT = 4
"""Number of errors that a message quotes, since the cause is often not the last error."""


def load_tensorrt() -> Any:
    """Import the `tensorrt` package.

    Raises:
        BackendError: The package or its libraries are missing.
    """
    try:
        import tensorrt
    except ModuleNotFoundError as error:
        raise BackendError(f"tensorrt: {error}; {INSTALL}") from error
    except (ImportError, OSError) as error:
        raise BackendError(
            f"tensorrt: the Python package is installed, but not its libraries: {error}; install "
            "the libraries of the same version (on a Jetson `sudo apt install tensorrt`), or name "
            "their folder in LD_LIBRARY_PATH"
        ) from error
    return tensorrt


class TensorRtLog:
    """Keeps TensorRT's messages; warnings also go to our log.

    Attributes:
        logger: The `tensorrt.ILogger` to pass to TensorRT.
    """

    def __init__(self, trt: Any) -> None:
        self._errors: deque[str] = deque(maxlen=_KEPT)
        self._warnings: deque[str] = deque(maxlen=_KEPT)
        known, errors, warnings = trt.ILogger.Severity, self._errors, self._warnings
        serious = (known.ERROR, known.INTERNAL_ERROR)
        levels = {known.WARNING: logging.WARNING}

        class TensorRtLogger(trt.ILogger):  # type: ignore[misc]  # carries no types
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                if severity in serious:
                    errors.append(msg.strip())
                    _log.debug("TensorRT: %s", msg)
                    return
                if severity == known.WARNING:
                    warnings.append(msg.strip())
                _log.log(levels.get(severity, logging.DEBUG), "TensorRT: %s", msg)

        self.logger = TensorRtLogger()

    def forget(self) -> None:
        self._errors.clear()
        self._warnings.clear()

    def reasons(self) -> str:
        """Return TensorRT's last errors, worded to complete a message.

        If there are no errors, return the warnings, since TensorRT 8.6 reports a missing driver
        only as a warning.
        """
        said = self._errors or self._warnings
        return f"; TensorRT says: {' | '.join(said)}" if said else ""

    def made(self, make: Callable[..., Any], *args: Any) -> Any:
        """Create a TensorRT Builder, Runtime or OnnxParser with `make`.

        Raises:
            BackendError: The library returned no object, which its Python package reports as a
                TypeError.
        """
        self.forget()
        try:
            return make(*args, self.logger)
        except TypeError as error:
            raise BackendError(
                f"tensorrt: the library does not start ({error}), as happens without a working "
                "CUDA driver; check that another CUDA program runs, and that a container has the "
                f"NVIDIA runtime{self.reasons()}"
            ) from error


@cache
def trt_log(trt: Any) -> TensorRtLog:
    """Return this process's logger; TensorRT uses the first logger for all its objects.

    This also registers TensorRT's own plugins, without which the parser and plans lack some
    operators, such as InstanceNormalization (onnx/onnx-tensorrt#597).
    """
    said = TensorRtLog(trt)
    if not trt.init_libnvinfer_plugins(said.logger, ""):
        _log.warning("TensorRT's own plugins do not load%s", said.reasons())
    return said
