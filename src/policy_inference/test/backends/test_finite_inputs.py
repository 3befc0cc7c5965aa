# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Quantised models refuse what their integers would hide; others let it through to the outputs."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from policy_inference.backends.rknn.backend import RknnBackend
from policy_inference.errors import BackendError
from policy_inference.testing.case import ACTIONS, OBS
from policy_inference.testing.models import save_linear

from . import rknnlite_double


@pytest.mark.parametrize("precision", ["w8a8", "w16a16i_dfp"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_quantised_model_names_the_input_that_is_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, value: float
) -> None:
    rknnlite_double.install(monkeypatch=monkeypatch)
    file = rknnlite_double.save_rknn(save_linear(tmp_path / "linear.onnx", 5, 3), precision)

    with closing(RknnBackend(file, [OBS], [ACTIONS], precision=precision)) as backend:
        backend.inputs["obs"][0, 4] = value
        with pytest.raises(BackendError, match=r"^rknn: input obs: expected finite values"):
            backend.run()


def test_model_in_floats_shows_in_its_outputs_that_an_input_is_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rknnlite_double.install(monkeypatch=monkeypatch)
    file = rknnlite_double.save_rknn(save_linear(tmp_path / "linear.onnx", 5, 3))

    with closing(RknnBackend(file, [OBS], [ACTIONS], precision="fp16")) as backend:
        backend.inputs["obs"][0, 4] = np.nan
        backend.run()

        assert np.isnan(backend.outputs["actions"]).all()
