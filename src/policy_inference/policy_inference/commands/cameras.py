# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Assigns USB cameras to the policy's cameras, for all code that starts camera nodes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.load import bundle_folder, load_bundle
from policy_core.errors import PolicyError


def read_contract(bundle: str) -> ChunkContract:
    """Return the contract of a chunk policy's bundle, given the bundle's folder or name."""
    return load_bundle(Path(bundle_folder(bundle)), kind=ChunkBundle).contract


def list_cameras(texts: Iterable[str], contract: ChunkContract) -> dict[str, str]:
    """Return devices by camera name, given strings such as `laptop=/dev/video0`."""
    found = dict[str, str]()
    given = [text.strip() for text in texts if text.strip()]
    for text in given:
        name, _, device = text.partition("=")
        if not device or name not in contract.cameras or name in found or device in found.values():
            raise PolicyError(
                f"cameras: expected NAME=DEVICE with a name from the contract "
                f"({', '.join(contract.cameras) or 'it has none'}), each name and "
                f"each device once, found {', '.join(given)}"
            )
        found[name] = device
    return found


def camera_parameters(
    contract: ChunkContract, name: str, device: str, image_transport: str
) -> dict[str, object]:
    """Return the `usb_camera` parameters for a camera in the contract."""
    camera = contract.cameras[name]
    return {
        "device": device,
        "width": camera.width,
        "height": camera.height,
        "fps": contract.rate_hz,
        "frame_id": name,
        "image_transport": image_transport,
    }


def simulated_cameras(contract: ChunkContract) -> dict[str, object]:
    """Return the `arm_sim_node` parameters for images of the contract's size.

    All cameras of the simulated arm have the image size of the contract's first camera.
    """
    rates: dict[str, object] = {"rate_hz": contract.rate_hz, "camera_rate_hz": contract.rate_hz}
    for camera in contract.cameras.values():
        return {**rates, "image_height": camera.height, "image_width": camera.width}
    return rates
