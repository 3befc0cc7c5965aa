# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What only ROS knows to speak against following a command: the e-stop, and a second sender."""

import threading

from lite3_driver.host_link import HostLink
from lite3_driver.interfaces import Command

_PRESSED = "the e-stop was pressed: ~/reset releases it"


class Gate:
    """Hands commands to the link while nothing speaks against it; all methods from any thread.

    While anything does the robot is braked, and no command passes, so that none can end that.
    """

    def __init__(self) -> None:
        """Begin with the e-stop released, and without a link."""
        self._lock = threading.Lock()
        self._link: HostLink | None = None
        self._pressed = False
        self._senders = ""

    @property
    def reasons(self) -> list[str]:
        """What speaks against following, or taking control; a sentence each."""
        return [reason for reason in (_PRESSED if self._pressed else "", self._senders) if reason]

    def connect(self, link: HostLink | None) -> None:
        """Hand on to this link from now on, to nobody if None; an e-stop stays as it is."""
        with self._lock:
            self._link, self._senders = link, ""

    def press(self) -> None:
        """Press the e-stop."""
        with self._lock:
            self._pressed = True
            self._damp("")

    def release(self) -> None:
        """Release the e-stop."""
        with self._lock:
            if self._pressed:
                self._pressed = False
                self._damp("the e-stop was released")

    def see_senders(self, problem: str) -> None:
        """Take what is wrong with the senders of commands, nothing if there is one at most."""
        with self._lock:
            if problem or self._senders:
                self._senders = problem
                self._damp("the other publisher on joint_command is gone")

    def follow(self, command: Command) -> None:
        """Hand on a command."""
        with self._lock:
            if self._link is not None and not self.reasons:
                self._link.follow(command)

    def take(self) -> bool:
        """Ask for control; return whether that was possible, as of HostLink.take."""
        with self._lock:
            return self._link is not None and self._link.take(self.reasons)

    def _damp(self, otherwise: str) -> None:
        """Brake, because of all the reasons that there are; of what is over if there is none."""
        if self._link is not None:
            self._link.damp("; ".join(self.reasons) or otherwise)
