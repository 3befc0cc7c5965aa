# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Commands, from their arguments to their exit status: those with verbs, and those of nodes."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import NoReturn, Protocol

from policy_inference.errors import PolicyError
from policy_inference.log_pump import flush_log
from policy_inference.private_folder import remove_folders

INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that interrupt a command: Ctrl-C, `kill`, a terminal that closes, Ctrl-\\."""
HANGS_AFTER_S = 5.0
"""After a signal a command ends though a runtime does not come back; after a second at once."""
SIGNALLED = 128
"""Added to a signal's number in the exit status, as shells do."""
_log = logging.getLogger("policy_inference")


class Verb(Protocol):
    """A module that does what one verb says."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments of the verb."""

    def run(self, given: argparse.Namespace) -> int:
        """Do it; return the exit status.

        Raises:
            PolicyError: The user can correct something: where, expected, found, remedy.
            OSError: A file cannot be read or written.
        """


def run_command(
    name: str, description: str | None, verbs: Mapping[str, Verb], args: Sequence[str] | None
) -> int:
    """Run a command.

    Args:
        name: Of the command, and of its logger.
        description: What it is for.
        verbs: By name.
        args: Its arguments; those of the process if None.

    Returns:
        The exit status of the verb; after an error the error's own, after one of the signals
        INTERRUPTING 128 more than its number, such as 130 after SIGINT.

    Raises:
        SystemExit: Help was asked for (0), or the arguments are wrong (2).
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    log, given = logging.getLogger(name), _parsed(name, description, verbs, args)
    with _signals_that_interrupt() as came:
        try:
            return int(given.run(given))
        except (Exception, KeyboardInterrupt) as error:
            # Some libraries make an error of their own out of an interruption.
            if came or isinstance(error, KeyboardInterrupt):
                log.error(
                    "%s %s: interrupted; %s",
                    name,
                    given.verb,
                    getattr(given, "left", "nothing was left half-written"),
                )
                return SIGNALLED + (came or [signal.SIGINT])[0]
            if isinstance(error, PolicyError):
                log.error("%s %s: %s", name, given.verb, error)
                return error.exit_status
            if isinstance(error, OSError):
                log.error("%s %s: %s", name, given.verb, _words(error))
                return 1
            raise


def node_command(module: str) -> Callable[[], None]:
    """Return the entry point of a node's command.

    Importing ROS and a model's runtime takes a second or more, in which a Ctrl-C would be shown as
    a traceback through all of it. Nothing is commanded yet, so the process just ends. Later the
    node has handlers of its own.

    Args:
        module: Has the node and its `main`, and is imported when the command runs.
    """

    def command() -> None:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, lambda *_: os._exit(0))
        unblock_signals()
        # Modules stay: no collection need walk through them, neither now nor later.
        gc.disable()
        main = import_module(module).main
        gc.freeze()
        gc.enable()
        main()

    return command


def unblock_signals() -> None:
    """Let this thread get the signals that interrupt, though the parent process blocked them.

    A process inherits what is blocked, and would never end.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTING)


@contextmanager
def signals_watched(watch: Callable[[socket.socket], None]) -> Iterator[None]:
    """Let a thread see each signal as it comes, and those that the parent process blocked too.

    A handler of Python waits for the main thread to come back from a runtime, which one with a
    model that never ends does not. What the interpreter writes to a descriptor does not wait.

    Args:
        watch: Runs on the thread; the socket gives a byte for each signal, its number, and none
            at the end.
    """
    told, telling = socket.socketpair()
    telling.setblocking(False)
    thread = threading.Thread(target=watch, args=(told,), name="signals", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(telling.fileno(), warn_on_full_buffer=False)
    unblock_signals()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        telling.close()
        thread.join()
        told.close()


@contextmanager
def _signals_that_interrupt() -> Iterator[list[int]]:
    """Let all of them interrupt as SIGINT does, through every `finally`; give those that came."""
    came = list[int]()

    def interrupt(number: int, _: object) -> NoReturn:
        came.append(number)
        raise _Interrupted

    before = {
        number: signal.signal(number, interrupt)
        for number in INTERRUPTING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        with signals_watched(partial(_end_what_hangs, came)):
            yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_what_hangs(came: Sequence[int], told: socket.socket) -> None:
    """End the process where a signal is not handled in time, or a second one comes before."""
    first = 0
    while not came:
        try:
            byte = told.recv(1)
        except TimeoutError:
            byte = bytes([first])
        if not byte:
            return  # the command has ended
        if byte[0] not in INTERRUPTING:
            continue
        if first and not came:
            _log.error("ends without tidying up: the runtime does not come back")
            remove_folders()
            flush_log()
            os._exit(SIGNALLED + first)
        first = byte[0]
        told.settimeout(HANGS_AFTER_S)


class _Interrupted(KeyboardInterrupt):
    """An interruption that leaves the exit status alone.

    Where the plain one passes through `exec` of a text, as of dataclasses in an import, CPython
    remembers it, and ends the process by SIGINT in the end, although it was caught.
    """


def _words(error: OSError) -> str:
    if error.filename is None:
        return f"expected files that can be read and written, found: {error}"
    return f"{error.filename}: expected a path that can be read or written, found: {error.strerror}"


def _parsed(
    name: str, description: str | None, verbs: Mapping[str, Verb], args: Sequence[str] | None
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=name, description=description)
    choices = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, does in verbs.items():
        text = does.__doc__ or ""
        added = choices.add_parser(
            verb,
            help=text.splitlines()[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        does.add_arguments(added)
        added.set_defaults(run=does.run, parser=added)
    given, unknown = parser.parse_known_args(args)
    if unknown:  # under the usage of the verb, where argparse would show that of all verbs
        given.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return given
