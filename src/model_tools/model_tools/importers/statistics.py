# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Statistics that `model_tools export` kept beside the model: they go with it into the contract."""

from __future__ import annotations

import json

from model_tools.errors import ToolError
from model_tools.importers.draft import Draft
from model_tools.onnx_model import OBS_STATS, OnnxModel
from policy_inference.bundle.verified import sha256_of


def put_kept_statistics(draft: Draft, model: OnnxModel) -> None:
    """Write the normalisation that the model expects, and note its file.

    Raises:
        ToolError: The file is not beside the model, or is another one.
        OSError: It cannot be read.
    """
    if OBS_STATS not in model.metadata:
        return
    entry = json.loads(model.metadata[OBS_STATS])
    file = model.path.with_name(entry["file"])
    found = sha256_of(file) if file.is_file() else "no such file"
    if found != entry["sha256"]:
        raise ToolError(f"{file}: expected the statistics that the model was exported with, sha256 "
                        f"{entry['sha256']}, found {found}; keep both files together")
    (name,) = (name for name in draft.find("observations"))
    draft.put(("observations", name, "normalisation"), entry,
              "kept beside the model by model_tools export")
    draft.beside[entry["file"]] = file
