# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What Rockchip's board runtime says when it fails: each is a cause and a remedy."""

from __future__ import annotations

import pytest

from policy_inference.backends.rknn.failures import explain

TRACEBACK = 'Traceback (most recent call last):\n  File "rknn_lite.py", line 1, in run\n'


@pytest.mark.parametrize(
    ("said", "cause", "remedy"),
    [
        ("6, 1", "a librknnrt.so that is older than the model", "install the librknnrt.so"),
        ("Invalid RKNN format!", "a model that the library refuses", "copy the model again"),
        ("RKNN_ERR_MODEL_INVALID", "a model that the library refuses", "copy the model again"),
        (
            "RKNN_ERR_DEVICE_UNMATCH",
            "a librknnrt.so that does not fit the kernel's rknpu driver",
            "update both",
        ),
        (
            "RKNN_ERR_INCOMPATILE_OPTIMIZATION_LEVEL_VERSION",
            "a model that was made for another",
            "compile it again",
        ),
        ("RKNN_ERR_KEY_INVALID", "an encrypted model", "without encryption"),
        ("RKNN_ERR_CTX_INVALID", "a context that is gone", "open the model again"),
        ("RKNN_ERR_PARAM_INVALID", "tensors that the library refuses", "compile the bundle again"),
        ("RKNN_ERR_INPUT_INVALID", "tensors that the library refuses", "compile the bundle again"),
        ("RKNN_ERR_OUTPUT_INVALID", "tensors that the library refuses", "compile the bundle again"),
        (
            "RKNN set core mask failed. error code: RKNN_ERR_PARAM_INVALID",
            "a choice of cores",
            "leave out the option core_mask",
        ),
        (
            "!!! It is detected that librknnrt.so is missing in the container.",
            "a container without the NPU's",
            "start it with -v /dev/dri",
        ),
        (
            "!!! It is detected that some necessary files are missing in the container.",
            "a container without the NPU's",
            "start it with -v /dev/dri",
        ),
        (
            "E RKNN: failed to submit!, op id: 3, op name: Conv",
            "an NPU that does not answer",
            "fewer models",
        ),
        ("Unsupport inputs[0].dtype: float64", "tensors that the library refuses", "compile"),
        ("The input[0] need 4dims input, but 2dims input buffer feed.", "tensors that", "compile"),
        (
            "RKNN Toolkit Lite2 does not support simulator, please specify the target: {}",
            "a machine without an NPU",
            "rknn_sim",
        ),
    ],
)
def test_words_become_cause_and_remedy(said: str, cause: str, remedy: str) -> None:
    sentence = explain("init_runtime", -1, f"Catch exception!\n{TRACEBACK}Exception: {said}")

    assert sentence.startswith(cause)
    before, _, after = sentence.partition(": init_runtime gave -1, and it said: ")
    assert before
    assert after.startswith(f"Catch exception! | Exception: {said}; ")
    assert remedy in after


def test_an_unknown_failure_is_reported_as_it_is() -> None:
    assert explain("inference", None, "Something else") == (
        "inference gave None, and it said: Something else; look at what the runtime printed, and "
        "at `dmesg`"
    )


@pytest.mark.parametrize(
    "harmless",
    [
        "W RKNN: query RKNN_QUERY_INPUT_DYNAMIC_RANGE error, rknn model is static shape type",
        "Query dynamic range failed. Ret code: RKNN_ERR_MODEL_INVALID. (If it is a static shape "
        "RKNN model, please ignore the above warning message.)",
        "W RKNN: Current driver version: 0.8.2, recommend to upgrade the driver to: >= 0.8.8",
    ],
)
def test_what_the_library_always_says_is_no_cause(harmless: str) -> None:
    sentence = explain("init_runtime", -1, f"{harmless}\nRKNN_ERR_MALLOC_FAIL\n{harmless}")

    assert sentence.startswith(
        "not enough memory for the NPU: init_runtime gave -1, and it said: RKNN_ERR_MALLOC_FAIL; "
    )


def test_the_last_words_are_without_information() -> None:
    said = "E RKNN: the reason\n" + "I RKNN: Runtime Information\n" * 9

    assert "it said: E RKNN: the reason; " in explain("init_runtime", -1, said)
