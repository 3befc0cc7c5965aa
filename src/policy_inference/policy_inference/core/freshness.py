# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How old each input is, and why it may not be used."""

from __future__ import annotations

_AGREEMENT_NS = (-50_000_000, 500_000_000)
RESTART_NS = 1_000_000_000


class Input:
    """Age of one input.

    The age is the larger of the time since the last new message on the steady clock and, where
    the sender's clock agrees with ours, the age of its header. Clocks agree if the first header
    is between 50 ms in the future and 500 ms old; a stream that starts over is judged anew. A
    repeated or earlier stamp is not new, unless it is earlier by more than 1 s: then the
    sender's clock began anew.
    """

    def __init__(self, name: str, timeout_ns: int | None) -> None:
        """Begin without a message; `timeout_ns` None never makes the input stale."""
        self.name = name
        self.timeout_ns = timeout_ns
        self.reset()

    def reset(self) -> None:
        """Forget what came."""
        self.problem = ""
        self.clocks_agree: bool | None = None
        self._born_ns: int | None = None
        self._stamp_ns: int | None = None

    def is_new(self, stamp_ns: int | None) -> bool:
        """Return whether a message with this header stamp (None: no header) is a new one."""
        if stamp_ns is None or self._stamp_ns is None or stamp_ns > self._stamp_ns:
            return True
        return stamp_ns < self._stamp_ns - RESTART_NS

    def accept(self, now_ns: int, stamp_ns: int | None = None, ros_now_ns: int = 0) -> None:
        """Note a new, usable message.

        Args:
            now_ns: Steady clock.
            stamp_ns: Header stamp, None for messages without one.
            ros_now_ns: The clock that the stamp should agree with.
        """
        self.problem = ""
        self._born_ns = now_ns
        if stamp_ns is None:
            return
        if self._stamp_ns is not None and stamp_ns < self._stamp_ns:
            self.clocks_agree = None
        self._stamp_ns = stamp_ns
        header_age_ns = ros_now_ns - stamp_ns
        if self.clocks_agree is None:
            self.clocks_agree = _AGREEMENT_NS[0] <= header_age_ns <= _AGREEMENT_NS[1]
        if self.clocks_agree:
            self._born_ns = now_ns - max(0, header_age_ns)

    def reject(self, problem: str) -> None:
        """Note a message that cannot be used; the age goes on growing."""
        self.problem = problem

    def continue_from(self, before: Input) -> None:
        """Take over what came to the same input of another controller; the time-out stays."""
        self.problem, self.clocks_agree = before.problem, before.clocks_agree
        self._born_ns, self._stamp_ns = before._born_ns, before._stamp_ns

    def age_ns(self, now_ns: int) -> int | None:
        """Return the age, None before the first usable message."""
        return None if self._born_ns is None else now_ns - self._born_ns

    def is_stale(self, now_ns: int) -> bool:
        """Return whether the input is too old to act on."""
        if self.timeout_ns is None:
            return False
        return self._born_ns is None or now_ns - self._born_ns > self.timeout_ns

    def describe(self, now_ns: int) -> str:
        """Say what is wrong in a few words."""
        age_ns = self.age_ns(now_ns)
        age = "no message" if age_ns is None else f"{age_ns * 1e-6:.0f} ms old"
        return f"{self.name}: {age}" + (f" ({self.problem})" if self.problem else "")
