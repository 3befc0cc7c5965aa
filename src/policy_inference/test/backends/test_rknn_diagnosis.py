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
from testkit.wording import check_wording, refusal

RECIPE = Recipe(target="rk3588", precision="fp16", inputs=(), outputs=())


WORDS = [
    # The step, and what the toolkit says.
    ("import", "ModuleNotFoundError: No module named 'rknn'"),
    ("import", "No module named 'pkg_resources'"),
    ("load_onnx", "AttributeError: module 'onnx' has no attribute 'mapping'"),
    ("build", "'FieldDescriptor' object has no attribute 'label'"),
    ("config", "ValueError: The quantized_dtype = 'w8a16' not support in 'rk3588'!"),
    ("config", "ValueError: Invalid quantized_dtype 'foo', expect in ['w8a8']!"),
    ("config", "ValueError: Invalid target_platform 'rk9999'"),
    ("config", " 'foo' is not support! Maybe you mean 'stream_op'?"),
    ("config", "ValueError: The quantized_algorithm = 'gdq' only support in ['w4a16']!"),
    ("load_onnx", "ValueError: Unsupport onnx opset 20, need <= 19!"),
    ("load_onnx", "ValueError: The input shape ['N', 45] of 'obs' is not support!\n  Please set"),
    ("load_onnx", "google.protobuf.message.DecodeError: Error parsing message"),
    ("load_onnx", "KeyError: 'obs'"),
    ("build", "InvalidGraph: In Node, Error No opset import for domain 'my.custom'"),
    ("build", "ValueError: The input shape (1, 44) is wrong, expect [1, 45]!"),
    ("build", "ValueError: The input num: 0 in dse.txt not match input num: 1 in model !"),
    ("build", "ValueError: cannot convert float NaN to integer"),
    ("build", "build: If set do_quantization = True, dataset file need be provided."),
    ("build", "build: Current target_platform(rv1106) not support do_quantization = False!"),
    ("build", "ValueError: something else"),
    ("export_rknn", "OSError: [Errno 28] No space left on device"),
    ("inference", "inference: Unsupport inputs[0].dtype: float64"),
    ("config", "Please set it according to the actual platform!"),
    ("load_onnx", "ValueError: Model file nope.onnx not exists!"),
    ("load_onnx", "ValueError: Please call rknn.config first!"),
    ("build", "The model has not been loaded, please load it first!"),
    ("inference", "The runtime has not been initialized, please call init_runtime first!"),
    ("build", "Dataset file nope.txt not found!"),
    ("build", "FileNotFoundError: [Errno 2] No such file or directory: '/tmp/x/zzz.npy'"),
    ("export_rknn", "FileNotFoundError: [Errno 2] No such file or directory: 'x/made.rknn'"),
    (
        "init_runtime",
        "RKNN model that loaded by 'load_rknn' not support inference on the simulator, please set "
        "'target' first!",
    ),
    ("init_runtime", "ValueError: Get board target failed: no devices/emulators found"),
    ("eval_perf", "Not support in simulator environment"),
    ("inference", "ValueError: The input shape (2, 45) is wrong, expect [1, 45]!"),
    ("accuracy_analysis", "something else"),
]


@pytest.mark.parametrize(("stage", "text"), WORDS)
def test_words_of_the_toolkit_become_a_sentence(stage: str, text: str) -> None:
    trace = "Traceback (most recent call last):\n  File x, line 1\n"
    check_wording(explain(stage, f"{trace}{text}"))


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
    with refusal(ToolkitError) as caught:
        build(tmp_path, RECIPE)
    assert caught.value.stage == failing
    assert Toolkit.called == [*done, "release"]


def test_an_inference_without_a_result_is_reported_in_the_toolkits_words() -> None:
    log = logging.getLogger("rknnLogger")

    def inference() -> None:
        log.error("Unsupport inputs[0].dtype: float64")

    with refusal(ToolkitError):
        call(inference, "inference")
