# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs each job in its own process, so that its memory is freed and its crashes are isolated."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

from model_tools.errors import ToolError
from model_tools.prove.evaluation.pool import LocalPool, NotDone
from policy_core.errors import PolicyError
from policy_inference.processes import environment

Result = TypeVar("Result")
OnProgress = Callable[[float], None]
"""Function called with the completed fraction of the work, 0 to 1."""

_QUIET = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
"""Environment variables that prevent downloads, and LeRobot's progress bars next to ours."""


class Refused(NamedTuple):
    """A job that refused its input, with the text of the error."""

    why: str


def run_apart(
    jobs: Mapping[str, Callable[[OnProgress], Result]],
    *,
    at_once: int,
    needs: str,
    log: Path,
    on_progress: Callable[[float], None] = lambda jobs_done: None,
) -> dict[str, Result | Refused]:
    """Run each job in its own process.

    Args:
        jobs: Module-level functions, or partials of them, by job name. A job that raises an error
            that a user can correct counts as refused.
        at_once: Number of concurrent processes.
        needs: Module to import once on behalf of all processes.
        log: File for the output of the processes.
        on_progress: Called with the number of finished jobs, including fractions of jobs.

    Returns:
        The result of each job, by job name.
    """
    shares, results = dict[str, float](), dict[str, Result | Refused]()

    def progress(named: tuple[str, Callable[[OnProgress], Result]], share: float) -> None:
        shares[named[0]] = share
        on_progress(sum(shares.values()))

    pool = LocalPool[tuple[str, Callable[[OnProgress], Result]], Result | Refused | OSError](
        _tried,
        at_once,
        attempts=1,
        preload=needs,
        log=log,
        on_progress=progress,
    )
    with environment(_QUIET), closing(pool.run(jobs.items())) as done:
        for (name, _), result in done:
            if isinstance(result, NotDone):
                raise ToolError(
                    f"{name}: the job ended without a result: {result.reason}; see its output in "
                    f"{log}; if it ran out of memory, reduce --processes"
                )
            if isinstance(result, OSError):
                raise result
            results[name] = result
    return {name: results[name] for name in jobs}


def _tried(
    named: tuple[str, Callable[[OnProgress], Result]], tell: OnProgress
) -> Result | Refused | OSError:
    try:
        return named[1](tell)
    except PolicyError as error:
        return Refused(str(error))
    except OSError as error:
        return OSError(error.errno or errno.EIO, error.strerror or str(error), error.filename)
