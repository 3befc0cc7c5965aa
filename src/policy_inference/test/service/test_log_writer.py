# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Lines of the log: written in order, counted where nobody reads them, waited for by nobody."""

from __future__ import annotations

import logging
import os

from policy_inference.service.log_writer import LogWriter

LINES = 3000


def logger(fd: int, most: int) -> tuple[logging.Logger, LogWriter]:
    log, writer = logging.Logger("alone"), LogWriter(fd, most)
    log.addHandler(writer)
    return log, writer


def test_lines_are_written_in_their_order() -> None:
    reading, writing = os.pipe()
    log, writer = logger(writing, LINES)
    for number in range(100):
        log.warning("line %d", number)
    writer.flush()

    assert os.read(reading, 10_000).decode().split("\n") == [
        *[f"line {number}" for number in range(100)], ""]


def test_lines_that_nobody_reads_are_counted_and_the_reader_is_told() -> None:
    reading, writing = os.pipe()
    log, writer = logger(writing, 10)
    for _ in range(LINES):  # far more than a pipe takes
        log.warning("x" * 100)
    writer.flush()  # waits for nobody either

    read, lost = 0, 0
    with os.fdopen(reading) as lines:
        while read + lost < LINES:
            line = lines.readline()
            if line.startswith("x"):
                read += 1
            else:
                lost += int(line.split()[0])
                assert line.endswith(" lines are lost: the log was not read\n")
    assert read + lost == LINES
    assert lost


def test_an_end_that_is_closed_harms_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    log, writer = logger(writing, 10)
    log.warning("for nobody")
    writer.flush()
