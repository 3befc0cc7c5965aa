# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A narrow ResNet-18 for training on a CPU, and its exact equivalent as ACT's full ResNet-18.

LeRobot's ACT needs a full ResNet-18 with frozen batch norms. The narrow network has the same layers
with fewer channels. These are the first channels of the full network; its other channels are zero,
and stay zero through every layer. An export can leave zero channels out again.
"""

from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

WIDTHS = (16, 32, 64, 128)
"""Channels of the four stages; the full ResNet-18 has 64, 128, 256, 512."""


class NarrowResNet(nn.Module):
    """The layers of torchvision's ResNet-18, with their names, up to the last feature map."""

    def __init__(self, widths: tuple[int, int, int, int] = WIDTHS) -> None:
        """Initialize random weights."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        for index, width in enumerate(widths):
            before, stride = widths[max(index - 1, 0)], 1 if index == 0 else 2
            setattr(self, f"layer{index + 1}", _stage(before, width, stride))

    def forward(self, images: Tensor) -> Tensor:
        """Return the feature maps [n, widths[3], h / 32, w / 32] of normalized images."""
        x = torch.relu(self.bn1(self.conv1(images)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        for index in range(4):
            x = self.get_submodule(f"layer{index + 1}")(x)
        return x


def read_encoder(bundle: Path) -> NarrowResNet:
    """Return the image encoder of a bundle whose policy `tools.train_arm` trained.

    The bundle's export folded each batch norm into the preceding convolution, so the batch norms
    here only add the bias.
    """
    (file,) = sorted(bundle.glob("*VisionEncoder/*.onnx"))[:1] or [bundle / "VisionEncoder"]
    graph = onnx.load(file).graph
    arrays = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    network = NarrowResNet()
    filled = network.state_dict()
    norms = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    # the export writes the layers in the order of torchvision's names
    for (name, norm), node in zip(norms, nodes, strict=False):
        weight, bias = (torch.from_numpy(arrays[each].copy()) for each in node.input[1:])
        conv = name.replace("bn", "conv").replace("downsample.1", "downsample.0")
        filled[f"{conv}.weight"], filled[f"{name}.bias"] = weight, bias
        filled[f"{name}.running_var"] = torch.full_like(bias, 1.0 - norm.eps)
    network.load_state_dict(filled)
    network.eval()
    return network


def _stage(before: int, width: int, stride: int) -> nn.Sequential:
    """Return two blocks, the first of which changes the size and the channels."""
    change = None
    if stride != 1 or before != width:
        change = nn.Sequential(
            nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
        )
    return nn.Sequential(BasicBlock(before, width, stride, change), BasicBlock(width, width))


def widened(narrow: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with which a full ResNet-18 yields the narrow one's features, then zeros.

    Args:
        narrow: State dict of a `NarrowResNet`.
        whole: State dict of the network to fill, whose batch norms are frozen; only its names and
            shapes are used.

    Returns:
        A state dict with the names in `whole`.
    """
    filled = {}
    for name, like in whole.items():
        # a variance of 1 keeps unused channels finite; zero weight and bias keep them at 0
        value = torch.ones_like(like) if name.endswith("running_var") else torch.zeros_like(like)
        part = narrow[name].to(like.dtype)
        value[tuple(slice(size) for size in part.shape)] = part
        filled[name] = value
    return filled
