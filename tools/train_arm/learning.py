# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Training loop for all networks here: AdamW, clipped gradients, warm-up and cosine schedule.

LeRobot's `lerobot-train` is not used, because it reads images from a dataset and runs the backbone
in every update. Here, a frozen encoder computes its features once, so that a CPU needs only
minutes.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
from torch import Tensor, nn

_EACH = 200
_log = logging.getLogger("train_arm")


def learn(
    learned: Sequence[nn.Parameter],
    loss: Callable[[], tuple[Tensor, Tensor]],
    *,
    name: str,
    steps: int,
    rate: float,
    warm: int,
    clip: float,
    beside: Iterable[nn.Parameter] = (),
    after_step: Callable[[], None] = lambda: None,
    measure: Callable[[], list[float]] | None = None,
) -> list[list[float]]:
    """Minimize `loss`, which returns the loss of a new batch and the value for the learning curve.

    Returns:
        A row per 200 updates: the step, then the mean value since the previous row or the result of
        `measure`.
    """
    optimiser = torch.optim.AdamW([*learned, *beside], lr=rate, weight_decay=1e-4)
    schedule = get_cosine_schedule_with_warmup(optimiser, warm, steps)
    curve, losses, began = list[list[float]](), list[float](), time.monotonic()
    for step in range(1, steps + 1):
        total, shown = loss()
        losses.append(float(shown.detach()))
        optimiser.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(learned, clip)
        optimiser.step()
        schedule.step()
        after_step()
        if step % _EACH == 0 or step == steps:
            values = [float(np.mean(losses))] if measure is None else measure()
            curve.append([step, *values])
            losses.clear()
            said = ", ".join(f"{value:.5f}" for value in values)
            _log.info("%s: step %d, %s, %.0f s", name, step, said, time.monotonic() - began)
    return curve
