# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Opens a node's requested policy, logging the progress, and serves `~/load`.

`~/load` opens another policy outside the executor, and lets it take over between two ticks.

Serves: `~/load` (policy_msgs/LoadBundle).
"""

from __future__ import annotations

import gc
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from policy_msgs.srv import LoadBundle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future

from policy_core.bundle.load import load_bundle, trusted_keys
from policy_core.bundle.store import TRIALS_FILE, find_revocation, named_folder
from policy_core.errors import PolicyError, RefusedError, one_line
from policy_core.guard.limits import limits_in_force
from policy_inference.kinds.opening import B, OpenedPolicy, OpenRequest, PolicyKind, open_bundle
from policy_inference.nodes import qos
from policy_inference.nodes.rclpy_gaps import Logger
from policy_inference.nodes.tick_observer import Prepared

if TYPE_CHECKING:
    from policy_inference.nodes.policy_node import PolicyNode
    from policy_store.trial_record import VersionTrial

_SOURCE = logging.getLogger("policy_inference")


def open_policy(
    kind: PolicyKind[B], request: OpenRequest, clock: Callable[[], int], logger: Logger
) -> OpenedPolicy[B]:
    """Open the requested policy, logging the progress.

    Args:
        kind: Kind of policy that the node runs.
        request: The request.
        clock: The controller's clock.
        logger: Logger for the progress.
    """
    request = on_trial(request, logger)
    bundle = load_asked(kind, request)
    limits = limits_in_force(bundle.contract, request.limits)
    with forwarded_to(logger):
        return narrowed(open_bundle(kind, request, request.own_options, bundle, limits, clock))


def has_trials(bundle: str) -> bool:
    """Return True if an installed bundle has a trial record, or if the record is unreadable.

    Args:
        bundle: Requested bundle; a path has no trial.
    """
    folder = named_folder(bundle)
    if folder is None:
        return False
    try:
        (folder / TRIALS_FILE).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def on_trial(request: OpenRequest, logger: Logger) -> OpenRequest:
    """Return the request with the trial of its version, if there is one.

    An interrupted trial counts as failed: the failure is recorded, and the previous version is
    loaded.
    """
    if not has_trials(request.bundle):
        return request
    from policy_store.trial_record import THIS_PROCESS, TrialState, trial_of_bundle

    trial = trial_of_bundle(request.bundle)
    if trial is None:
        return request
    if trial.runner == THIS_PROCESS:
        raise RefusedError(
            f"{trial.file}: expected the end of the last run of {trial}, found only its beginning; "
            "repeat the request when the record has been written"
        )
    if trial.state is TrialState.FAILED:
        logger.warning(f"{trial} failed its trial: {trial.reason}")
        if not trial.is_recorded:
            _record_cut(trial, logger)
    return replace(request, trial=trial) if trial.nodes_take_it else request


def _record_cut(trial: VersionTrial, logger: Logger) -> None:
    from policy_store.trial_record import TrialEvent

    try:
        trial.append(TrialEvent.CUT, reason=trial.reason)
    except OSError as error:  # without this event, readers also count it as interrupted
        logger.error(f"{trial.file}: expected a file that this user can write, found: {error}")


def narrowed(opened: OpenedPolicy[B]) -> OpenedPolicy[B]:
    trial = opened.request.trial
    if trial is not None and trial.settings.command_range is not None:
        opened.controller.command.narrow(trial.settings.command_range)
    return opened


def load_asked(kind: PolicyKind[B], request: OpenRequest, sha256: str | None = None) -> B:
    """Load the requested bundle, and check that it may run.

    Args:
        kind: Kind of policy that the node runs.
        request: The request.
        sha256: Required hash of the contract, if known.
    """
    keys = trusted_keys(request.public_key)
    if request.trial is not None:
        sha256 = request.trial.bundle_sha256
    bundle = load_bundle(request.source, keys, kind=kind.bundle, sha256=sha256)
    if revoked := find_revocation(bundle):
        raise RefusedError(revoked)
    return bundle


class _Forward(logging.Handler):
    """Writes each log record with the node's logger."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # rclpy does not accept two severities from one line of code.
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
    """Forward the package's own log to a node's log, for example the progress of a build.

    Use this only while a node is being configured: in a tick, blocking log output would delay a
    command.
    """
    handler, level = _Forward(logger), _SOURCE.level
    _SOURCE.addHandler(handler)
    _SOURCE.setLevel(logging.INFO)
    try:
        yield
    finally:
        _SOURCE.removeHandler(handler)
        _SOURCE.setLevel(level)


STOPS = "the node is stopping"
_CLOSED_WITHIN_S = 1.0
Found = tuple[OpenedPolicy[Any], Prepared[Any]]


class LoadService:
    """Serves a node's `~/load`; opens at most one policy at a time."""

    def __init__(self, node: PolicyNode) -> None:
        """Create the service, which exists as long as the node does.

        The service is thus never destroyed while an answer is pending, and it answers further
        requests in the meantime.
        """
        self._node = node
        self._thread: threading.Thread | None = None
        self._future: Any = None
        self._closing = list[threading.Thread]()
        # Either the requester gets the opened policy, or it is closed again.
        self._handing_over = threading.Lock()
        node.create_service(
            LoadBundle,
            "~/load",
            self._load,
            qos_profile=qos.REQUESTS,
            callback_group=ReentrantCallbackGroup(),
        )

    @property
    def left_behind(self) -> bool:
        """True if a thread is still opening or closing a model."""
        return self._opens or any(thread.is_alive() for thread in self._closing)

    @property
    def _opens(self) -> bool:
        """True while a policy is being opened, even if its request was canceled."""
        return self._thread is not None and self._thread.is_alive()

    async def _load(
        self, request: LoadBundle.Request, response: LoadBundle.Response
    ) -> LoadBundle.Response:
        logger = self._node.get_logger()
        with self._node.owing_answer():
            try:
                response.message = str(await self._replaced(request.bundle, request.backend))
                response.success = True
            except PolicyError as error:
                response.message = str(error)
            except Exception as error:  # noqa: BLE001  it would end the executor
                logger.error(traceback.format_exc())
                response.message = f"load failed: {type(error).__name__}: {error}"
        # A refusal does not change the status, and many requests may arrive simultaneously.
        if response.success:
            self._node.report()
        else:
            logger.error(response.message)
        return response

    async def load(self, bundle: str, done: Callable[[str], None]) -> None:
        """Load a policy without a service request; call `done` with the error, or "" on success."""
        request = LoadBundle.Request(bundle=bundle)
        response = await self._load(request, LoadBundle.Response())
        done("" if response.success else response.message)

    async def _replaced(self, bundle: str, backend: str) -> OpenedPolicy[Any]:
        node = self._node
        node.require_rest()
        request = node.policy.request.for_bundle(bundle, backend)
        node.get_logger().info(f"load: {one_line(bundle)}, on {', '.join(request.backends)}")
        opening = self._begin(request)
        if not node.running:  # another thread may have stopped the node just before
            self.abandon(STOPS)
        found: Found | PolicyError = await opening
        if isinstance(found, PolicyError):
            raise found
        opened, prepared = found
        try:
            node.require_rest()
            closers = node.switch_to(opened, prepared)
        except BaseException:
            self._close(opened.close)
            raise
        # A runtime that hangs on closing must not hang the node.
        self._close(node.switched(request), *closers)
        # Garbage of the previous policy, since little is collected between ticks; the robot rests.
        gc.collect()
        return opened

    def _begin(self, request: OpenRequest) -> Future:
        """Open a policy on its own thread.

        Returns:
            A future for the policy, or for the PolicyError with the reason; the caller that awaits
                it owns the policy.
        """
        if self._opens:
            raise RefusedError("load refused: another load has not ended yet; wait for its answer")
        self._future = Future(executor=self._node.executor)
        # This wakes the executor.
        self._future.add_done_callback(lambda _: None)
        self._thread = threading.Thread(
            target=self._open, args=(request, self._future), name="load", daemon=True
        )
        self._thread.start()
        return self._future

    def abandon(self, reason: str) -> None:
        """Answer the pending request with a refusal; close the policy once it has opened."""
        with self._handing_over:
            if self._future is not None and not self._future.done():
                self._future.set_result(RefusedError(f"load abandoned: {reason}"))

    def _close(self, *closers: Callable[[], object]) -> None:
        """Call these functions in order on a separate thread, which may hang."""

        def close() -> None:
            for each in closers:
                each()

        self._closing = [thread for thread in self._closing if thread.is_alive()]
        thread = threading.Thread(target=close, name="close", daemon=True)
        self._closing.append(thread)
        thread.start()

    def end(self) -> None:
        """Wait briefly for policies that are being closed; abandon threads that hang."""
        ends_s = time.monotonic() + _CLOSED_WITHIN_S
        for thread in self._closing:
            thread.join(max(0.0, ends_s - time.monotonic()))

    def _open(self, request: OpenRequest, future: Any) -> None:
        found: Found | PolicyError
        try:
            found = self._node.open_next(request)
        except PolicyError as error:
            found = error
        except BaseException as error:  # noqa: BLE001  a bundle's fault or ours: the old one runs
            self._node.get_logger().error(traceback.format_exc())
            found = RefusedError(
                f"load failed: {type(error).__name__}: {error}; the log has the traceback"
            )
        with self._handing_over:
            wanted = not future.done()
            if wanted:
                future.set_result(found)
        if not wanted and not isinstance(found, PolicyError):
            found[0].close()
