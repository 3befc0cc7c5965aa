# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A back end in a process of its own: the same answers, and nothing of its troubles is ours."""

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.base import BackendBase
from policy_inference.backends.child import ChildBackend
from policy_inference.backends.native_output import capture_native_output
from policy_inference.backends.shared_arrays import SharedArrays
from policy_inference.testing.process import has_ended, open_descriptors
from testkit.wording import check_wording, refusal

Start = Callable[..., ChildBackend]
HERE = Path(__file__).parent
MODULE = "odd_backends"
limits_s = {"hang": 0.05}


@pytest.fixture
def start_odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Open the odd backend, which shall do this when it is run with 1, in a child."""
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(str(HERE))
    module = __import__(MODULE)
    with ExitStack() as stack:

        def apply(deed: str, **options: str) -> ChildBackend:
            file = tmp_path / "model"
            file.write_text(deed, "utf-8")
            given: Any = {"options": options, "run_timeout_s": limits_s.get(deed, 5.0)}
            backend = ChildBackend(module.Odd, file, [module.OBS], [module.ACTIONS], **given)
            return stack.enter_context(closing(backend))

        yield apply


def run_until_answered(backend: ChildBackend) -> None:
    """Run until the child is no longer behind."""
    for _ in range(200):
        with suppress(BackendError):
            return backend.run()
    raise AssertionError("the child never answered")


@pytest.mark.slow
def test_why_a_child_does_not_open_is_reported_and_no_descriptor_stays(
    start_odd: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(cls: type[BackendBase]) -> str:
        raise BackendError("no Python for it")

    start_odd("work").close()
    before = open_descriptors()
    for deed in ("refuse", "crash", "end"):
        with refusal(BackendError):
            start_odd(deed)
    with refusal(BackendError):
        start_odd("work", fast="yes")
    for interpreter in (missing, lambda cls: "/no/such/python"):
        monkeypatch.setattr("odd_backends.Odd.interpreter", classmethod(interpreter))
        with refusal(BackendError):
            start_odd("work")
    assert not open_descriptors() - before


def test_details_and_errors_of_any_length_arrive(start_odd: Start) -> None:
    backend = start_odd("boast")
    backend.inputs["obs"][:] = 1.0
    with pytest.raises(BackendError) as caught:
        backend.run()
    assert re.fullmatch(r"odd:\s\u00e9+\s\[\.\.\.\]", str(caught.value))
    assert backend.details["runtime"] == "\u00e9" * 20_000


def test_a_child_that_dies_is_known_and_an_error_of_this_run_and_of_every_later_one(
    start_odd: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Relative folders of modules are found from the child's folder.
    here = os.path.relpath(HERE)
    monkeypatch.setattr(sys, "path", [here if path == str(HERE) else path for path in sys.path])
    backend = start_odd("die")
    assert backend.problem() == ""
    backend.inputs["obs"][:] = 1.0
    with refusal(BackendError):
        backend.run()
    has_ended(backend.pid)
    check_wording(backend.problem())
    with refusal(BackendError):
        backend.run()


def test_an_answer_that_comes_too_late_is_dropped_and_the_next_run_is_right(
    start_odd: Start, tmp_path: Path
) -> None:
    goes_on = tmp_path / "goes_on"
    os.mkfifo(goes_on)
    backend = start_odd("hang", trace=str(goes_on))
    backend.inputs["obs"][:] = 1.0
    for _ in range(2):
        with refusal(BackendError):
            backend.run()
    goes_on.write_bytes(b"x")  # returns once the child reads it
    backend.inputs["obs"][:] = 4.0
    run_until_answered(backend)
    np.testing.assert_array_equal(backend.outputs["actions"], [[8.0, 8.0]])
    assert backend.problem() == ""


def test_closing_lets_the_child_release_its_runtime(start_odd: Start, tmp_path: Path) -> None:
    backend = start_odd("work", trace=str(tmp_path / "closed"))
    process = int(backend.details["process"].removeprefix("child "))
    assert process == backend.pid != os.getpid()
    backend.close()
    assert (tmp_path / "closed").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


SPEC = TensorSpec(name="x", shape=(2000,), dtype="float64")


@pytest.fixture
def shared_arrays() -> Iterator[SharedArrays]:
    made = SharedArrays([SPEC])
    yield made
    os.close(made.fd)


def test_the_other_process_cannot_change_the_size(shared_arrays: SharedArrays) -> None:
    """Who reads or writes beyond the end of a file that was cut ends with SIGBUS."""
    for size in (0, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(shared_arrays.fd, size)


@pytest.mark.parametrize(
    ("written", "read"),
    [(b"x" * 20_000, "x" * 4096), (b"\x1b[2J\xff\r\0", "\\x1b[2J\N{REPLACEMENT CHARACTER}\\r")],
)
def test_a_text_is_one_that_a_log_can_show(
    shared_arrays: SharedArrays, written: bytes, read: str
) -> None:
    os.pwrite(shared_arrays.fd, written, 0)
    assert shared_arrays.text == read


def test_output_held_back_by_one_thread_is_not_taken_by_another(
    capfd: pytest.CaptureFixture[str],
) -> None:
    entered, seen = threading.Event(), list[str]()

    def hold() -> None:
        with capture_native_output("one") as said:
            entered.set()
            os.write(2, b"second")
            seen.append(said())

    other = threading.Thread(target=hold)
    with capture_native_output("one") as said:
        other.start()
        os.write(2, b"first")
        assert not entered.wait(0.05)
        seen.append(said())
    other.join()
    assert seen == ["first", "second"]
    os.write(2, b"afterwards")
    assert capfd.readouterr().err == "afterwards"


CRASH = """
import os
from policy_inference.backends.native_output import capture_native_output
os.write(2, b"before ")
with capture_native_output("one") as said:
    os.write(1, b"last ")
    os.write(2, b"words ")
    os.write(2, said().encode())
    os._exit(3)
"""


def test_last_words_of_a_process_whose_output_is_kept_stay_there() -> None:
    with tempfile.TemporaryFile() as kept:
        ended = subprocess.run([sys.executable, "-c", CRASH], stdout=kept, stderr=kept, check=False)
        kept.seek(0)
        assert ended.returncode == 3
        assert kept.read() == b"before last words last words "
