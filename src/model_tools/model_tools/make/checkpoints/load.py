# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reads files written by torch as data; runs a program only if it is trusted."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model_tools.errors import ToolError, first_line
from model_tools.files.file_types import is_program, members
from model_tools.make.checkpoints.running_statistics import all_statistics
from model_tools.make.checkpoints.search import Role, linear_stacks, recurrent_networks, role

ZIP_MAGIC, PICKLE_MAGIC = b"PK\x03\x04", b"\x80"
# rl_games saves its best reward as a numpy scalar, named after the numpy version it ran with.
_SCALAR = np.float64(0).__reduce__()[0]
NUMPY_SCALARS = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(code)) for code in "?bhilBHILefd"),
]
Layout = Callable[[Mapping[str, object]], Mapping[str, Tensor] | None]
"""Function that returns the policy's tensors by name, or None for another layout."""
_TOGETHER, _NORMALISER = "model_state_dict", "obs_norm_state_dict"
_APART = ("student", "actor")
_POLICY, _SCALERS = "policy", ("observation_preprocessor", "state_preprocessor")
_MODEL, _NETWORK, _COMPILED = "model", "a2c_network.", "_orig_mod."
TORCHSCRIPT = "TorchScript"
STATE = ("hidden_state", "cell_state")
"""State buffers in programs that rsl_rl and Isaac Lab export."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TorchCheckpoint:
    """Contents of a file written by torch, read once.

    Attributes:
        path: Location of the file, for messages.
        sha256: Hash of the file.
        format: Layout of the training library, or `TorchScript`.
        tensors: Tensors of the policy and its normalizer, by name.
        beside: Other contents of the file, by name.
        program: The TorchScript program; None for a file of tensors.
    """

    path: Path
    sha256: str
    format: str
    tensors: Mapping[str, Tensor]
    beside: Mapping[str, object] = field(default_factory=dict)
    program: Any = None


def read_checkpoint(path: Path, *, trust_code: bool = False) -> TorchCheckpoint:
    """Read a checkpoint onto the CPU; no code in it runs unless it is a trusted program.

    Args:
        path: File written by `torch.save` or `torch.jit.save`.
        trust_code: Allow loading a TorchScript program, which runs the program's code.
    """
    content = path.read_bytes()
    try:
        is_code = is_program(members(io.BytesIO(content)))
        found = _load_program(path, content, trust_code) if is_code else _load_data(path, content)
    except ToolError:
        raise
    except Exception as error:  # torch raises different errors depending on where a file is broken
        raise ToolError(
            f"{path}: expected a complete checkpoint, found one that torch cannot read: "
            f"{first_line(error)[:200]}; copy it again"
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    if is_code:
        tensors = {name: value for name, value in found.state_dict().items() if name not in STATE}
        return TorchCheckpoint(
            path=path, sha256=sha256, format=TORCHSCRIPT, tensors=tensors, program=found
        )
    layout, named = _laid_out(path, found)
    beside = {str(key): value for key, value in found.items() if not isinstance(value, Tensor)}
    return TorchCheckpoint(path=path, sha256=sha256, format=layout, tensors=named, beside=beside)


def _load_program(path: Path, content: bytes, trust_code: bool) -> Any:
    if not trust_code:
        raise ToolError(
            f"{path}: expected weights, found a TorchScript program, which runs when it is "
            "loaded; pass --trust-code if you trust its source"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(io.BytesIO(content), map_location="cpu").eval()


def _load_data(path: Path, content: bytes) -> Any:
    if not content.startswith((ZIP_MAGIC, PICKLE_MAGIC)):
        raise ToolError(
            f"{path}: expected a torch.save checkpoint, found a file that is neither a zip "
            "archive nor a pickle"
        )
    try:
        with torch.serialization.safe_globals(NUMPY_SCALARS), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the pickle protocol
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ToolError(_refusal(path, content)) from error


def _refusal(path: Path, content: bytes) -> str:
    if not content.startswith(ZIP_MAGIC):
        return (
            f"{path}: expected a torch.save checkpoint, found a pickle that needs more than "
            "weights; save the state_dict of the policy with torch.save"
        )
    with torch.serialization.safe_globals(NUMPY_SCALARS):
        needed = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(content)))
    return (
        f"{path}: expected weights and numbers, found objects of type {', '.join(needed)}, "
        "which run code when they are read; save the state_dict of the policy instead of the object"
    )


def _laid_out(path: Path, content: object) -> tuple[str, Mapping[str, Tensor]]:
    """Return the name of the layout, and the tensors of the policy and its normalizer."""
    keys = content if isinstance(content, Mapping) else {}
    layouts: dict[str, Layout] = {
        "rsl_rl": read_rsl_rl,
        "skrl": read_skrl,
        "rl_games": read_rl_games,
        "state dict": read_plain,
    }
    for name, read in layouts.items():
        if tensors := read(keys):
            return name, tensors
    known = ", ".join(layouts)
    found = ", ".join(map(str, list(keys)[:10])) or type(content).__name__
    raise ToolError(
        f"{path}: expected a checkpoint in one of the layouts {known}, found {found}; save the "
        "state_dict of the policy with torch.save"
    )


def read_rsl_rl(content: Mapping[str, object]) -> Mapping[str, Tensor] | None:
    """Return the tensors of an rsl_rl `model_<iteration>.pt`; each name begins with its part.

    Up to version 3: a single `model_state_dict` for actor and critic (`actor.0.weight`,
    `memory_a.rnn.*`), with `obs_norm_state_dict` beside it up to 2.3, and `actor_obs_normalizer.*`
    inside it in version 3. Later versions: `actor_state_dict` and `critic_state_dict`
    (`mlp.0.weight`, `rnn.rnn.*`, `obs_normalizer.*`). Distillation writes `student` instead of
    `actor`.
    """
    together = content.get(_TOGETHER)
    if isinstance(together, Mapping):
        return _only_tensors({**together, **_part(content, _NORMALISER, "obs_norm")})
    for name in _APART:
        if f"{name}_state_dict" in content:
            return _only_tensors(_part(content, f"{name}_state_dict", name))
    return None


def _part(content: Mapping[str, object], key: str, prefix: str) -> dict[str, object]:
    """Return the contents under a key, with `prefix` added to their names."""
    inner = content.get(key)
    if not isinstance(inner, Mapping):
        return {}
    return {f"{prefix}.{name}": value for name, value in inner.items()}


def read_skrl(content: Mapping[str, object]) -> Mapping[str, Tensor] | None:
    """Return the tensors of skrl's `agent_<step>.pt` or `best_agent.pt`, named after their modules.

    Models that skrl builds from a description hold `net_container.<i>`, and `policy_layer` and
    `value_layer` if policy and value share a network. The module `observation_preprocessor` scales
    observations. Before version 2 it was called `state_preprocessor`, a name that version 2 uses
    for something else.
    """
    if not isinstance(content.get(_POLICY), Mapping):
        return None
    scalers = [name for name in _SCALERS if name in content][:1]
    return _only_tensors(
        {
            new: value
            for name in (_POLICY, *scalers)
            for new, value in _part(content, name, name).items()
        }
    )


def read_rl_games(content: Mapping[str, object]) -> Mapping[str, Tensor] | None:
    """Return the tensors of rl_games' `<name>.pth`: `model` with `a2c_network.*`.

    The network is `actor_mlp.<i>`, then optionally `rnn.rnn` (`a_rnn.rnn` if the critic has one of
    its own), then `mu`; statistics are `running_mean_std.*`. `torch.compile` adds `_orig_mod.` to
    names.
    """
    model = content.get(_MODEL)
    if not isinstance(model, Mapping):
        return None
    named = {str(name).replace(_COMPILED, ""): value for name, value in model.items()}
    return _only_tensors(named) if any(name.startswith(_NETWORK) for name in named) else None


def read_plain(content: Mapping[str, object]) -> Mapping[str, Tensor] | None:
    """Return the tensors of a state dict, bare or under `state_dict`, with unchanged names."""
    inner = content.get("state_dict", content)
    return _only_tensors(inner) if isinstance(inner, Mapping) else None


def _only_tensors(content: Mapping[str, object]) -> Mapping[str, Tensor] | None:
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    return tensors if len(tensors) == len(content) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Tensors of the policy in a checkpoint, and conclusions from their names and sizes."""

    tensors: tuple[str, ...]
    """Descriptions of the tensors, such as `actor.0.weight float32[256, 45]`."""
    count: int
    """Number of values in all tensors."""
    actors: tuple[str, ...]
    """Linear layers that, by their names, may be the actor's, such as `actor.* (45-256-12)`."""
    recurrent: tuple[str, ...]
    """Recurrent networks that may be the actor's, such as `memory_a.rnn, 45 inputs`."""
    statistics: Mapping[str, float]
    """Smallest spread of each set of running statistics, by description."""
    not_finite: tuple[str, ...]
    """Names of tensors with NaN or infinite values."""
    beside: Mapping[str, str]
    """Other contents of the file: values for numbers and strings, types for everything else."""


def read_contents(checkpoint: TorchCheckpoint) -> Contents:
    """Return what names and sizes reveal about a checkpoint of tensors."""
    tensors = checkpoint.tensors
    return Contents(
        tensors=tuple(
            f"{key} {str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
            for key, tensor in tensors.items()
        ),
        count=sum(tensor.numel() for tensor in tensors.values()),
        actors=tuple(str(stack) for stack in linear_stacks(tensors) if _may_act(stack.pattern)),
        recurrent=tuple(
            f"{one.prefix.rstrip('.')}, {one.first[1]} inputs"
            for one in recurrent_networks(tensors)
            if _may_act(one.prefix)
        ),
        statistics=all_statistics(tensors),
        not_finite=tuple(key for key, tensor in tensors.items() if not _finite(tensor)),
        beside={
            key: _brief(value) for key, value in checkpoint.beside.items() if value is not None
        },
    )


def _may_act(name: str) -> bool:
    return role(name) in (Role.ACTOR, Role.UNKNOWN)


def _finite(tensor: Tensor) -> bool:
    dense = tensor.is_floating_point() and tensor.layout is torch.strided
    return not dense or bool(torch.isfinite(tensor).all())


def _brief(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{len(value)} entries"
    simple = isinstance(value, (bool, int, float, str, np.generic))
    return str(value) if simple else type(value).__name__
