# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m unitree_driver.nodes.standby`: publish the node's frames if its link process dies."""

import json
import socket
import sys

from robot_driver.link_process import end_with_channel, settings_of_json
from unitree_driver.figures import UnitreeSettings
from unitree_driver.nodes.dds import stand_by


def main() -> None:
    """Run with three arguments: model name, settings as JSON, file descriptor of the socket."""
    end_with_channel()
    model, settings, descriptor = sys.argv[1:]
    stand_by(
        model,
        settings_of_json(UnitreeSettings, json.loads(settings)),
        socket.socket(fileno=int(descriptor)),
    )


if __name__ == "__main__":
    main()
