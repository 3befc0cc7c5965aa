# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How RKNN Toolkit2 fails, and what is made of its words; no toolkit is needed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from policy_inference.backends.rknn_toolkit.build import ToolkitError, build, call
from policy_inference.backends.rknn_toolkit.diagnosis import explain
from policy_inference.backends.rknn_toolkit.recipe import Recipe

RECIPE = Recipe(target="rk3588", precision="fp16", inputs=(), outputs=())


# A table: the step, what the toolkit says, what the sentence expects, and its remedy.
# fmt: off
WORDS = [
    ("import", "ModuleNotFoundError: No module named 'rknn'", "Toolkit2 in this", "setup-rknn"),
    ("import", "No module named 'pkg_resources'", "setuptools older than 81", "setup-rknn"),
    ("load_onnx", "AttributeError: module 'onnx' has no attribute 'mapping'", "onnx up to 1.18",
     "setup-rknn"),
    ("build", "'FieldDescriptor' object has no attribute 'label'", "protobuf older", "setup-rknn"),
    ("config", "ValueError: The quantized_dtype = 'w8a16' not support in 'rk3588'!",
     "a precision that this chip has", "choose one"),
    ("config", "ValueError: Invalid quantized_dtype 'foo', expect in ['w8a8']!",
     "settings that this version", "setup-rknn"),
    ("config", "ValueError: Invalid target_platform 'rk9999'", "a chip that the toolkit knows",
     "the robot's chip"),
    ("config", " 'foo' is not support! Maybe you mean 'stream_op'?", "settings that this version",
     "setup-rknn"),
    ("config", "ValueError: The quantized_algorithm = 'gdq' only support in ['w4a16']!",
     "an algorithm that", "normal"),
    ("load_onnx", "ValueError: Unsupport onnx opset 20, need <= 19!", "an opset up to 19",
     "--opset 17"),
    ("load_onnx", "ValueError: The input shape ['N', 45] of 'obs' is not support!\n  Please set",
     "fixed sizes, batch 1", "without dynamic axes"),
    ("load_onnx", "google.protobuf.message.DecodeError: Error parsing message", "an ONNX model",
     "again"),
    ("load_onnx", "KeyError: 'obs'", "a model that RKNN Toolkit2 loads", "simplify it"),
    ("build", "InvalidGraph: In Node, Error No opset import for domain 'my.custom'", "operators",
     "without custom operators"),
    ("build", "ValueError: The input shape (1, 44) is wrong, expect [1, 45]!", "samples with the",
     "rows of this policy"),
    ("build", "ValueError: The input num: 0 in dse.txt not match input num: 1 in model !",
     "samples with the", "rows of this policy"),
    ("build", "ValueError: cannot convert float NaN to integer", "finite samples", "leave out"),
    ("build", "build: If set do_quantization = True, dataset file need be provided.",
     "samples to calibrate with", "--rows"),
    ("build", "build: Current target_platform(rv1106) not support do_quantization = False!",
     "a quantised precision", "w8a8"),
    ("build", "ValueError: something else", "builds in this precision", "more samples"),
    ("export_rknn", "OSError: [Errno 28] No space left on device", "room", "TMPDIR"),
    ("inference", "inference: Unsupport inputs[0].dtype: float64", "inputs in float32", "cast"),
    ("config", "Please set it according to the actual platform!", "settings that", "setup-rknn"),
    ("load_onnx", "ValueError: Model file nope.onnx not exists!", "the model's file",
     "compile the bundle again"),
    ("load_onnx", "ValueError: Please call rknn.config first!", "steps one after another",
     "report this"),
    ("build", "The model has not been loaded, please load it first!", "steps one after another",
     "report this"),
    ("inference", "The runtime has not been initialized, please call init_runtime first!",
     "steps one after another", "report this"),
    ("build", "Dataset file nope.txt not found!", "samples to calibrate with", "--rows"),
    ("build", "FileNotFoundError: [Errno 2] No such file or directory: '/tmp/x/zzz.npy'",
     "samples to calibrate with", "--rows"),
    ("export_rknn", "FileNotFoundError: [Errno 2] No such file or directory: 'x/made.rknn'",
     "a folder for temporary files", "TMPDIR"),
    ("init_runtime", "RKNN model that loaded by 'load_rknn' not support inference on the "
     "simulator, please set 'target' first!", "a model that the simulator builds", "rknn_sim"),
    ("init_runtime", "ValueError: Get board target failed: no devices/emulators found",
     "what the simulator can do", "on the board"),
    ("eval_perf", "Not support in simulator environment", "what the simulator can", "on the board"),
    ("inference", "ValueError: The input shape (2, 45) is wrong, expect [1, 45]!",
     "the sizes of the inputs", "this policy"),
    ("accuracy_analysis", "something else", "to work", "log"),
]
# fmt: on


@pytest.mark.parametrize(("stage", "text", "expected", "remedy"), WORDS)
def test_words_of_the_toolkit_become_a_sentence(
    stage: str, text: str, expected: str, remedy: str
) -> None:
    sentence = explain(stage, "Traceback (most recent call last):\n  File x, line 1\n" + text)

    assert sentence.startswith("expected ")
    before, _, after = sentence.partition(f", found in {stage}: ")
    assert expected in before
    assert remedy in after
    assert "Traceback" not in sentence


class Toolkit:
    """`rknn.api.RKNN`, of which one step fails as the toolkit's steps do."""

    failing, how = "", ""
    called: ClassVar[list[str]] = []

    def __init__(self, verbose: bool) -> None:
        self.called.clear()

    def __getattr__(self, step: str) -> Callable[..., int | None]:
        def call(**given: object) -> int | None:
            self.called.append(step)
            if step != self.failing:
                return 0
            if self.how == "raises":
                raise ValueError("Traceback (most recent call last):\n  a line\nKeyError: 'obs'")
            logging.getLogger("rknnLogger").error("\x1b[31mE load_onnx: KeyError: 'obs'\x1b[0m")
            return -1 if self.how == "gives -1" else None

        return call


@pytest.mark.parametrize(
    ("failing", "done"),
    [
        ("config", ["config"]),
        ("load_onnx", ["config", "load_onnx"]),
        ("build", ["config", "load_onnx", "build"]),
    ],
)
@pytest.mark.parametrize("how", ["raises", "gives -1"])
def test_nothing_is_done_after_the_first_step_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, done: list[str], how: str
) -> None:
    """What the toolkit says of later steps is not the cause."""
    monkeypatch.setattr(Toolkit, "failing", failing)
    monkeypatch.setattr(Toolkit, "how", how)
    monkeypatch.setitem(sys.modules, "rknn", ModuleType("rknn"))
    monkeypatch.setitem(sys.modules, "rknn.api", api := ModuleType("rknn.api"))
    vars(api)["RKNN"] = Toolkit

    with pytest.raises(ToolkitError, match="KeyError: 'obs'") as caught:
        build(tmp_path, RECIPE)

    assert caught.value.stage == failing
    assert Toolkit.called == [*done, "release"]


def test_an_inference_without_a_result_is_reported_in_the_toolkits_words() -> None:
    log = logging.getLogger("rknnLogger")

    def inference() -> None:
        log.error("Unsupport inputs[0].dtype: float64")

    with pytest.raises(ToolkitError, match=r"inference: Unsupport inputs\[0\].dtype: float64"):
        call(inference, "inference")
