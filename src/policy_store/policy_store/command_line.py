# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command lines, from arguments to exit status, for commands with verbs and for nodes."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import gc
import json
import logging
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, NoReturn, Protocol, TextIO, TypeVar

from policy_core.errors import PolicyError, did_you_mean, one_line, printable
from policy_store.report import Part, plain
from policy_store.signals import SIGNALLED, signals_interrupt, unblock_signals

DocumentT_co = TypeVar("DocumentT_co", covariant=True)
BUNDLE = "bundle"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult(Generic[DocumentT_co]):
    """The result of a command; `show_result` prints it, as text or as JSON.

    Attributes:
        document: Result for programs: a dataclass or a mapping, with JSON types, paths and enums.
        text: Result for people: lines, and other report parts.
        status: Exit status of the command.
        error: A failure that occurred after the result was available. It is logged after the
            result, and determines the exit status.
    """

    document: DocumentT_co
    text: Sequence[Part] = ()
    status: int = 0
    error: PolicyError | OSError | None = None


class Verb(Protocol):
    """A module that implements a verb of a command; its docstring is the verb's help."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments of the verb.

        A verb that runs until stopped sets the parser default `until_stopped` and has no result.
        """

    def run(self, given: argparse.Namespace) -> CommandResult[Any] | int:
        """Run the verb; return its result, or the exit status if the verb runs until stopped.

        While a verb with a result runs, everything written to standard output, even by a library,
        goes to standard error.
        """


class CommandParser(argparse.ArgumentParser):
    """Argument parser for a command in the suite.

    Options cannot be abbreviated, because an abbreviation may change meaning when an option is
    added. Unknown options are reported before missing ones, since an unknown option is often a
    misspelling of a missing one.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        """Create a parser; arguments are as for `argparse.ArgumentParser`."""
        usual: dict[str, Any] = {
            "allow_abbrev": False,
            "formatter_class": argparse.RawDescriptionHelpFormatter,
        }
        super().__init__(*args, **(usual | options))

    def add_version(self, distribution: str = "") -> None:
        """Declare `--version`.

        Args:
            distribution: pip's name of the package whose version is printed; "" for the package
                that installed the command with this parser's name.
        """
        self.add_argument(
            "--version", action=_Version, nargs=0, const=distribution, help="print the version"
        )

    def parse_args(  # type: ignore[override]  # argparse has overloads of it
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse the arguments; for shell completion, print the possible completions instead."""
        self.complete()
        return super().parse_args(args, namespace)

    def complete(self) -> None:
        """Answer a completion request from the shell (argcomplete), and exit."""
        if "_ARGCOMPLETE" in os.environ:
            from policy_store.completion import complete  # only this needs argcomplete

            complete(self)

    def parse_known_args(  # type: ignore[override]  # argparse has overloads of it
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse like argparse, but exit with status 2 for an unknown option."""
        words = list(sys.argv[1:] if args is None else args)
        known, ends, has_verbs = self._option_string_actions, {"--"}, False
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                has_verbs = True
            elif action.nargs == argparse.REMAINDER:
                ends.update(action.option_strings)
        for word in words:
            # The rest belongs to the verb's parser, even if the verb is misspelled.
            if word in ends or (has_verbs and not word.startswith("-")):
                break
            option = word.partition("=")[0]
            if option.startswith("--") and " " not in option and option not in known:
                self.error(f"unrecognized option {option}{did_you_mean(option, known)}")
        with self._no_place_for_a_named_bundle(words):
            return super().parse_known_args(words, namespace)

    @contextmanager
    def _no_place_for_a_named_bundle(self, words: Sequence[str]) -> Iterator[None]:
        """Remove the positional bundle argument while parsing, if `--bundle` is given.

        Otherwise, the positional argument would be reported as missing, or would consume another
        argument's value.
        """
        options = words[: words.index("--")] if "--" in words else words
        declared = list(self._actions)
        if any(word.partition("=")[0] == "--bundle" for word in options):
            self._actions[:] = [one for one in declared if one.option_strings or one.dest != BUNDLE]
        try:
            yield
        finally:
            self._actions[:] = declared

    def error(self, message: str) -> NoReturn:
        """Report invalid arguments, suggest the closest valid choice, and exit with status 2."""
        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if choice is not None:
            choices = [one.strip(" '") for one in choice[2].split(",")]
            message += did_you_mean(choice[1], choices)
        super().error(message)


def number_within(least: int, most: int) -> Callable[[str], int]:
    """Return a function that parses an integer argument from `least` to `most`."""

    def read(text: str) -> int:
        with suppress(ValueError):
            if least <= (value := int(text)) <= most:
                return value
        raise argparse.ArgumentTypeError(f"expected a number from {least} to {most}, found {text}")

    return read


def seconds(text: str) -> float:
    """Return a time argument as a number, in s; reject negative and non-finite values."""
    with suppress(ValueError):
        if 0.0 <= (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"expected a time of 0 s or more, found {text}")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Print the version, and exit with status 0."""
        from importlib.metadata import entry_points, version

        known = entry_points(group="console_scripts", name=parser.prog)
        names = [self.const or script.dist.name for script in known if script.dist] or [self.const]
        sys.stdout.write(f"{parser.prog} {version(names[0])}\n")
        parser.exit(0)


def add_backend_options(parser: argparse._ActionsContainer) -> None:
    """Declare `--backend-option`, which `backends.registry.parse_options` reads."""
    parser.add_argument(
        "--backend-option",
        action="append",
        default=[],
        metavar="BACKEND.OPTION=VALUE",
        help="option of a back end, such as rknn.core_mask=0_1; may be repeated",
    )


def add_bundle(
    parser: argparse._ActionsContainer,
    help: str,
    *,
    type: Callable[[str], Any] = str,
    **options: Any,
) -> None:
    """Declare a command's bundle argument, positional or as `--bundle`."""
    parser.add_argument(BUNDLE, help=help, type=type, **options)
    parser.add_argument(
        "--bundle",
        type=type,
        default=argparse.SUPPRESS,  # the positional argument takes precedence
        metavar="BUNDLE",
        help="alternative to the positional argument",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document")


def show(text: str, to: TextIO | None = None) -> None:
    """Write a text and a newline to standard output or another stream.

    Control characters are escaped, since a text may contain untrusted names; so are characters that
    the stream's encoding cannot represent.
    """
    stream = to or sys.stdout
    encoding = stream.encoding or "utf-8"
    shown = printable(text).encode(encoding, "backslashreplace").decode(encoding)
    stream.write(f"{shown}\n")
    stream.flush()  # a pipe's reader may wait for the output of a running command


def show_result(result: CommandResult[Any], *, as_json: bool) -> None:
    """Print a result to standard output: its document as JSON, or its text."""
    if as_json:
        show(json.dumps(plain(result.document), indent=2, allow_nan=False))
        return
    for part in result.text:
        if isinstance(part, str):
            show(one_line(part))
        else:
            from policy_store.report_terminal import print_parts

            print_parts([part])


@contextmanager
def _printing_to_stderr() -> Iterator[None]:
    sys.stdout.flush()
    results = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(results, 1)
        os.close(results)


def run_command(
    name: str, description: str | None, verbs: Mapping[str, Verb], args: Sequence[str] | None
) -> int:
    """Parse a command's arguments, run its verb, and print the result.

    Args:
        name: Name of the command and of its logger.
        description: Purpose of the command, for its help.
        verbs: Verbs by name, which may be a group and a verb: `release new`. A group's help lists
            its verbs.
        args: The command's arguments; None for the process's.

    Returns:
        The exit status: that of the verb or its result; after an error, the error's own; after one
        of the INTERRUPTING signals, 128 plus the signal's number, such as 130 after SIGINT.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    log, given = logging.getLogger(name), _parsed(name, description, verbs, args)
    with signals_interrupt() as came:
        try:
            if given.until_stopped:
                return int(given.run(given))
            with _printing_to_stderr():
                result = given.run(given)
            show_result(result, as_json=given.json)
            if result.error is None:
                return int(result.status)
            raise result.error
        except (Exception, KeyboardInterrupt) as error:
            # some libraries turn an interruption into their own error
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
                log.error("%s %s: %s", name, given.verb, describe_error(error))
                return PolicyError.exit_status
            raise


def node_command(module: str, function: str = "main") -> Callable[[], None]:
    """Return the entry point of a node's command: a function that imports and runs the node.

    Importing ROS and a model's runtime takes a second or more, during which Ctrl-C would print a
    long traceback. At that point, nothing has been commanded, so the process just exits. Later, the
    node's own handlers apply.

    Args:
        module: Module of the node, imported when the command runs.
        function: Function of the module that runs the node.
    """

    def command() -> None:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, lambda *_: os._exit(0))
        unblock_signals()
        # Modules live as long as the process: exclude them from garbage collection.
        gc.disable()
        main = getattr(import_module(module), function)
        gc.freeze()
        gc.enable()
        main()

    return command


class _PrintableFormatter(logging.Formatter):
    """Log formatter that escapes control characters in untrusted file names and contents.

    A name or path stays in its line; only errors and the program's own texts have several.
    """

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.args, tuple):
            record = copy.copy(record)  # other handlers format it as well
            record.args = tuple(
                one_line(str(value)) if isinstance(value, str | Path) else value
                for value in record.args or ()
            )
        return printable(super().format(record))


def describe_error(error: OSError) -> str:
    """Return a line for the user: which file cannot be read or written, and why."""
    return one_line(_describe_error(error))


def _describe_error(error: OSError) -> str:
    if error.filename is None:
        return f"expected files that can be read and written, found: {error}"
    if isinstance(error, FileNotFoundError):
        path, there = Path(os.fsdecode(error.filename)), list[str]()
        with suppress(OSError):
            there = [one.name for one in path.parent.iterdir()]
        meant = did_you_mean(path.name, there)
        return f"{error.filename}: expected a file or folder, found nothing{meant}"
    return f"{error.filename}: expected a path that can be read or written, found: {error.strerror}"


def _parsed(
    name: str, description: str | None, verbs: Mapping[str, Verb], args: Sequence[str] | None
) -> argparse.Namespace:
    words = list(sys.argv[1:] if args is None else args)
    if (verb := " ".join(words[:2])) in verbs:  # a verb of two words
        words = [verb, *words[2:]]
    elif words and words[0] not in verbs and (group := _group(words[0], verbs)):
        about = f"The verbs of `{name} {words[0]}`."
        return _parsed(f"{name} {words[0]}", about, group, words[1:])
    parser = CommandParser(prog=name, description=description)
    parser.add_version(name.split()[0].replace("_", "-"))
    choices = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, does in verbs.items():
        text = does.__doc__ or ""
        added = choices.add_parser(
            verb,
            help=text.splitlines()[0],
            description=text,
        )
        if group := _group(verb, verbs):
            more = ", ".join(f"`{name} {verb} {word}`" for word in group)
            added.epilog = f"further verbs: {more}"
        if words[:1] != [verb] and "_ARGCOMPLETE" not in os.environ:
            continue  # declaring the arguments of every verb takes longer than most verbs
        added.set_defaults(run=does.run, parser=added, until_stopped=False)
        does.add_arguments(added)
        if not added.get_default("until_stopped"):
            add_json(added)
    parser.complete()
    given, unknown = parser.parse_known_args(words)
    if unknown:  # below the usage of the verb; argparse would show that of all verbs
        given.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return given


def _group(word: str, verbs: Mapping[str, Verb]) -> dict[str, Verb]:
    """Return the two-word verbs that begin with this word, by their second word."""
    begin = f"{word} "
    return {
        verb.removeprefix(begin): does for verb, does in verbs.items() if verb.startswith(begin)
    }
