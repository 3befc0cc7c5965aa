# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A backend in a process of its own: the same answers, and nothing of its troubles is ours."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from policy_inference.backends import child
from policy_inference.backends.child import ChildBackend
from policy_inference.errors import BackendError

Start = Callable[..., ChildBackend]
HERE = Path(__file__).parent
MODULE = "odd_backends"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Open the odd backend, which shall do this when it is run with 1, in a child."""
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(str(HERE))
    module = __import__(MODULE)
    with ExitStack() as stack:

        def apply(deed: str, **options: str) -> ChildBackend:
            file = tmp_path / "model"
            file.write_text(deed, "utf-8")
            backend = ChildBackend(module.Odd, file, [module.OBS], [module.ACTIONS],
                                   options=options)
            return stack.enter_context(closing(backend))

        yield apply


def test_arrays_are_the_child_s_and_options_reach_it(start: Start) -> None:
    backend = start("work", factor="3")
    backend.inputs["obs"][:] = [[2.0, -1.0]]

    backend.run()

    np.testing.assert_array_equal(backend.outputs["actions"], [[6.0, -3.0]])
    assert backend.name == "odd"
    assert backend.details["runtime"] == "odd"
    assert backend.details["process"] == f"child {backend.pid}"
    assert backend.pid != os.getpid()


def test_what_the_child_refuses_is_said_as_it_says_it(start: Start, tmp_path: Path) -> None:
    with pytest.raises(BackendError) as caught:
        start("refuse")

    assert str(caught.value) == f"{tmp_path / 'model'}: no device; plug one in"


def test_a_child_that_crashes_while_opening_is_told_with_its_last_words(start: Start) -> None:
    with pytest.raises(BackendError, match=r"odd: .* ended with status 1 during opening .*; it "
                                           r"said: (.|\n)*MemoryError: a bug"):
        start("crash")


def test_a_run_that_fails_leaves_the_next_one_possible(start: Start) -> None:
    backend = start("fail")
    backend.inputs["obs"][:] = 1.0

    with pytest.raises(BackendError, match="odd: the device was lost"):
        backend.run()
    backend.inputs["obs"][:] = 4.0
    backend.run()

    np.testing.assert_array_equal(backend.outputs["actions"], [[8.0, 8.0]])


def test_a_child_that_dies_is_an_error_of_this_run_and_of_every_later_one(start: Start) -> None:
    backend = start("die")
    backend.inputs["obs"][:] = 1.0

    with pytest.raises(BackendError, match=r"status -9 during a run; it said: segmentation fault"):
        backend.run()
    with pytest.raises(BackendError, match="status -9 during a run"):
        backend.run()


def test_a_child_that_hangs_is_killed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "RUN_TIMEOUT_S", 0.05)
    backend = start("hang")
    backend.inputs["obs"][:] = 1.0

    with pytest.raises(BackendError, match="hung and was killed during a run"):
        backend.run()


def test_closing_lets_the_child_release_its_runtime(start: Start, tmp_path: Path) -> None:
    backend = start("work", trace=str(tmp_path / "closed"))
    process = int(backend.details["process"].removeprefix("child "))

    backend.close()

    assert (tmp_path / "closed").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_an_unknown_option_is_refused_before_a_process_is_started(start: Start) -> None:
    with pytest.raises(BackendError, match="odd: expected options among factor, trace, found fast"):
        start("work", fast="yes")


def test_no_descriptor_stays_open(start: Start) -> None:
    def open_descriptors() -> int:
        gc.collect()  # those of arrays go with the arrays
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_descriptors()
    for deed in ("refuse", "crash"):
        with pytest.raises(BackendError):
            start(deed)

    assert open_descriptors() == before
