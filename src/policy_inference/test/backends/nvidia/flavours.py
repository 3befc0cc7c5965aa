# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which names TensorRT's versions have, as far as a build or a run may need them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """One version.

    Attributes:
        version: Its number.
        explicit_batch: Whether networks need the flag EXPLICIT_BATCH; None where it is gone.
        precision_flags: Those of the builder.
        since_10: Whether the flag STRONGLY_TYPED is there, tensors may be int64, and weights may be
            stored in int8.
    """

    version: str
    explicit_batch: bool | None
    precision_flags: tuple[str, ...]
    since_10: bool = True


FLAVOURS = {
    "8.6": Flavour(
        version="8.6.2.3",
        explicit_batch=True,
        precision_flags=("FP16", "INT8", "FP8"),
        since_10=False,
    ),
    "10.3": Flavour(
        version="10.3.0",
        explicit_batch=False,
        precision_flags=("FP16", "INT8", "FP8", "BF16", "INT4"),
    ),
    "11.4": Flavour(version="11.4.0.106", explicit_batch=None, precision_flags=()),
}
