# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Explanations and remedies for the runtime's messages."""

from __future__ import annotations

import re
from pathlib import Path

_UPDATE = (
    "install the librknnrt.so from RKNN Toolkit2 2.5 in /usr/lib, or compile with the older toolkit"
)
MOUNTS = (
    "start it with -v /dev/dri:/dev/dri -v /proc/device-tree/compatible:/proc/device-tree/"
    "compatible -v /usr/lib/librknnrt.so:/usr/lib/librknnrt.so, and with --privileged or "
    "--device"
)
_KNOWN: tuple[tuple[str, str, str], ...] = (
    # Pattern of the runtime's message; cause; remedy. The first match applies.
    (
        r"missing in the container|renderD\d+.*-v|-v /dev|-v /proc|docker",
        "a container without the NPU's device nodes",
        MOUNTS,
    ),
    (
        r"librknnrt\.so.*invalid ELF header|invalid ELF header",
        "librknnrt.so that is not a library, perhaps a web page saved under its name",
        "download the file itself, and copy it to /usr/lib",
    ),
    (
        r"download the librknnrt\.so|librknnrt\.so.*(?:No such file|cannot open|not found)",
        "no librknnrt.so",
        "copy the one from RKNN Toolkit2 2.5 for this board to /usr/lib",
    ),
    (
        r"librknnrt\.so.*(?:wrong ELF class|cannot open shared)",
        "librknnrt.so for a different architecture",
        "copy the one for aarch64 to /usr/lib",
    ),
    (
        r"failed to open rknpu|open rknpu|insmod rknpu",
        "no access to the NPU: its driver is not loaded, or this user may not open the render node",
        "check `dmesg | grep -i rknpu`, and add the user to the groups render and video",
    ),
    (
        r"Invalid RKNN model version|\b6, 1\b",
        "a librknnrt.so that is older than the model",
        _UPDATE,
    ),
    (
        r"invalid RKNN_MAGIC|Invalid RKNN format|MODEL_INVALID",
        "a model that the library rejects (damaged, or newer than the library)",
        "copy the model again, or " + _UPDATE,
    ),
    (
        r"TARGET_PLATFORM_UNMATCH|[Tt]arget.*mismatch",
        "a model for a different chip than this board's",
        "compile it for this board's chip",
    ),
    # Explained as in the vendor's rknn_api.h.
    (
        r"DEVICE_UNMATCH",
        "a librknnrt.so that is incompatible with the kernel's rknpu driver",
        "update both, the driver with the board's system",
    ),
    (
        r"INCOMPATILE",
        "a model for a different release of the library",
        "compile it again, and " + _UPDATE,
    ),
    (r"KEY_INVALID|DECRYPT_FAILED", "an encrypted model", "compile it without encryption"),
    (
        r"MALLOC_FAIL|[Ff]ailed to (?:allocate|malloc)|out of memory",
        "not enough memory for the NPU",
        "close other models, or reserve more CMA memory",
    ),
    (
        r"failed to submit|TIMEOUT",
        "the NPU does not respond",
        "run fewer models (or LLMs) at once, or run them on separate cores, and update the "
        "kernel's rknpu driver",
    ),
    (r"DEVICE_UNAVAILABLE", "the NPU is not available", "check `dmesg | grep -i rknpu`"),
    (r"CTX_INVALID", "the context no longer exists", "open the model again"),
    (
        r"core_mask is only supported|core mode .* not supported|"
        r"set core mask failed|npu core mode",
        "cores that this chip or its library does not support",
        "leave out the option core_mask",
    ),
    (
        r"PARAM_INVALID|INPUT_INVALID|OUTPUT_INVALID|is not same as data_type|Unsupport inputs|"
        r"[Ii]nputs(?:\[\d+\])? (?:is|are) invalid|dims input buffer feed",
        "tensors that the library rejects",
        "compile the bundle again, and update librknnrt.so",
    ),
    # On a PC, 2.5.0 fails while it formats its own error message.
    (
        r"does not support simulator|no attribute 'format'",
        "a machine without an NPU",
        "run it on the board; on a PC open the bundle with rknn_sim",
    ),
    (
        r"RKNN_ERR_FAIL",
        "a failure without a stated reason, usually a library older than the model",
        _UPDATE,
    ),
)
# Printed for every model with fixed sizes, and for working drivers.
_HARMLESS = re.compile(r"[Qq]uery dynamic range|QUERY_INPUT_DYNAMIC_RANGE|recommend to upgrade")
_NOISE = re.compile(r"\s|Traceback |[IDV] RKNN: ")


def explain(stage: str, returned: object, said: str) -> str:
    """Return the cause, the runtime's last messages, and the remedy.

    Args:
        stage: The call that failed.
        returned: The call's return value or exception.
        said: Text that was logged and printed during the call.
    """
    lines = [line for line in said.splitlines() if line and not _HARMLESS.search(line)]
    words = "\n".join([*lines, repr(returned)])
    cause, remedy = next(
        ((cause, remedy) for pattern, cause, remedy in _KNOWN if re.search(pattern, words)),
        ("", "check the output of the runtime, and `dmesg`"),
    )
    last = " | ".join([line for line in lines if not _NOISE.match(line)][-4:])
    found = f"{cause}: " if cause else ""
    printed = f", and it said: {last}" if last else ""
    return f"{found}{stage} returned {returned!r}{printed}; {remedy}"


def board_chips(compatible: Path) -> tuple[str, ...]:
    """Return this board's chips as named in the device tree; may be empty."""
    try:
        names = compatible.read_bytes().decode("ascii", "replace").split("\0")
    except OSError:
        return ()
    return tuple(
        name.partition(",")[2]
        for name in names
        if name.startswith("rockchip,rk") or name.startswith("rockchip,rv")
    )
