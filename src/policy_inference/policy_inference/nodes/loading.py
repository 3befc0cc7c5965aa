# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`~/load`: open another policy beside the executor, and let it take over between two ticks.

Serves: `~/load` (policy_msgs/LoadBundle).
"""

from __future__ import annotations

import gc
import threading
import time
import traceback
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from policy_msgs.srv import LoadBundle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future

from policy_core.errors import PolicyError, RefusedError
from policy_inference.kinds.opening import OpenedPolicy, OpenRequest
from policy_inference.nodes import qos
from policy_inference.nodes.lifecycle import LifecycleBase
from policy_inference.nodes.tick_observer import Prepared

STOPS = "the node stops"
_CLOSED_WITHIN_S = 1.0
Found = tuple[OpenedPolicy[Any], Prepared[Any]]


class LoadingNode(LifecycleBase):
    """A node whose policy `~/load` replaces."""

    policy: OpenedPolicy[Any]

    @abstractmethod
    def require_rest(self) -> None:
        """Raise RefusedError unless the policy may be replaced now."""

    @abstractmethod
    def open_next(self, request: OpenRequest) -> Found:
        """Open another policy, and prepare its observers; on a thread of its own."""

    @abstractmethod
    def switch_to(
        self, opened: OpenedPolicy[Any], prepared: Prepared[Any]
    ) -> Sequence[Callable[[], object]]:
        """Let another policy take over between two ticks; return what closes the previous one."""

    @abstractmethod
    def switched(self, request: OpenRequest) -> Callable[[], object]:
        """Report on the new policy from now on; return what ends reports on the previous one."""

    @abstractmethod
    def report(self) -> None:
        """Publish the status now."""


class LoadService:
    """Serves `~/load` of a node; opens at most one policy at a time."""

    def __init__(self, node: LoadingNode) -> None:
        """Create the service, which exists as long as the node.

        It is never destroyed before it has answered, and a second request is answered meanwhile.
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
        """True if a thread still opens or closes a model."""
        return self._opens or any(thread.is_alive() for thread in self._closing)

    @property
    def _opens(self) -> bool:
        """True while a policy is being opened, even if its request was cancelled."""
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
        # A refusal does not change the status, and many may arrive at once.
        if response.success:
            self._node.report()
        else:
            logger.error(response.message)
        return response

    async def load(self, bundle: str, done: Callable[[str], None]) -> None:
        """Load another policy without a request; call `done` with the error, or with ""."""
        request = LoadBundle.Request(bundle=bundle)
        response = await self._load(request, LoadBundle.Response())
        done("" if response.success else response.message)

    async def _replaced(self, bundle: str, backend: str) -> OpenedPolicy[Any]:
        node = self._node
        node.require_rest()
        request = node.policy.request.for_bundle(bundle, backend)
        node.get_logger().info(f"load: {bundle}, on {', '.join(request.backends)}")
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
        """Open a policy on a thread of its own.

        Returns:
            A future of the policy, or of the PolicyError with the reason; its awaiting caller owns
                the policy.
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
        """Answer the pending request with a refusal; the policy is closed once it has opened."""
        with self._handing_over:
            if self._future is not None and not self._future.done():
                self._future.set_result(RefusedError(f"load abandoned: {reason}"))

    def _close(self, *closers: Callable[[], object]) -> None:
        """Call these in turn on a thread of its own, which may hang."""

        def close() -> None:
            for each in closers:
                each()

        self._closing = [thread for thread in self._closing if thread.is_alive()]
        thread = threading.Thread(target=close, name="close", daemon=True)
        self._closing.append(thread)
        thread.start()

    def end(self) -> None:
        """Wait briefly for pending closes; what hangs is left behind."""
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
