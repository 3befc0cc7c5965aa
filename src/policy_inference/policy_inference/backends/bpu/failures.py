# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Explanations and remedies for vendor messages."""

from __future__ import annotations

import re

INSTALL = (
    "install the runtime of the board's own system: `hobot-dnn` (apt) on RDK S100 and S600, "
    "`hobot-spdev` (apt) on an RDK X5 with system 3.5.0 or newer, `hobot-dnn-rdkx5` (pip) on one "
    "with an older system, whose image contains hobot_dnn"
)
MARCHES = "RDK X5: bayes-e, RDK Ultra: bayes, S100: nash-e, S100P: nash-m, S600: nash-p"
_NO_MEMORY = "the BPU has run out of memory: close other models and programs that use it"

# The first match applies.
_MEANINGS = (
    (
        r"Incompatible Platform",
        "it was compiled for a different BPU than this board's; "
        f"compile it again with its --target ({MARCHES})",
    ),
    (
        r"Missing Horizon runtime libraries",
        f"the Python package is installed but its libraries are missing; {INSTALL}",
    ),
    (
        r"libpython3[.0-9]*\S*: cannot open shared object",
        "this RDK X5 package is built for the Python version in the libpython file name; run with "
        "that version",
    ),
    (
        r"cannot open shared object file|invalid ELF header|wrong ELF class",
        f"its libraries exist only on the board; {INSTALL}",
    ),
    (r"No module named|halted; None in sys.modules", INSTALL),
    (
        r"multiarray failed to import|compiled against A[BP]I version",
        "this package was built for a different NumPy: install version 1.26 (pip install "
        "'numpy<2')",
    ),
    (
        r"Python version mismatch",
        "this package is for a different Python; run with the one from the board's system",
    ),
    (
        r"Only \.hbm supported",
        "this is the hbm_runtime for RDK S100 and S600, which is also on PyPI; on an X5, uninstall "
        "it (pip uninstall hbm_runtime) and use the one from the board's system, or the option "
        "runtime=pyeasy_dnn",
    ),
    (
        r"STATUS_BAD_DATA",
        "the runtime reports this for a damaged file and, more often, when " + _NO_MEMORY,
    ),
    (r"MallocCached|[Mm]emory allocation failed|[Ff]ailed to allocate|out of memory", _NO_MEMORY),
    (
        r"hbUCPSubmitTask failed|Invalid BPU core",
        "this board may have fewer cores; set option core to a core of this board (RDK X5: 0), "
        "or leave the option out",
    ),
    (
        r"hbUCPWaitTaskDone failed|hbDNNWaitTaskDone failed",
        "the BPU did not finish: close other models and programs that use it, and check `dmesg`",
    ),
    (
        r"Data type mismatch|Mismatch in tensor dimension|Invalid data size|Too many inputs",
        "the runtime expects different tensors than it reported; compile the model again with the "
        "compiler of this runtime's release",
    ),
)


def meaning(
    text: str, otherwise: str = "compile it for this board, and copy it again if that does not help"
) -> str:
    """Return the remedy for a failure with this vendor message, or `otherwise`."""
    return next((remedy for pattern, remedy in _MEANINGS if re.search(pattern, text)), otherwise)


def words(error: BaseException, said: str) -> str:
    """Return the vendor's messages in one line: the exception, and errors that are only printed."""
    written = [
        line.strip()
        for line in said.splitlines()
        if re.search(r"error|fail|invalid|incompatible|STATUS_", line, re.IGNORECASE)
    ]
    return " | ".join(dict.fromkeys([" ".join(str(error).split()), *written[-5:]]))
