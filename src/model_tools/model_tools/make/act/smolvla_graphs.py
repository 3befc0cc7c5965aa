# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Graphs of a SmolVLA policy: vision transformer, language model, and one denoising step.

Shukor et al., "SmolVLA" (2025), as LeRobot implements it: a SigLIP vision transformer, whose
patches are shuffled into tokens; a language model, of which only the keys and values of each layer
are needed; and a smaller transformer, the expert, which attends to those keys and values and to the
noisy actions. The prompt is fixed, so its tokens are constants, and masked padding is left out.
"""

from __future__ import annotations

import numpy as np
import onnx

from model_tools.make.act.builder import (
    GraphBuilder,
    Positions,
    Value,
    Weights,
    linear,
    number,
    shape,
)
from model_tools.make.act.checkpoint_config import CameraInput
from model_tools.make.act.graphs import ACTIONS, FEATURES, IMAGES, STATES
from model_tools.make.act.llama import (
    MASKED,
    LlamaLayers,
    attention,
    join_heads,
    part,
    silu,
    split_heads,
)
from model_tools.make.act.smolvla_config import LANGUAGE_MODEL, SmolvlaConfig
from model_tools.make.act.transformer import layer_norm
from model_tools.make.act.unet_graphs import ENCODER, NOISY, STEP, TIME
from policy_core.interfaces import F32

KEYS, VALUES = "keys", "values"
"""Outputs of the language model for each denoising step [1, layers x groups, tokens, head]."""
_VLM = "vlm_with_expert.vlm.model"
_TEXT, _VISION = f"{_VLM}.text_model", f"{_VLM}.vision_model"
_EXPERT = "vlm_with_expert.lm_expert"


def smolvla_encoder(config: SmolvlaConfig, camera: CameraInput) -> str:
    """Return the name of the graph that encodes a camera's images; cameras of one size share it."""
    if len(config.sizes) == 1:
        return ENCODER
    return f"{ENCODER}_{camera.height}x{camera.width}"


def write_smolvla_graphs(
    config: SmolvlaConfig, weights: Weights, *, opset: int
) -> dict[str, onnx.ModelProto]:
    """Return the graphs by name, with the denoising step's graph last."""
    graphs = dict[str, onnx.ModelProto]()
    for camera in config.cameras:
        name = smolvla_encoder(config, camera)
        if name not in graphs:
            graphs[name] = _vision(GraphBuilder(name, opset), config, weights, camera)
    graphs[LANGUAGE_MODEL] = _language(GraphBuilder(LANGUAGE_MODEL, opset), config, weights)
    graphs[STEP] = _step(GraphBuilder(STEP, opset), config, weights)
    weights.require_all_taken()
    return graphs


def _vision(
    graph: GraphBuilder, config: SmolvlaConfig, weights: Weights, camera: CameraInput
) -> onnx.ModelProto:
    sizes, op = config.vision, graph.op
    x: Value = graph.input(IMAGES, (1, 3, camera.height, camera.width))
    if config.canvas is not None:
        down, across = _onto(camera.height, camera.width, config.canvas)
        x = op("MatMul", down, op("MatMul", x, np.ascontiguousarray(across.T)))
    x = op("Sub", op("Mul", x, number(2.0)), number(1.0))
    name, width = f"{_VISION}.embeddings", sizes.width
    x = op(
        "Conv",
        x,
        weights.take(f"{name}.patch_embedding.weight", width, 3, sizes.patch, sizes.patch),
        weights.take(f"{name}.patch_embedding.bias", width),
        kernel_shape=[sizes.patch] * 2,
        strides=[sizes.patch] * 2,
    )
    side = config.canvas_size(camera.height, camera.width)[0] // sizes.patch
    x = op("Transpose", op("Reshape", x, shape(1, width, side * side)), perm=[0, 2, 1])
    learnt = weights.take(f"{name}.position_embedding.weight", sizes.side**2, width)
    at = _positions(side, sizes.side, config.patch_positions)
    places = (at[:, np.newaxis] * sizes.side + at).ravel()
    x = op("Add", x, np.ascontiguousarray(learnt[places])[np.newaxis])
    for layer in range(sizes.layers):
        x = _vision_layer(graph, config, weights, x, f"{_VISION}.encoder.layers.{layer}")
    x = _layer_norm(graph, config, weights, x, f"{_VISION}.post_layernorm")
    made = _shuffled(graph, config, weights, x, side)
    tokens = config.image_tokens(camera.height, camera.width)
    return graph.model(
        {FEATURES: (made, (1, tokens, config.text.width))},
        {"patch_positions": config.patch_positions},
    )


def _onto(height: int, width: int, canvas: tuple[int, int]) -> tuple[F32, F32]:
    """Return the matrices that resize rows and columns and pad at the top and left.

    The aspect ratio is kept; padding is 0.
    """
    ratio = max(width / canvas[1], height / canvas[0])
    return (
        _bilinear(height, int(height / ratio), canvas[0]),
        _bilinear(width, int(width / ratio), canvas[1]),
    )


def _bilinear(old: int, new: int, whole: int) -> F32:
    """Return the matrix [whole, old] of a linear resize to the last `new` rows, not antialiased."""
    centres = np.maximum((np.arange(new) + 0.5) * (old / new) - 0.5, 0.0)
    first = np.floor(centres).astype(int)
    share = centres - first
    matrix, rows = np.zeros((whole, old)), np.arange(whole - new, whole)
    np.add.at(matrix, (rows, first), 1.0 - share)
    np.add.at(matrix, (rows, np.minimum(first + 1, old - 1)), share)
    return matrix.astype(np.float32)


def _positions(count: int, learnt: int, how: str) -> Positions:
    """Return the index of the learned position for each of `count` patches in a row.

    With patches and positions spread evenly over the image, this is the last position at or before
    the patch. Transformers 4 scales the patches' coordinates by 1 - 1e-6, so a patch that starts
    exactly at a position gets the previous position.
    """
    place = np.arange(count) * learnt / count
    if how == "repeated":
        place = place * (1.0 - 1e-6)
    # Undo rounding below a whole number.
    return np.floor(place + 1e-9).astype(np.int64)


def _vision_layer(
    graph: GraphBuilder, config: SmolvlaConfig, weights: Weights, x: Value, name: str
) -> Value:
    sizes, op = config.vision, graph.op
    width, head = sizes.width, sizes.width // sizes.heads
    y = _layer_norm(graph, config, weights, x, f"{name}.layer_norm1")
    query, key, value = (
        linear(graph, weights, y, f"{name}.self_attn.{part}_proj", width, width)
        for part in ("q", "k", "v")
    )
    query = op("Mul", query, number(head**-0.5))
    query, key, value = (
        split_heads(graph, each, sizes.heads, head) for each in (query, key, value)
    )
    made = attention(graph, query, key, value, None)
    joined = join_heads(graph, made, sizes.heads, head)
    x = op("Add", x, linear(graph, weights, joined, f"{name}.self_attn.out_proj", width, width))
    y = _layer_norm(graph, config, weights, x, f"{name}.layer_norm2")
    y = _gelu(graph, linear(graph, weights, y, f"{name}.mlp.fc1", width, sizes.feedforward))
    return op("Add", x, linear(graph, weights, y, f"{name}.mlp.fc2", sizes.feedforward, width))


def _layer_norm(
    graph: GraphBuilder, config: SmolvlaConfig, weights: Weights, x: Value, name: str
) -> Value:
    scale, shift = (
        weights.take(f"{name}.{kind}", config.vision.width) for kind in ("weight", "bias")
    )
    return layer_norm(graph, x, scale, shift, config.vision.eps)


def _shuffled(
    graph: GraphBuilder, config: SmolvlaConfig, weights: Weights, x: Value, side: int
) -> Value:
    """Merge each square of patches into one token of the language model's width."""
    wide, times = config.vision.width, config.shuffle
    x = graph.op("Reshape", x, shape(1, side, side // times, wide * times))
    x = graph.op("Transpose", x, perm=[0, 2, 1, 3])
    x = graph.op("Reshape", x, shape(1, side // times, side // times, wide * times**2))
    x = graph.op("Transpose", x, perm=[0, 2, 1, 3])
    x = graph.op("Reshape", x, shape(1, (side // times) ** 2, wide * times**2))
    name, width = f"{_VLM}.connector.modality_projection.proj.weight", config.text.width
    # LeRobot multiplies embeddings of images and words by the square root of the width.
    weight = weights.take(name, width, wide * times**2) * np.float32(width**0.5)
    return graph.op("MatMul", x, np.ascontiguousarray(weight.T))


def _language(graph: GraphBuilder, config: SmolvlaConfig, weights: Weights) -> onnx.ModelProto:
    """Return the graph that maps image tokens and state to the keys and values of all layers."""
    assert config.state is not None
    sizes, given = config.text, config.state.shape[0]
    parts: list[Value] = [
        graph.input(
            f"{camera.name}_features",
            (1, config.image_tokens(camera.height, camera.width), sizes.width),
        )
        for camera in config.cameras
    ]
    words = weights.take(f"{_TEXT}.embed_tokens.weight", config.words, sizes.width)
    parts.append((words[list(config.tokens)] * np.float32(sizes.width**0.5))[np.newaxis])
    state = graph.input(STATES, (1, given))
    # In training the columns beyond the state are zeros.
    weight = weights.take("state_proj.weight", sizes.width, config.state_columns)[:, :given]
    row = graph.op("MatMul", state, np.ascontiguousarray(weight.T))
    row = graph.op("Add", row, weights.take("state_proj.bias", sizes.width))
    parts.append(graph.op("Reshape", row, shape(1, 1, sizes.width)))
    x, tokens = graph.op("Concat", *parts, axis=1), prefix_tokens(config)
    # Only the state token, which is last, attends to the state.
    mask = np.zeros((tokens, tokens), np.float32)
    mask[:-1, -1] = MASKED
    layers = LlamaLayers(graph=graph, weights=weights, sizes=sizes, name=_TEXT)
    made = dict[str, list[Value]]({KEYS: [], VALUES: []})
    for layer in range(sizes.layers):
        y = layers.norm(x, f"layers.{layer}.input_layernorm")
        key = layers.turned(layers.projected(y, layer, "k"), np.arange(tokens))
        value = layers.projected(y, layer, "v")
        made[KEYS].append(key)
        made[VALUES].append(value)
        if layer < sizes.layers - 1:
            query = layers.turned(layers.query(y, layer), np.arange(tokens))
            x = layers.finished(x, layers.attended(query, key, value, mask), layer)
    _leave(weights, config)
    size = (1, sizes.layers * sizes.groups, tokens, sizes.head)
    return graph.model(
        {name: (graph.op("Concat", *each, axis=1), size) for name, each in made.items()},
        {"prompt": config.prompt},
    )


def prefix_tokens(config: SmolvlaConfig) -> int:
    """Return the number of tokens for images, prompt and state."""
    images = sum(config.image_tokens(camera.height, camera.width) for camera in config.cameras)
    return images + len(config.tokens) + 1


def _leave(weights: Weights, config: SmolvlaConfig) -> None:
    """Mark as used the tensors that no output needs: the head, and the end of the last layer.

    Otherwise `require_all_taken` would report them.
    """
    sizes = config.text
    last, width, wide = f"{_TEXT}.layers.{sizes.layers - 1}", sizes.width, sizes.feedforward
    all_heads = sizes.heads * sizes.head
    weights.take(f"{last}.self_attn.q_proj.weight", all_heads, width)
    weights.take(f"{last}.self_attn.o_proj.weight", width, all_heads)
    weights.take(f"{last}.post_attention_layernorm.weight", width)
    weights.take(f"{last}.mlp.gate_proj.weight", wide, width)
    weights.take(f"{last}.mlp.up_proj.weight", wide, width)
    weights.take(f"{last}.mlp.down_proj.weight", width, wide)
    weights.take(f"{_TEXT}.norm.weight", width)
    head = "vlm_with_expert.vlm.lm_head.weight"
    if head in weights:
        weights.take(head, config.words, width)


def _step(graph: GraphBuilder, config: SmolvlaConfig, weights: Weights) -> onnx.ModelProto:
    """Return the graph that maps noisy actions, time, keys and values to the velocity."""
    sizes, rows = config.expert, config.chunk_size
    columns = config.denoising.columns
    assert columns is not None
    noisy = graph.input(NOISY, (1, rows, columns))
    time = graph.input(TIME, (1, sizes.width))
    before = prefix_tokens(config)
    size = (1, sizes.layers * sizes.groups, before, sizes.head)
    kept = [graph.input(name, size) for name in (KEYS, VALUES)]
    x = linear(graph, weights, noisy, "action_in_proj", columns, sizes.width)
    weight = weights.take("action_time_mlp_in.weight", sizes.width, 2 * sizes.width)
    of_actions, of_time = (np.ascontiguousarray(half.T) for half in np.split(weight, 2, axis=1))
    x = graph.op("Add", graph.op("MatMul", x, of_actions), graph.op("MatMul", time, of_time))
    x = graph.op("Add", x, weights.take("action_time_mlp_in.bias", sizes.width))
    x = linear(graph, weights, silu(graph, x), "action_time_mlp_out", sizes.width, sizes.width)
    layers = LlamaLayers(graph=graph, weights=weights, sizes=sizes, name=_EXPERT)
    later = np.triu(np.full((rows, rows), MASKED, np.float32), 1)
    mask = np.concatenate([np.zeros((rows, before), np.float32), later], axis=1)
    for layer in range(sizes.layers):
        y = layers.norm(x, f"layers.{layer}.input_layernorm")
        key, value = (part(graph, each, layer * sizes.groups, sizes.groups) for each in kept)
        if layer in config.cross_layers:
            query = layers.turned(layers.query(y, layer), np.arange(rows))
            given = sizes.groups * sizes.head
            key, value = (
                layers.projected(
                    join_heads(graph, each, sizes.groups, sizes.head), layer, kind, given
                )
                for kind, each in (("k", key), ("v", value))
            )
            attended = layers.attended(query, key, value, None)
        else:
            at = before + np.arange(rows)
            query = layers.turned(layers.query(y, layer), at)
            own = layers.turned(layers.projected(y, layer, "k"), at)
            key = graph.op("Concat", key, own, axis=2)
            value = graph.op("Concat", value, layers.projected(y, layer, "v"), axis=2)
            attended = layers.attended(query, key, value, mask)
        x = layers.finished(x, attended, layer)
    x = layers.norm(x, "norm")
    made = linear(graph, weights, x, "action_out_proj", sizes.width, columns)
    return graph.model({ACTIONS: (made, (1, rows, columns))}, {})


def _gelu(graph: GraphBuilder, x: Value) -> Value:
    op = graph.op
    cube = op("Mul", op("Mul", x, x), op("Mul", x, number(0.044715)))
    bent = op("Tanh", op("Mul", op("Add", x, cube), number((2.0 / np.pi) ** 0.5)))
    return op("Mul", op("Mul", x, number(0.5)), op("Add", bent, number(1.0)))
