# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files that pages use as examples: a bundle, a checkpoint, a recording, a key."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
import tarfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml

from testkit.pages.programs import ROOT

_BUNDLES, _EXAMPLES = ROOT / "config" / "bundles", ROOT / "examples"
_MAPPINGS = ROOT / "src" / "lerobot_bridge" / "lerobot_bridge" / "mappings"
_TESTS = "src.model_tools.test"


_DEPLOYED = {"velocity_command": "velocity_commands", "joint_vel": "joint_vel_rel"}
"""Names of terms in unitree_rl_lab, where they differ from those of contracts."""


def _copy(source: Path, path: Path) -> None:
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, path)


def _copy_bundle(name: str, path: Path) -> None:
    _copy(_BUNDLES / name, path)


def _test_module(name: str) -> Any:
    return importlib.import_module(f"{_TESTS}.{name}")


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, "utf-8")


def _write_archive(path: Path) -> None:
    """Write the archive of a version that is newer than the bundle of the checkout."""
    with TemporaryDirectory() as folder, tarfile.open(path, "w:gz") as archive:
        bundle = Path(folder, "lite3_walk")
        _write_newer_bundle(bundle)
        archive.add(bundle, bundle.name)


def _write_checkpoint(path: Path, cameras: Sequence[str], size: tuple[int, int]) -> None:
    checkpoints = _test_module("make.act.small_checkpoints")
    config = checkpoints.config_of(cameras=dict.fromkeys(cameras, size))
    checkpoints.write_checkpoint(path, config)


def _write_classifier(path: Path) -> None:
    """Write what says for an image of `my_arm` whether the task is done."""
    _test_module("commands.test_calibrate_success").save_classifier(path, "front", (96, 128))


def _write_contract(path: Path) -> None:
    """Write a contract as a person fills it in: without golden rows and nominal figures."""
    path.mkdir()
    text = (_BUNDLES / "lite3_walk" / "policy.yaml").read_text("utf-8").partition("\nnominal:")[0]
    _write_text(re.sub(r"^  golden:.*\n", "", text + "\n", flags=re.M), path / "policy.yaml")


def _write_dataset(path: Path) -> None:
    """Write four episodes of what the policy of `my_arm` saw, of which every other succeeded."""
    frames = importlib.import_module("testkit.lerobot_frames")
    with np.load(_BUNDLES / "so101_reach" / "golden.npz") as golden:
        states, chunks = golden["state"], golden["chunk"]
        images = {
            f"observation.images.{name}": golden[f"cameras.{name}"] for name in ("front", "wrist")
        }
    names = [
        f"{joint}.pos"
        for joint in (
            "shoulder_pan",
            "shoulder_lift",
            "elbow_flex",
            "wrist_flex",
            "wrist_roll",
            "gripper",
        )
    ]
    episodes = list[dict[str, Any]]()
    for episode in range(4):
        row = 2 * episode
        # The arm follows the chunk.
        positions = np.concatenate([states[row, np.newaxis], chunks[row]]).astype(np.float32)
        length = len(positions) - 1
        episodes.append(
            {
                "observation.state": positions[:-1],
                "action": positions[1:],
                "next.success": (np.arange(length) == length - 1) & (episode % 2 == 0),
                **{
                    name: np.repeat(each[row, np.newaxis], length, 0)
                    for name, each in images.items()
                },
            }
        )
    vectors = ("observation.state", "action")
    frames.write_frames(path, episodes, dict.fromkeys(vectors, names), stored="video")


def _write_environment(path: Path) -> None:
    """Write a module whose `make` returns a walking Lite3."""
    path.mkdir()
    text = "from examples.lite3_walk.environment import make\n\n__all__ = ['make']\n"
    _write_text(text, path / "__init__.py")


def _write_parameters(page: str, path: Path) -> None:
    """Write the parameters that a page shows."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    _write_text(text.partition("```yaml\n")[2].partition("```")[0], path)


def _write_flight(path: Path) -> None:
    """Write a recording into the folder of recordings, and its bundle into the home folder."""
    flights = _test_module("prove.replaying.small_flights")
    flight = flights.SmallFlight(flights.seeing(path.parents[2] / "my_policy"))
    flight.stand_and_run(60)
    flight.save(path.with_name("my_policy-20260101T120000Z-attitude"))


def _write_key(path: Path) -> None:
    store = importlib.import_module("testkit.store")
    private, public = store.make_keys(path.parent, path.stem)
    public.unlink()
    private.rename(path)


def _write_motion(path: Path) -> None:
    """Write a motion of a robot with two joints, or as .csv one of a G1."""
    if path.suffix == ".npz":
        _test_module("commands.test_motion").npz(path)
        return
    robot: Any = importlib.import_module("robot_sim.figures").load_robot("g1")
    frames, names = 700, ("x", "y", "z", "qx", "qy", "qz", "qw", *robot.joint_names)
    rows = np.zeros((frames, len(names)))
    rows[:, 2], rows[:, 6] = 0.78, 1.0
    rows[:, 7:] = 0.1 * np.sin(np.arange(frames) / 30)[:, np.newaxis]
    np.savetxt(path, rows, delimiter=",", header=",".join(names), comments="")


def _write_other_model(path: Path) -> None:
    """Write the bundle with its model in another file, as after a compilation."""
    _test_module("tiny_bundle").again(_BUNDLES / "lite3_walk", path)


def _write_newer_bundle(path: Path) -> None:
    _copy_bundle("lite3_walk", path)
    text = (path / "policy.yaml").read_text("utf-8")
    _write_text(re.sub("^version: .*", "version: 1.3.0", text, flags=re.M), path / "policy.yaml")


def _write_recording(path: Path) -> None:
    """Write a walk of a Lite3; with what motion capture sees, if the path says so."""
    walks = _test_module("prove.identification.test_identify")
    load: Any = importlib.import_module("policy_core.bundle.load")
    bundle, also = load.load_bundle(_BUNDLES / "lite3_walk"), {}
    if path.name == "captured":
        also = {"also": walks.Laboratory(walks.watched_by_figures(walks.LITE3.body))}
    walks.record_walk(path, bundle, walks.Robot(), 9.0 if also else 8.0, **also)


def _write_report(kind: str, path: Path) -> None:
    """Write a report about `my_bundle`, with which a stage of its release is healthy."""
    work = path.parents[1 if kind == "shadow" else 0]
    reports = _test_module("ship.release.conftest")
    release = reports.Candidate(work, work / "my_bundle", _BUNDLES / "lite3_walk", None)
    documents: dict[str, Callable[[], Any]] = {
        "shadow": partial(release.shadow, host=path.parent.name),
        "canary": partial(release.trial, name="lite3_walk"),
        "production": partial(release.fleet, r1="healthy"),
    }
    text = json.dumps(documents[kind]())
    _write_text(text.replace('"tiny@1.1.0"', '"lite3_walk@1.3.0"'), path)


def _write_robot_model(path: Path) -> None:
    spec: Any = importlib.import_module("robot_sim.model").build_spec()
    path.write_text(spec.to_xml(), "utf-8")


def _write_smolvla(path: Path) -> None:
    """Write a checkpoint of SmolVLA with its language model in `vlm`."""
    tokenizers = _test_module("make.act.words")
    with patch.dict(sys.modules, {"tokenizers": tokenizers}):
        _test_module("make.act.exports").written_checkpoint_of("smolvla", path)


def _write_rows(path: Path) -> None:
    shutil.copyfile(_BUNDLES / "lite3_walk" / "golden.npz", path)


def _write_seeing_bundle(path: Path) -> None:
    """Write a policy that sees a depth image through an encoder."""
    importlib.import_module("src.policy_inference.test.nodes.bundles").write_encoder_bundle(path)


def _write_session(path: Path) -> None:
    demonstration = importlib.import_module("testkit.demonstration")
    demonstration.write_demonstration(
        path / "episode_0000", 0.5, clip_frames=8, image_topic="image_raw"
    )


def _write_set(path: Path) -> None:
    """Write a set that includes its members."""
    _pin(_BUNDLES / "lite3_gaits", path)


def _write_go2_set(path: Path) -> None:
    """Write the set for a Go2, which walks in both states."""
    with TemporaryDirectory() as folder:
        shutil.copytree(_BUNDLES / "go2_walk", Path(folder, "go2_walk"))
        text = (_BUNDLES / "lite3_gaits" / "set.yaml").read_text("utf-8")
        text = re.sub(r"^    sha256: .*\n", "", text, flags=re.M)
        source = Path(folder, "set")
        source.mkdir()
        _write_text(re.sub(r"lite3_(walk|crouch)", "go2_walk", text), source / "set.yaml")
        _pin(source, path)


def _write_tracker(path: Path) -> None:
    _test_module("make.importers.test_motion").save_tracker(path)


def _write_tracker_answers(path: Path) -> None:
    trackers = _test_module("make.importers.test_motion")
    answers = [*trackers.tracker_answers(), *trackers.OWN]
    path.write_text("".join(answer.replace("=", ": ", 1) + "\n" for answer in answers), "utf-8")


def _write_trace(path: Path) -> None:
    """Write what a demo of an arm records, of two short episodes."""
    episodes: Any = importlib.import_module("robot_sim.arm_episodes")
    pose = importlib.import_module("robot_sim.arm_world").ArmWorld().pose
    recorder = episodes.ArmRecorder()
    for row in range(60):
        target = pose[:6] + 0.01 * np.sin(row)
        recorder.append(time_s=row / 30, pose=pose, target=target, mode=3.0, episode=row // 30)
    result = episodes.Result(seed=1, succeeded=True, closest_m=0.0, took_s=1.0)
    recorder.trace([result, result]).save(path)


def _write_two_joints(path: Path) -> None:
    _write_text(_test_module("tiny_bundle").ROBOT, path)


def _write_training(path: Path) -> None:
    """Write the run of unitree_rl_lab that `go2_walk` could be from."""
    run = path / "logs" / "rsl_rl" / "TASK" / "DATE"
    (run / "exported").mkdir(parents=True)
    (run / "params").mkdir()
    _copy(_BUNDLES / "go2_walk" / "policy.onnx", run / "exported" / "policy.onnx")
    _write_deploy("go2_walk", run / "params" / "deploy.yaml")


def _write_deploy(name: str, path: Path) -> None:
    """Write the file of unitree_rl_lab that describes the policy of a bundle."""
    load: Any = importlib.import_module("policy_core.bundle.load")
    contract = load.load_bundle(_BUNDLES / name).contract
    joints, (action,), command = contract.joints, contract.action.terms, contract.velocity_command
    (observation,) = contract.observations.values()
    deploy = {
        "joint_ids_map": [*range(len(joints.names))],
        "step_dt": 1.0 / contract.rate_hz,
        "stiffness": joints.stiffness.tolist(),
        "damping": joints.damping.tolist(),
        "default_joint_pos": joints.default_position.tolist(),
        "commands": {
            "base_velocity": {
                "ranges": {
                    axis: [float(low), float(high)]
                    for axis, low, high in zip(
                        ("lin_vel_x", "lin_vel_y", "ang_vel_z"),
                        command.min,
                        command.max,
                        strict=True,
                    )
                }
            }
        },
        "actions": {
            "JointPositionAction": {
                "clip": None,
                "joint_names": [".*"],
                "scale": action.scale.tolist(),
                "offset": joints.default_position.tolist(),
                "joint_ids": None,
            }
        },
        "observations": {
            _DEPLOYED.get(term.term, term.term): {
                "params": {},
                "clip": None,
                "scale": np.asarray(term.scale).tolist(),
                "history_length": 1,
            }
            for term in observation.terms
        },
    }
    path.write_text(yaml.safe_dump(deploy, sort_keys=False), "utf-8")


def _pin(source: Path, path: Path) -> None:
    pinned: Any = importlib.import_module("model_tools.make.pinned_set")
    pinned.pin(source, path)


def _write_statistics(path: Path) -> None:
    np.savez(path, mean=np.zeros(45, np.float32), std=np.ones(45, np.float32))


EXAMPLE_FILES: dict[str, Callable[[Path], None]] = {
    "agent.yaml": partial(_copy, _EXAMPLES / "lite3_walk" / "agent.yaml"),
    "answers.yaml": partial(_copy, _EXAMPLES / "lite3_walk" / "answers.yaml"),
    "deploy.yaml": partial(_write_deploy, "lite3_walk"),
    "done.onnx": _write_classifier,
    "first_moves.yaml": partial(_write_parameters, "arms.md"),
    "fleet.json": partial(_write_report, "production"),
    "io_descriptor.yaml": partial(_copy, _EXAMPLES / "lite3_walk" / "io_descriptor.yaml"),
    "laptop_checkpoint": partial(_write_checkpoint, cameras=("laptop", "phone"), size=(240, 320)),
    "lite3_walk.tar.gz": _write_archive,
    "model_1500.pt": partial(_copy, _EXAMPLES / "lite3_walk" / "agent.pt"),
    "my_answers.yaml": _write_tracker_answers,
    "my_arm": partial(_copy_bundle, "so101_reach"),
    "my_bundle": partial(_copy_bundle, "lite3_walk"),
    "my_bundle_int8": _write_other_model,
    "my_contract": _write_contract,
    "my_dataset": _write_dataset,
    "my_dog.xml": _write_robot_model,
    "my_envs": _write_environment,
    "my_gaits": _write_set,
    "my_go2.yaml": partial(_write_parameters, "unitree.md"),
    "my_go2_gaits": _write_go2_set,
    "my_older_bundle": _write_other_model,
    "my_parkour": _write_seeing_bundle,
    "my_policy": partial(_copy_bundle, "lite3_velocity"),
    "my_robot.yaml": partial(_copy, _MAPPINGS / "so101.yaml"),
    "my_smolvla": _write_smolvla,
    "network.yaml": partial(_copy, _EXAMPLES / "lite3_walk" / "network.yaml"),
    "obs_stats.npz": _write_statistics,
    "out/demo-act/trace.npz": _write_trace,
    "out/so101_pick": partial(_copy_bundle, "so101_reach"),
    "out/my/bundle": _write_newer_bundle,
    "plan.yaml": partial(
        _write_text, "{robot: lite3, seeds: 1, duration_s: 4, required_success: 0.1}\n"
    ),
    "policy.onnx": partial(_copy, _BUNDLES / "lite3_walk" / "policy.onnx"),
    "pretrained_model": partial(_write_checkpoint, cameras=("front", "wrist"), size=(96, 128)),
    "private.pem": _write_key,
    "r1/replay.json": partial(_write_report, "shadow"),
    "r2/replay.json": partial(_write_report, "shadow"),
    "recordings/captured": _write_recording,
    "recordings/walk": _write_recording,
    "registry.yml": partial(
        _write_text,
        "{version: 0.1, storage: {filesystem: {rootdirectory: registry}}, http: {addr: ''}}\n",
    ),
    "revoked.yaml": partial(_copy, _EXAMPLES / "registry" / "revoked.yaml"),
    "robot.urdf": _write_two_joints,
    "robot.xml": _write_robot_model,
    "rows.npz": _write_rows,
    "session": _write_session,
    "tracker.onnx": _write_tracker,
    "trial_r1.json": partial(_write_report, "canary"),
    "walk.csv": _write_motion,
    "walk.npz": _write_motion,
    "~/.ros/flights": _write_flight,
    "~/.ros/flights/*": _write_flight,
    "~/.ros/flights/my_policy-20260101T120000Z-attitude": _write_flight,
    "~/unitree_rl_lab": _write_training,
}
"""What writes each, by its path in the working folder, or in the home folder."""


def write_example_files(command: str, folder: Path, home: Path) -> None:
    """Write the example files that a command names, if they are not there yet.

    Args:
        command: The command.
        folder: The working folder.
        home: The home folder.
    """
    for name, write in EXAMPLE_FILES.items():
        is_named = re.search(rf"(?:\$PWD/|(?<![\w./])){re.escape(name)}(?![\w.])", command)
        # A command that makes the file itself finds no other in its place.
        is_made = re.search(rf"--(?:output|export-path) {re.escape(name)}(?![\w.])", command)
        path = home / name[2:] if name.startswith("~/") else folder / name
        if is_named and not is_made and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path)
