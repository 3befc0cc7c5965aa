# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a vendor's library prints is held back while a model is opened."""

import os
import subprocess
import sys
import tempfile
import threading

import pytest

from policy_inference.backends.native_output import capture_native_output


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
