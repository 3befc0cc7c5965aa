# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy behind openpi's own server, in a process of its own.

Run with the file of that server and a port; `openpi_client` is on the path.
"""

import runpy
import sys
from typing import Any

import numpy as np

STEPS = 4


class Policy:
    """The state, plus the mean of the image per step."""

    def infer(self, seen: dict[str, Any]) -> dict[str, Any]:
        state = seen["observation/state"]
        step = seen["observation/image"].mean() + len(seen["prompt"])
        return {"actions": state + step * np.arange(STEPS)[:, np.newaxis]}


if __name__ == "__main__":
    server = runpy.run_path(sys.argv[1])["WebsocketPolicyServer"]
    metadata = {"policy": "reach", "version": 3}
    server(Policy(), host="127.0.0.1", port=int(sys.argv[2]), metadata=metadata).serve_forever()
