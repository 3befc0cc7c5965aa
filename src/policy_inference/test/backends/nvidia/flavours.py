# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which names TensorRT's versions have, as far as a build or a run may need them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """One version.

    Attributes:
        version: Its number.
        explicit_batch: Whether networks need the flag EXPLICIT_BATCH; None where it is gone.
        strongly_typed: Whether the flag STRONGLY_TYPED is there.
        precision_flags: Those of the builder.
        int64: Whether tensors may be int64.
        int8_constants: Whether weights may be stored in int8.
    """

    version: str
    explicit_batch: bool | None
    strongly_typed: bool
    precision_flags: tuple[str, ...]
    int64: bool
    int8_constants: bool


FLAVOURS = {
    "8.6": Flavour(
        version="8.6.2.3",
        explicit_batch=True,
        strongly_typed=False,
        precision_flags=("FP16", "INT8", "FP8"),
        int64=False,
        int8_constants=False,
    ),
    "10.3": Flavour(
        version="10.3.0",
        explicit_batch=False,
        strongly_typed=True,
        precision_flags=("FP16", "INT8", "FP8", "BF16", "INT4"),
        int64=True,
        int8_constants=True,
    ),
    "11.4": Flavour(
        version="11.4.0.106",
        explicit_batch=None,
        strongly_typed=True,
        precision_flags=(),
        int64=True,
        int8_constants=True,
    ),
}
