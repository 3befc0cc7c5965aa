# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Read elevation maps and sampled points from messages, without any ROS package."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from policy_core.errors import RobotError
from policy_core.interfaces import F64
from policy_core.observation.height_scan import ElevationMap

COLUMN_MAJOR, ROW_MAJOR = "column_index", "row_index"
"""Labels of a layer's outer dimension, which defines the order of the cells."""
_SMALLEST_TURN, _SMALLEST_CELL_M = 1e-3, 1e-4
_FLOAT32 = 7
"""Code for float32 in sensor_msgs/PointField."""


def read_elevation(message: Any, layer: str) -> ElevationMap:
    """Return a layer of a map, sharing the message's memory.

    The layout is grid_map's: the first cell is at the largest x and y, all cells in a row have the
    same x, and the start indices locate the first cell in memory, which is a ring buffer.

    Args:
        message: grid_map_msgs/GridMap, or an object with the same attributes.
        layer: Name of the layer with the heights, m.

    Raises:
        RobotError: The layer is missing, its size differs from the map's, or the map is
            rotated.
    """
    layers = list(message.layers)
    if layer not in layers:
        raise RobotError(f"expected the layer {layer}, found {', '.join(layers) or 'none'}")
    if len(message.data) != len(layers):
        raise RobotError(f"expected {len(layers)} arrays, one per layer, found {len(message.data)}")
    array = message.data[layers.index(layer)]
    dims = [(dim.label, dim.size) for dim in array.layout.dim]
    if len(dims) != 2 or dims[0][0] not in (COLUMN_MAJOR, ROW_MAJOR):
        raise RobotError(
            f"expected two dimensions, {COLUMN_MAJOR} or {ROW_MAJOR} first, found "
            f"{', '.join(label for label, _ in dims) or 'none'}"
        )
    shape = dims[0][1], dims[1][1]
    data = np.asarray(array.data, dtype=np.float32)
    info = message.info
    heights = data.reshape(shape) if data.size == shape[0] * shape[1] else data[:0]
    if dims[0][0] == COLUMN_MAJOR:
        heights, shape = heights.T, shape[::-1]
    rows, columns = shape
    centre, turn = info.pose.position, info.pose.orientation
    stated = (info.resolution, info.length_x, info.length_y, centre.x, centre.y)
    if not all(map(math.isfinite, (*stated, turn.x, turn.y, turn.z))):
        raise RobotError("expected a finite map position and size, found NaN or infinity")
    if not heights.size or not info.resolution >= _SMALLEST_CELL_M:
        raise RobotError(
            f"expected {rows} x {columns} cells, each at least {_SMALLEST_CELL_M:g} m wide, found "
            f"data for {data.size} cell{'s' * (data.size != 1)}, width {info.resolution:g} m"
        )
    expected = info.length_x / info.resolution, info.length_y / info.resolution
    if abs(expected[0] - rows) > 0.5 or abs(expected[1] - columns) > 0.5:
        raise RobotError(
            f"expected {expected[0]:g} x {expected[1]:g} cells (the map's lengths divided by its "
            f"resolution), found {rows} x {columns}"
        )
    if max(abs(turn.x), abs(turn.y), abs(turn.z)) > _SMALLEST_TURN:
        raise RobotError("expected a map without rotation in its frame, found a rotated map")
    start = message.outer_start_index, message.inner_start_index
    if not (start[0] < rows and start[1] < columns):
        raise RobotError(f"expected start indices within {rows} x {columns}, found {start}")
    return ElevationMap(
        heights=heights,
        centre=(centre.x, centre.y),
        resolution_m=info.resolution,
        start=start,
    )


def sampled_heights(message: Any, count: int) -> F64:
    """Return the heights [count], m, of points that another program sampled.

    Args:
        message: sensor_msgs/PointCloud2 with heights as z, or std_msgs/Float32MultiArray, in the
            contract's order; each height is that of the ground relative to the scan's frame, NaN if
            unknown.
        count: Number of points in the contract.

    Raises:
        RobotError: The number of points differs, or z is not float32.
    """
    if not hasattr(message, "point_step"):
        heights = np.asarray(message.data, dtype=np.float64)
    else:
        offsets = [
            field.offset
            for field in message.fields
            if field.name == "z" and field.datatype == _FLOAT32
        ]
        step, row_bytes = message.point_step, message.width * message.point_step
        data = np.frombuffer(message.data, np.uint8)
        if not (
            offsets
            and offsets[0] + 4 <= step
            and 0 < row_bytes <= message.row_step
            and data.size >= message.height * message.row_step
        ):
            raise RobotError("expected a point cloud with z as float32 and all of its points")
        rows = data[: message.height * message.row_step].reshape(message.height, -1)[:, :row_bytes]
        z = np.ascontiguousarray(rows).reshape(-1, step)[:, offsets[0] : offsets[0] + 4].copy()
        heights = z.view(">f4" if message.is_bigendian else "<f4").ravel().astype(np.float64)
    if heights.size != count:
        raise RobotError(f"expected {count} points as in the contract, found {heights.size}")
    return heights
