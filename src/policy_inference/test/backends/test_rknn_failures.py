# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What Rockchip's board runtime says when it fails: each is a cause and a remedy."""

from __future__ import annotations

import pytest

from policy_inference.backends.rknn.failures import explain
from testkit.wording import check_wording

TRACEBACK = 'Traceback (most recent call last):\n  File "rknn_lite.py", line 1, in run\n'


@pytest.mark.parametrize(
    "said",
    [
        "6, 1",
        "Invalid RKNN model version 6",
        "Invalid RKNN format!",
        "parseRKNN: invalid RKNN_MAGIC!",
        "RKNN_ERR_MODEL_INVALID",
        "RKNN_ERR_TARGET_PLATFORM_UNMATCH",
        "RKNN_ERR_DEVICE_UNMATCH",
        "RKNN_ERR_DEVICE_UNAVAILABLE",
        "RKNN_ERR_TIMEOUT",
        "RKNN_ERR_MALLOC_FAIL",
        "RKNN_ERR_INCOMPATILE_OPTIMIZATION_LEVEL_VERSION",
        "RKNN_ERR_KEY_INVALID",
        "RKNN_ERR_DECRYPT_FAILED",
        "RKNN_ERR_FAIL",
        "RKNN_ERR_CTX_INVALID",
        "RKNN_ERR_PARAM_INVALID",
        "RKNN_ERR_INPUT_INVALID",
        "RKNN_ERR_OUTPUT_INVALID",
        "RKNN set core mask failed. error code: RKNN_ERR_PARAM_INVALID",
        "Please download the librknnrt.so from github and move it to directory /usr/lib/",
        "docker run -v /dev/dri/renderD129:/dev/dri/renderD129",
        "!!! It is detected that librknnrt.so is missing in the container.",
        "!!! It is detected that some necessary files are missing in the container.",
        "failed to open rknpu module, need to insmod rknpu dirver!",
        "E RKNN: failed to submit!, op id: 3, op name: Conv",
        "Unsupport inputs[0].dtype: float64",
        "The input[0] need 4dims input, but 2dims input buffer feed.",
        "RKNN Toolkit Lite2 does not support simulator, please specify the target: {}",
        "Something else",
    ],
)
def test_words_become_cause_and_remedy(said: str) -> None:
    check_wording(explain("init_runtime", -1, f"Catch exception!\n{TRACEBACK}Exception: {said}"))
