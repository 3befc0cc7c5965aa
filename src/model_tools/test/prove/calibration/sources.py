# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of made-up rows."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from model_tools.files.rows import Row
from model_tools.prove.calibration.calibrate import Progress
from policy_core.interfaces import F64, Tensor

PERIOD_S = 0.02


class Made:
    """Rows of arrays; `count` is known unless it is unset."""

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        sensed: Mapping[str, F64] | None = None,
        *,
        known: bool = True,
        begins: Sequence[int] = (0,),
        name: str = "made",
    ) -> None:
        self._tensors, self._sensed, self._begins = tensors, sensed or {}, begins
        self._length = len(next(iter(tensors.values())))
        self.name, self.count = name, self._length if known else None
        self.made = list[int]()

    def rows(self, wanted: Sequence[int] | None) -> Iterator[Row]:
        assert wanted is None or self.count is not None
        for number in range(self._length) if wanted is None else wanted:
            self.made.append(number)
            yield Row(
                number=number,
                time_s=number * PERIOD_S,
                begins=number in self._begins,
                tensors={name: array[number] for name, array in self._tensors.items()},
                sensed={name: array[number] for name, array in self._sensed.items()},
            )


def counting(count: int, **given: object) -> Made:
    return Made({"obs": np.arange(count, dtype=np.float32)[:, np.newaxis]}, **given)  # type: ignore[arg-type]  # of Made


def silent() -> Progress:
    return lambda _seen, _total: None
