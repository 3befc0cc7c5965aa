# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A servo bus on a pseudo terminal: to a driver, the serial port of a real one."""

import os
import select
import termios
import threading
import time
import tty
from contextlib import suppress
from pathlib import Path
from typing import Final

from robot_sim.errors import SimError
from robot_sim.servo_bus import ServoBus

_RATES: Final = {
    getattr(termios, f"B{rate}"): rate
    for rate in (9600, 38400, 57600, 115200, 500000, 1000000, 2000000, 3000000, 4000000)
}
_PACKET_S: Final = 0.02
"""A packet that is not complete by then never will be."""
_MOST_BYTES: Final = 4096


class ServoPort:
    """Answers on a thread of its own, until it is closed.

    Attributes:
        name: Of the terminal, which a driver opens.
    """

    def __init__(self, bus: ServoBus, link: Path | None = None) -> None:
        """Open a terminal.

        Args:
            bus: Answers.
            link: A path that leads to it, replaced where it is such a link already.
        """
        self._bus, self._link = bus, link
        self._host, self._device = os.openpty()
        tty.setraw(self._device)
        self.name = os.ttyname(self._device)
        self._end, self._ends = os.pipe()
        try:
            if link is not None:
                _lead(link, self.name)
        except SimError:
            self._close()
            raise
        self._thread = threading.Thread(target=self._run, name="servo port", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the terminal vanish, as a cable that is pulled."""
        os.write(self._ends, b"e")
        self._thread.join()
        if self._link is not None:
            with suppress(OSError):
                self._link.unlink()
        self._close()

    def _close(self) -> None:
        for descriptor in (self._host, self._device, self._end, self._ends):
            os.close(descriptor)

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._host, self._end], [], [], _PACKET_S)
            if self._end in ready:
                return
            if not ready:
                self._bus.wire.forget()
                continue
            data = os.read(self._host, _MOST_BYTES)
            for delay_s, answer in self._bus.exchange(data, self._rate()):
                if delay_s:
                    time.sleep(delay_s)
                os.write(self._host, answer)

    def _rate(self) -> int:
        """Return the rate that the driver has set, bit/s; 0: none that is known."""
        return _RATES.get(termios.tcgetattr(self._device)[5], 0)


def _lead(link: Path, name: str) -> None:
    try:
        if link.is_symlink():
            link.unlink()
        link.symlink_to(name)
    except OSError as error:
        raise SimError(
            f"port: expected a path where a link to the servo bus can be made, got {link} "
            f"({error.strerror}); choose another one"
        ) from None
