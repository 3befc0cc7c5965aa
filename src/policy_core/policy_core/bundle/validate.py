# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cross-checks on a contract: everything that involves more than one field."""

import math
from collections.abc import Collection, Sequence

import numpy as np

from policy_core.bundle.body import Nominal
from policy_core.bundle.camera_image import AnyImage, check_image
from policy_core.bundle.contract import (
    MOST_VALUES,
    Action,
    ChainLink,
    CommandedValue,
    Estimation,
    File,
    GainOutput,
    Graph,
    JointContract,
    Normalisation,
    Observation,
    ReferenceMotion,
    Tensor,
    Term,
    VelocityCommand,
)
from policy_core.bundle.height_scan import check_scan
from policy_core.bundle.schema import Found, Reader
from policy_core.bundle.state_fields import STATE_TOPICS
from policy_core.bundle.terms import (
    PERCEPTION,
    TERMS,
    TermSpec,
    is_of_anchor,
    is_of_motion,
    is_perceived,
    term_names,
)
from policy_core.bundle.validate_body import BodyValidator, listed

# An external vector has its own message type, so it cannot share a topic with these.
_TOPICS_OF_ROBOTS = (*STATE_TOPICS, "estop")


def validate(contract: JointContract, reader: Reader) -> None:
    """Add contradictions between fields of a resolved contract to `reader`."""
    check = _JointValidator(contract, reader)
    check.joints()
    check.stand()
    check.tensors()
    for name, observation in contract.observations.items():
        check.observation(f"observations.{name}", observation, contract.model.inputs.get(name))
    check.topics()
    check.action(contract.action)
    check.velocity_command(contract.velocity_command)
    check.motion(contract.motion)
    check.estimation(contract.estimation)
    if contract.nominal:
        check.observed(contract.nominal)
    check.files()


class _JointValidator(BodyValidator):
    def __init__(self, contract: JointContract, reader: Reader) -> None:
        super().__init__(contract, reader)
        self.contract = contract

    def free_joints(self) -> Collection[str]:
        """Return the joints that the action commands by velocity or effort."""
        return [
            joint
            for term in self.contract.action.terms
            if term.kind != "position"
            for joint in term.joints
        ]

    def tensors(self) -> None:
        """Check that every model input has exactly one source and every named tensor exists."""
        model, states = self.contract.model, self.contract.state
        sources = [*self.contract.observations, *(pair.input for pair in states)]
        for name in sorted(model.inputs.keys() - set(sources)):
            self.reader.problem(
                f"model.inputs.{name}", "an observation or a state that fills it", Found("nothing")
            )
        for name in sorted(set(sources) - model.inputs.keys()):
            self.reader.problem("model.inputs", f"the input {name}", listed(model.inputs))
        self.unique("state", sources)
        action = self.contract.action
        outputs = [action.output, *(pair.output for pair in states)]
        self.unique("state", outputs)
        gains = [gain.output for gain in action.gain_outputs.values()]
        for name in gains:
            is_own = [*outputs, *gains].count(name) == 1
            self.expect(is_own, "action.gains", "an output that has no other use", name)
        for name in [*outputs, *gains]:
            self.expect(
                name in model.outputs, "model.outputs", f"the output {name}", listed(model.outputs)
            )
        for i, pair in enumerate(states):
            into, out = model.inputs.get(pair.input), model.outputs.get(pair.output)
            if into and out:
                self.expect(
                    into == out,
                    f"state[{i}]",
                    "an input and an output of the same shape and type",
                    Found(f"{pair.input} {_text(into)} and {pair.output} {_text(out)}"),
                )

    def observation(self, key: str, observation: Observation, tensor: Tensor | None) -> None:
        """Check the terms, and that their values fill the input exactly."""
        size: int | None = 0
        for i, term in enumerate(observation.terms):
            where, spec = f"{key}.terms[{i}]", TERMS.get(term.term)
            if spec is None:
                self.reader.problem(f"{where}.term", f"one of {', '.join(TERMS)}", term.term)
                size = None
                continue
            self._term(where, term, spec, observation)
            if tensor is not None:
                self.expect(
                    tensor.dtype.startswith("float") or spec.field == "tick",
                    where,
                    f"the term tick (the input is {tensor.dtype})",
                    term.term,
                )
            if size is not None:
                size += len(term_names(term, self.contract)) * (
                    term.history_length or observation.history.length
                )
        if size is not None:
            self.expect(
                size <= MOST_VALUES,
                f"{key}.terms",
                f"at most {MOST_VALUES} values, including history",
                Found(f"{size}"),
            )
        if size is not None and tensor is not None:
            self.expect(
                size == math.prod(tensor.shape),
                f"{key}.terms",
                f"{math.prod(tensor.shape)} values for the input {list(tensor.shape)}",
                Found(f"{size}"),
            )

    def _term(self, key: str, term: Term, spec: TermSpec, observation: Observation) -> None:
        self.known(f"{key}.joints", term.joints or ())
        self.ordered(f"{key}.clip", term.clip)
        options = {
            "joints": spec.size == "joints",
            "source": spec.field == "lin_vel_body",
            "topic": spec.field == "external",
            "size": spec.size == "external",
            "timeout_s": spec.size == "external",
            "commanded": spec.size == "external",
            "scan": spec.size == "scan",
            "scene": spec.size == "scan",
            "depth": term.term == "depth",
            "image": term.term == "image",
            "encoder": spec.size == "camera",
            "output": spec.size == "output",
            "ahead": is_of_motion(term),
            "period_s": spec.size == "phase",
            "offsets": spec.size == "phase",
            "standing": spec.size == "phase",
            "parts": bool(spec.parts),
        }
        required = ("topic", "size", "scan", "depth", "image", "output", "period_s")
        for option, belongs in options.items():
            where, given = f"{key}.{option}", getattr(term, option) is not None
            self.expect(
                belongs or not given,
                where,
                "nothing",
                Found(option),
                f"the term {term.term} has no such option",
            )
            self.expect(
                given or not belongs or option not in required,
                where,
                f"a value for {term.term}",
                Found("nothing"),
            )
        if term.commanded is not None:
            self._commanded(f"{key}.commanded", term.commanded, term.size)
        if term.scan is not None and spec.size == "scan":
            check_scan(term.scan, f"{key}.scan", self.reader.problem)
        image = term.camera_image
        if image is not None and spec.size == "camera":
            period_s = 1.0 / self.contract.rate_hz
            check_image(image, f"{key}.{term.term}", period_s, self.reader.problem)
            if term.encoder is not None:
                self._encoder(f"{key}.encoder", term.encoder, image)
        if term.topic is not None:
            self.expect(
                is_perceived(term.topic) == (spec.size in ("scan", "camera")),
                f"{key}.topic",
                f"a topic that begins with {PERCEPTION} for perceived values, and only for those",
                term.topic,
            )
        if spec.parts:
            for part in term.parts or ():
                self.expect(
                    part in spec.parts, f"{key}.parts", f"one of {', '.join(spec.parts)}", part
                )
            self.unique(f"{key}.parts", term.parts or ())
        if spec.size == "output" and term.output is not None:
            self._output(f"{key}.output", term.output)
        self.expect(
            term.history_length is None or observation.history.layout == "per_term",
            f"{key}.history_length",
            "nothing",
            term.history_length,
            "only the per_term layout has a length per term",
        )

    def _commanded(self, key: str, values: Sequence[CommandedValue], size: int | None) -> None:
        """Check that each value in a vector has a name and a default within its limits."""
        self.expect(
            len(values) == size, key, f"as many values as `size` ({size})", Found(f"{len(values)}")
        )
        self.unique(key, [value.name for value in values])
        for i, value in enumerate(values):
            self.expect(
                value.min <= value.default <= value.max,
                f"{key}[{i}].default",
                f"a value in [{value.min:g}, {value.max:g}]",
                value.default,
            )

    def _encoder(self, key: str, encoder: Graph, image: AnyImage) -> None:
        """Check that an encoder takes the images and returns one vector."""
        for name, tensors in (("inputs", encoder.inputs), ("outputs", encoder.outputs)):
            self.expect(len(tensors) == 1, f"{key}.{name}", "one tensor", listed(tensors))
            for tensor, found in tensors.items():
                self.expect(
                    found.dtype.startswith("float"),
                    f"{key}.{name}.{tensor}.dtype",
                    "float32 or float16",
                    found.dtype,
                )
        for tensor, found in encoder.inputs.items():
            self.expect(
                math.prod(found.shape) == image.count,
                f"{key}.inputs.{tensor}.shape",
                f"{image.count} values (all images in the stack)",
                list(found.shape),
            )

    def _output(self, key: str, name: str) -> None:
        model = self.contract.model
        if name == self.contract.action.output:
            self.reader.problem(
                key,
                "an output other than the action",
                name,
                "to observe the previous action, use the term last_action",
            )
        elif name not in model.outputs:
            self.reader.problem(key, f"one of the model's outputs ({listed(model.outputs)})", name)

    def topics(self) -> None:
        """Check that no external topic is the robot's own, and each has one kind of content."""
        sizes: dict[str, int | None] = {}
        perceived: dict[str, object] = {}
        for name, observation in self.contract.observations.items():
            for i, term in enumerate(observation.terms):
                key = f"observations.{name}.terms[{i}]"
                self.expect(
                    term.topic not in _TOPICS_OF_ROBOTS,
                    f"{key}.topic",
                    "a topic of its own",
                    Found(f"{term.topic!r}, which carries the robot's own messages"),
                )
                if term.topic:
                    first = sizes.setdefault(term.topic, term.size)
                    self.expect(
                        first == term.size,
                        f"{key}.size",
                        f"{first} (as in the first use of the topic {term.topic})",
                        term.size,
                    )
                    here = (term.scan, term.camera_image, term.encoder, term.commanded)
                    self.expect(
                        perceived.setdefault(term.topic, here) == here,
                        key,
                        f"the same content on the topic {term.topic} as in its first use",
                        Found("different content"),
                    )

    def velocity_command(self, command: VelocityCommand | None) -> None:
        """Check that a policy that reads commands states a range that includes zero."""
        if command is None:
            terms = self.contract.terms
            self.expect(
                not any(term.term == "velocity_command" or term.standing for term in terms),
                "velocity_command",
                "the command range used in training (a term reads the command)",
                Found("nothing"),
            )
            return
        for axis, low, high in zip(("vx", "vy", "yaw rate"), command.min, command.max, strict=True):
            self.expect(
                low <= 0.0 <= high,
                "velocity_command",
                f"min <= 0 <= max for {axis} (zero means stop)",
                [low, high],
            )

    def motion(self, motion: ReferenceMotion | None) -> None:
        """Check that terms need a motion if, and only if, there is one; check source and anchor."""
        shown = [term for term in self.contract.terms if term.term in TERMS and is_of_motion(term)]
        if motion is None:
            for term in shown[:1]:
                self.reader.problem(
                    "motion", f"the reference motion for the term {term.term}", Found("nothing")
                )
            return
        if not shown:
            self.reader.problem(
                "motion",
                "a term that reads the motion (such as motion_joint_pos), or no `motion` section",
                Found("no such term"),
            )
            return
        self._source_of_motion(motion, shown)
        anchored = [term.term for term in shown if is_of_anchor(term)]
        if motion.anchor is None:
            for name in anchored[:1]:
                self.reader.problem("motion.anchor", f"the body of {name}", Found("nothing"))
            return
        self._chain("motion.anchor.chain", motion.anchor.chain)

    def _chain(self, key: str, chain: Sequence[ChainLink]) -> None:
        """Check that a chain's joints are this robot's, and its axes and rotations are nonzero."""
        for i, link in enumerate(chain):
            self.known(f"{key}[{i}].joint", [] if link.joint is None else [link.joint])
            for name, values in (("axis", link.axis), ("quat_xyzw", link.quat_xyzw)):
                self.expect(any(values), f"{key}[{i}].{name}", "a length > 0", list(values))

    def estimation(self, estimation: Estimation | None) -> None:
        """Check that legs and IMU are described if, and only if, the base velocity is estimated."""
        odometry = {
            f"observations.{name}.terms[{i}]": term
            for name, observation in self.contract.observations.items()
            for i, term in enumerate(observation.terms)
            if term.term in ("base_lin_vel", "base_pos", "motion_anchor_pos_b")
        }
        if not any(term.source == "estimator" for term in odometry.values()):
            self.expect(
                estimation is None,
                "estimation",
                "a base_lin_vel term with source: estimator, or no `estimation` section",
                Found("no such term"),
            )
            return
        for key, term in odometry.items():
            self.expect(
                term.source == "estimator",
                key,
                "base_lin_vel with source: estimator (as in another term)",
                Found(f"{term.term} from the odometry"),
                "the estimator replaces the odometry and provides no position",
            )
        if estimation is None:
            self.reader.problem(
                "estimation", "legs and an IMU (base_lin_vel is estimated)", Found("nothing")
            )
            return
        self._legs(estimation)

    def _legs(self, estimation: Estimation) -> None:
        """Check that legs have unique names, and joints of this robot."""
        self.unique("estimation.legs", [leg.name for leg in estimation.legs])
        for i, leg in enumerate(estimation.legs):
            key = f"estimation.legs[{i}]"
            self._chain(f"{key}.chain", leg.chain)
            has_joint = any(link.joint is not None for link in leg.chain)
            self.expect(has_joint, f"{key}.chain", "at least one link with a joint", Found("none"))

    def _source_of_motion(self, motion: ReferenceMotion, shown: Sequence[Term]) -> None:
        """Check that frames come either from a clip or from topics, with that source's settings."""
        if (motion.clip is None) == (motion.live is None):
            found = "nothing" if motion.live is None else "both"
            self.reader.problem("motion", "either `clip` or `live`", Found(found))
        elif motion.live is None:
            self.expect(
                motion.at_end is not None,
                "motion.at_end",
                "hold or loop for a clip",
                Found("nothing"),
            )
        else:
            self.expect(
                motion.at_end is None,
                "motion.at_end",
                "nothing (a live motion has no last frame)",
                motion.at_end,
            )
        for term in shown:
            self.expect(
                motion.live is None or not term.ahead,
                f"observations: `ahead` of {term.term}",
                "0 (only the newest frame of a live motion is known)",
                term.ahead,
            )

    def action(self, action: Action) -> None:
        """Check that the terms use the whole output and command each joint once."""
        driven = [joint for term in action.terms for joint in term.joints]
        self.unique("action.terms", driven)
        for i, term in enumerate(action.terms):
            self.known(f"action.terms[{i}].joints", term.joints)
            self.ordered(f"action.terms[{i}].clip", term.clip)
        tensor = self.contract.model.outputs.get(action.output)
        if tensor is None:
            return
        self.expect(
            tensor.dtype.startswith("float"),
            f"model.outputs.{action.output}.dtype",
            "float32 or float16 for the output that commands joints",
            tensor.dtype,
        )
        self.expect(
            math.prod(tensor.shape) == len(driven),
            "action.terms",
            f"{math.prod(tensor.shape)} joints for the output {action.output} {list(tensor.shape)}",
            Found(f"{len(driven)}"),
        )
        for name, gain in action.gain_outputs.items():
            self._gain(f"action.gains.{name}", gain, driven)

    def _gain(self, key: str, gain: GainOutput, joints: Sequence[str]) -> None:
        """Check that a gain output has one value per joint in the action, and valid bounds."""
        tensor = self.contract.model.outputs.get(gain.output)
        if tensor is not None:
            self.expect(
                tensor.dtype.startswith("float") and math.prod(tensor.shape) == len(joints),
                f"{key}.output",
                f"float32 or float16 values for the {len(joints)} joints of the action",
                Found(f"{gain.output} {_text(tensor)}"),
            )
        for i in np.flatnonzero(gain.min > gain.max).tolist():
            self.reader.problem(
                f"{key} of {joints[i]}", "min <= max", [gain.min[i].item(), gain.max[i].item()]
            )

    def observed(self, nominal: Nominal) -> None:
        """Check the statistics in `nominal` for each model input."""
        for name, statistics in nominal.observation.items():
            where, tensor = f"nominal.observation.{name}", self.contract.model.inputs.get(name)
            if tensor is None:
                inputs = listed(self.contract.model.inputs)
                self.reader.problem(where, f"one of the model's inputs ({inputs})", name)
                continue
            size = math.prod(tensor.shape)
            for key in ("mean", "std", "min", "max"):
                found = len(getattr(statistics, key))
                self.expect(
                    found == size,
                    f"{where}.{key}",
                    f"{size} values (the size of the model's input)",
                    Found(f"{found}"),
                )
            for i, (low, high) in enumerate(zip(statistics.min, statistics.max, strict=False)):
                self.expect(low <= high, f"{where}.min[{i}]", f"at most the max of {high:g}", low)

    def files(self) -> None:
        """Check that no path leaves the bundle and that each report belongs to an artifact."""
        contract = self.contract
        stated: dict[str, File | Normalisation | None] = {
            **{
                f"observations.{key}.normalisation": o.normalisation
                for key, o in contract.observations.items()
            },
            **{f"{key}.scene": term.scene for key, (_, term) in contract.scenes.items()},
            "motion.clip": contract.motion.clip if contract.motion else None,
            "model.golden": contract.model.golden,
            "initial_state": contract.initial_state,
        }
        self.paths(contract, stated)
        self.reports(contract.reports, contract.model.artifacts)


def _text(tensor: Tensor) -> str:
    return f"{tensor.dtype}{list(tensor.shape)}"
