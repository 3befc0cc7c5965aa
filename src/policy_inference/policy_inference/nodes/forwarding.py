# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the ROS-free part of the package logs, in the log of a node."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from policy_inference.nodes.rclpy_gaps import Logger

_SOURCE = logging.getLogger("policy_inference")


class _Forward(logging.Handler):
    """Writes each record with the node's logger."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # rclpy refuses two severities from one line of code.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


@contextmanager
def forwarded_to(logger: Logger) -> Iterator[None]:
    """Let the package's own log come out in a node's: the progress of a build, above all.

    Only while a node is configured: in a tick, a log that blocks would be a late command.
    """
    handler, level = _Forward(logger), _SOURCE.level
    _SOURCE.addHandler(handler)
    _SOURCE.setLevel(logging.INFO)
    try:
        yield
    finally:
        _SOURCE.removeHandler(handler)
        _SOURCE.setLevel(level)
