# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Create a success classifier for the demo arm, and judged episodes with which to calibrate it.

    python -m tools.train_arm.success --bundle config/bundles/so101_reach --output out/success

Writes `classifier.onnx`, which locates the cube in the wrist image with the bundle's own encoder
and returns the probability that the tip is above the cube, and `episodes/`, recordings of the
policy on arms whose drives are so weak that many episodes fail. `model_tools calibrate success`
uses both.
"""
# run: short: --scenes 10 --episodes 1

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from rosbags.typesys import Stores, get_typestore

from model_tools.errors import ToolError
from model_tools.simulation.arm import ControlledArm
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.errors import PolicyError
from policy_core.interfaces import Backend, Mode
from policy_core.members.chunk.controller import camera_input
from policy_core.members.chunk.normalise import ImageNormaliser
from policy_inference.backends.registry import OpenedModels, open_models
from policy_inference.bag_file import BagFile
from robot_sim.arm_expert import EPISODE_NS, REACHED_M, ReachJudge
from robot_sim.arm_world import ArmWorld
from robot_sim.driven import NS_PER_S
from tools.arguments import positive_count, seed
from tools.train_arm.scenes import random_scenes

CAMERA = "wrist"
FIRST_SEED = 50_000
"""First seed of the recorded episodes; `model_tools evaluate` begins with seed 1."""
_STIFFNESS, _NEAR_M, _SLOPE_M, _RIDGE = (0.2, 0.45), 0.02, 0.002, 1.0
_BEGIN = 0.8
"""Minimum fraction of the way to the cube covered in scenes; earlier poses do not matter."""
_STANDING_S = 10.0
_TYPES = get_typestore(Stores.ROS2_HUMBLE)
_log = logging.getLogger("train_arm")
Array = npt.NDArray[np.float64]


def classifier(bundle: ChunkBundle, models: OpenedModels, scenes: int, first: int) -> bytes:
    """Return a classifier of the wrist image, as ONNX.

    A linear map from the encoder's features, fitted by weighted least squares on random scenes,
    yields the position of the cube's top in the frame of the tip; the probability falls with
    distance.
    """
    name = bundle.contract.cameras[CAMERA].encoder
    if name is None:
        raise ToolError(f"{bundle.path}: expected an encoder for the camera {CAMERA}, found none")
    drawn, unseen = (
        random_scenes(count, number, begin=_BEGIN)
        for count, number in ((scenes, first), (500, first + 1))
    )
    backend = models[f"graphs.{name}"]
    features = _features(bundle, backend, drawn.images[CAMERA])
    distance_m = np.linalg.norm(drawn.goals, axis=1)
    weights = 1.0 / (_NEAR_M + distance_m)
    near = features * weights[:, np.newaxis]
    square = near.T @ near + _RIDGE * np.eye(features.shape[1])
    matrix = np.linalg.solve(square, near.T @ (drawn.goals * weights[:, np.newaxis]))
    found_m = np.linalg.norm(_features(bundle, backend, unseen.images[CAMERA]) @ matrix, axis=1)
    there_m = np.linalg.norm(unseen.goals, axis=1)
    close = there_m < 2 * REACHED_M
    _log.info(
        "distance in %d unseen scenes within %.0f mm: median error %.1f mm",
        close.sum(),
        2e3 * REACHED_M,
        1e3 * np.median(np.abs(found_m - there_m)[close]),
    )
    return _with_head(bundle.path / bundle.contract.graphs[name].artifacts["onnx"].file, matrix)


def _features(bundle: ChunkBundle, backend: Backend, images: npt.NDArray[np.uint8]) -> Array:
    """Return the encoder's features of images [n, 3, h, w], with a 1 appended [n, features + 1]."""
    (given,), (made,) = backend.inputs.values(), backend.outputs.values()
    normaliser = ImageNormaliser(bundle.contract.cameras[CAMERA], given)
    rows = np.ones((len(images), made.size + 1))
    for row, image in zip(rows, images, strict=True):
        normaliser.apply(np.ascontiguousarray(image.transpose(1, 2, 0)))
        backend.run()
        row[:-1] = made.reshape(-1)
    return rows


def _with_head(encoder: Path, matrix: Array) -> bytes:
    """Return the encoder, followed by the linear map, the distance and the probability."""
    model = onnx.load(encoder)
    graph = model.graph
    (given,), (made,) = graph.input, graph.output
    for node in graph.node:
        node.input[:] = [CAMERA if name == given.name else name for name in node.input]
    given.name = CAMERA
    constants = {
        "head_matrix": matrix[:-1],
        "head_offset": matrix[-1],
        "head_ones": np.ones((3, 1)),
        "head_reached": np.array([[REACHED_M]]),
        "head_slope": np.array([[1.0 / _SLOPE_M]]),
    }
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(values, np.float32), name)
        for name, values in constants.items()
    )
    graph.node.extend(
        [
            helper.make_node("Flatten", [made.name], ["head_flat"]),
            helper.make_node("Gemm", ["head_flat", "head_matrix", "head_offset"], ["head_place"]),
            helper.make_node("Mul", ["head_place", "head_place"], ["head_squares"]),
            helper.make_node("MatMul", ["head_squares", "head_ones"], ["head_square"]),
            helper.make_node("Sqrt", ["head_square"], ["head_distance"]),
            helper.make_node("Sub", ["head_reached", "head_distance"], ["head_short"]),
            helper.make_node("Mul", ["head_short", "head_slope"], ["head_logit"]),
            helper.make_node("Sigmoid", ["head_logit"], ["probability"]),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 1]))
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def record_episode(bundle: ChunkBundle, models: OpenedModels, number: int, folder: Path) -> bool:
    """Record an episode as `episode_recorder` does; return whether the tip reached the cube."""
    random = np.random.default_rng(number)
    arm = ControlledArm(bundle, models)
    with closing(ArmWorld(seed=number, image_size=arm.image_size)) as world:
        world.scale_gains(stiffness=random.uniform(*_STIFFNESS), damping=1.0)
        judge, bag = ReachJudge(), BagFile(folder, _TYPES)
        began_ns: int | None = None
        while began_ns is None or world.time_ns - began_ns < EPISODE_NS:
            sensed = world.sense()
            if began_ns is None and sensed.time_ns > _STANDING_S * NS_PER_S:
                raise ToolError(f"{folder.name}: expected a policy that runs, found: {arm.reason}")
            arm.tick(world, sensed)
            if arm.mode is Mode.RUN and began_ns is None:
                began_ns = sensed.time_ns
            if began_ns is not None:
                if arm.mode not in (Mode.RUN, Mode.HOLD):
                    break
                judge.look(sensed)
                _write(bag, world)
            world.step(bundle.contract.period_ns)
        bag.finish()
    (folder / "episode.json").write_text(
        json.dumps({"number": number, "success": judge.succeeded}), "utf-8"
    )
    return judge.succeeded


def _write(bag: BagFile, world: ArmWorld) -> None:
    sensed, make = world.sense(), _TYPES.types
    sec, nanosec = divmod(sensed.time_ns, NS_PER_S)
    header = make["std_msgs/msg/Header"](
        make["builtin_interfaces/msg/Time"](sec, nanosec), frame_id=""
    )
    messages = {
        "/joint_states": make["sensor_msgs/msg/JointState"](
            header=header,
            name=[*sensed.joint_names],
            position=sensed.joint_pos,
            velocity=sensed.joint_vel,
            effort=sensed.joint_effort,
        )
    }
    for camera in ("front", CAMERA):
        image = world.render(camera)
        height, width, _ = image.shape
        messages[f"/{camera_input(camera)}"] = make["sensor_msgs/msg/Image"](
            header=header,
            height=height,
            width=width,
            encoding="rgb8",
            is_bigendian=0,
            step=3 * width,
            data=np.ascontiguousarray(image).reshape(-1),
        )
    for topic, message in messages.items():
        kind = message.__msgtype__
        bag.write(topic, kind, sensed.time_ns, _TYPES.serialize_cdr(message, kind))


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the policy's bundle")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder to write; must not exist"
    )
    parser.add_argument("--scenes", type=positive_count, default=6000, help="scenes to train on")
    parser.add_argument("--episodes", type=positive_count, default=40, help="to record")
    parser.add_argument("--seed", type=seed, default=1, help="seed of the scenes")
    given = parser.parse_args(args)
    try:
        bundle = load_bundle(given.bundle, kind=ChunkBundle)
        given.output.mkdir(parents=True)
        episodes = given.output / "episodes"
        episodes.mkdir()
        with open_models(bundle.models, ["onnx"]) as models:
            content = classifier(bundle, models, given.scenes, given.seed)
            (given.output / "classifier.onnx").write_bytes(content)
            reached = [
                record_episode(
                    bundle, models, FIRST_SEED + number, episodes / f"episode_{number:04d}"
                )
                for number in range(given.episodes)
            ]
    except (PolicyError, OSError) as error:
        _log.error("train_arm.success: %s", error)
        return 1
    _log.info("%s: %d of %d episodes reached the target", episodes, sum(reached), len(reached))
    return 0


if __name__ == "__main__":
    sys.exit(main())
