# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What only ONNX Runtime's files can be."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from policy_core.bundle.contract import Artifact, Integers
from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.machine.machine import Severity
from policy_inference.testing.models import save, save_linear
from testkit.wording import check_wording, refusal

from ..machine_tree import machine

OBS = TensorSpec(name="obs", shape=(1, 4))
ACTIONS = TensorSpec(name="actions", shape=(1, 4))

_OPENED = """
import sys
from pathlib import Path
from policy_inference.backends.onnx import OnnxBackend
from policy_core.interfaces import TensorSpec
obs, actions = (TensorSpec(name=name, shape=(1, 4)) for name in ("obs", "actions"))
OnnxBackend(Path(sys.argv[1]), [obs], [actions]).run()
"""


@pytest.mark.parametrize("asked", ["", "0"])
def test_nothing_is_kept_for_the_maker_of_the_runtime_unless_that_is_asked_for(
    asked: str, tmp_path: Path
) -> None:
    file, home = save_linear(tmp_path / "linear.onnx", 4, 4), tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    del environment["ORT_DISABLE_TELEMETRY"]
    if asked:
        environment["ORT_DISABLE_TELEMETRY"] = asked
    code = f"{_OPENED}import os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    said = subprocess.check_output([sys.executable, "-c", code, file], env=environment, text=True)
    assert said.strip() == (asked or "1")
    assert asked or not [*home.rglob("*")]


DOUBLE = {"obs": "float64", "actions": "float64"}
UNFIT: dict[str, tuple[Any, tuple[int | str, ...], dict[str, str]]] = {
    "other size": (("Concat", ["obs", "obs"]), ("batch", "size"), {}),
    "other type": (("Identity", ["obs"]), (1, 4), DOUBLE),
    "unknown operator": (("Walk", ["obs"]), (1, 4), {}),
}
"""Operator and its inputs, shape of the output, types."""


@pytest.mark.parametrize("unfit", UNFIT)
def test_model_that_does_not_fit_is_refused_when_opening(tmp_path: Path, unfit: str) -> None:
    (kind, inputs), actions, dtypes = UNFIT[unfit]
    axis: dict[str, Any] = {"axis": 1} if kind == "Concat" else {}
    node = helper.make_node(kind, inputs, ["actions"], **axis)
    file = save(tmp_path / "m.onnx", [node], {"obs": (1, 4)}, {"actions": actions}, dtypes=dtypes)
    with refusal(BackendError):
        OnnxBackend(file, [OBS], [ACTIONS])


def test_weights_in_a_second_file_are_refused_because_no_hash_covers_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the runtime would find it
    file = save_linear(tmp_path / "linear.onnx", 4, 4)
    onnx.save(onnx.load(file), file, save_as_external_data=True, size_threshold=0, location="data")
    assert (tmp_path / "data").exists()
    with refusal(BackendError) as caught:
        OnnxBackend(file, [OBS], [ACTIONS])
    # The command of the message does merge them.
    python, *rest = shlex.split(str(caught.value).partition("them: ")[2].partition(" ;")[0])
    assert python == "python3"
    subprocess.run([sys.executable, *rest], check=True)
    OnnxBackend(Path(rest[-1]), [OBS], [ACTIONS]).close()


@pytest.mark.parametrize(
    ("flags", "precision", "integers", "warned"),
    [
        ("fma avx2", "int8", None, True),
        ("fma avx2", "int8", "unsigned", False),
        ("fma avx2", "fp32", None, False),
        ("fma avx2 avx_vnni", "int8", None, False),
        (None, "int8", None, False),
    ],
    ids=str,
)
def test_signed_integers_are_warned_of_on_a_processor_where_their_sums_saturate(
    tmp_path: Path, flags: str | None, precision: str, integers: Integers | None, warned: bool
) -> None:
    artifact = Artifact(file="p.onnx", sha256="0" * 64, precision=precision, integers=integers)
    text = "CPU part\t: 0xd0b\n" if flags is None else f"processor\t: 0\nflags\t\t: {flags}\n"
    there = machine(tmp_path, {"/proc/cpuinfo": text})
    found = [one for one in OnnxBackend.examine(there, artifact) if one.name == "int8"]
    assert [one.severity for one in found] == [Severity.WARNING] * warned
    if warned:
        check_wording(f"{found[0].found}; {found[0].remedy}")
