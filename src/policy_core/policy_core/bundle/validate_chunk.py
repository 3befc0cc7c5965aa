# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cross-checks on a chunk policy's contract: everything that involves more than one field."""

import math
import re
from collections.abc import Iterator, Sequence

from policy_core.bundle.chunk_contract import Camera, ChunkContract, JointUnit, Scaling
from policy_core.bundle.contract import Graph
from policy_core.bundle.schema import Found, Reader, expect_paired
from policy_core.bundle.state_fields import JOINT_STATES
from policy_core.bundle.validate_body import BodyValidator, listed

_TOPIC_PART = "[A-Za-z][A-Za-z0-9_]*"
_TOPICS_OF_ROBOTS = ("estop", JOINT_STATES.name)
_STATISTICS = {"mean_std": ("mean", "std"), "min_max": ("min", "max"), "identity": ()}
_RANGES = ("range_m100_100", "range_0_100")


def validate_chunk(contract: ChunkContract, reader: Reader) -> None:
    """Add contradictions between fields of a resolved contract to `reader`."""
    check = _ChunkValidator(contract, reader)
    check.joints()
    check.stand()
    check.unguarded()
    check.units()
    check.vectors()
    for name, camera in contract.cameras.items():
        check.camera(name, camera)
    check.chunk()
    check.denoising()
    check.success()
    check.tensors()
    check.topics()
    check.files()


def check_unit(key: str, unit: JointUnit, reader: Reader) -> None:
    """Add contradictions between fields of a joint's unit to `reader`."""
    ends = (unit.low_rad, unit.high_rad)
    if unit.unit in _RANGES:
        reader.expect(
            None not in ends and unit.low_rad != unit.high_rad,
            key,
            f"different values for low_rad and high_rad (they define {unit.unit})",
            list(ends),
        )
        reader.expect(
            unit.sign == 1 and unit.zero_rad == 0.0,
            key,
            "neither sign nor zero_rad",
            Found("at least one of them"),
            "swap low_rad and high_rad if the range is reversed",
        )
    else:
        reader.expect(
            ends == (None, None), key, f"neither low_rad nor high_rad for {unit.unit}", list(ends)
        )


class _ChunkValidator(BodyValidator):
    def __init__(self, contract: ChunkContract, reader: Reader) -> None:
        super().__init__(contract, reader)
        self.contract = contract
        encoders = {camera.encoder for camera in contract.cameras.values()}
        self._condition = None if contract.denoising is None else contract.denoising.condition
        others = encoders | {self._condition, contract.classifier}
        self._policies = [name for name in contract.graphs if name not in others]

    def unguarded(self) -> None:
        """Check that the contract has no settings for inputs that a chunk policy does not have."""
        tilt_rad = self.contract.safety.max_tilt_rad
        self.expect(
            tilt_rad is None,
            "safety.max_tilt_rad",
            "nothing (a chunk policy reads no orientation)",
            tilt_rad,
        )
        if self.contract.nominal is not None and self.contract.nominal.observation:
            self.reader.problem(
                "nominal.observation",
                "nothing for a chunk policy",
                listed(self.contract.nominal.observation),
            )

    def units(self) -> None:
        """Check that each of the policy's joints has a complete unit."""
        contract = self.contract
        vectors = [vector.joints for vector in (contract.state, contract.action) if vector]
        used = {joint for joints in vectors for joint in joints}
        self.known("units", list(contract.units))
        for joint in sorted(used - contract.units.keys()):
            self.reader.problem(
                "units",
                f"a unit for {joint} (the checkpoint does not contain it)",
                Found(f"units for {listed(contract.units)}"),
            )
        for joint, unit in contract.units.items():
            check_unit(f"units.{joint}", unit, self.reader)

    def vectors(self) -> None:
        """Check the joints and statistics of the state, environment state and action."""
        contract = self.contract
        for name, vector in (("state", contract.state), ("action", contract.action)):
            if vector is not None:
                self.known(f"{name}.joints", vector.joints)
                self._scaling(f"{name}.normalisation", vector.normalisation, vector.joints)
        outside = contract.environment_state
        inputs = (contract.state, outside, *contract.cameras.values())
        self.unique("feature", [each.feature for each in inputs if each is not None])
        if outside is not None:
            names = [f"value {i}" for i in range(outside.size)]
            self._scaling("environment_state.normalisation", outside.normalisation, names)
        for joint in contract.action.grippers:
            self.expect(
                joint in contract.action.joints, "action.grippers", "joints of the action", joint
            )

    def _scaling(self, key: str, scaling: Scaling, names: Sequence[str]) -> None:
        wanted = _STATISTICS[scaling.mode]
        for field in ("mean", "std", "min", "max"):
            values = getattr(scaling, field)
            if field in wanted:
                self.expect(
                    values is not None and len(values) == len(names),
                    f"{key}.{field}",
                    f"{len(names)} values for {scaling.mode}",
                    Found("nothing" if values is None else f"{len(values)}"),
                )
            elif values is not None:
                self.reader.problem(f"{key}.{field}", f"nothing for {scaling.mode}", list(values))
        if scaling.mode == "min_max" and scaling.min and scaling.max:
            for name, low, high in zip(names, scaling.min, scaling.max, strict=False):
                self.expect(
                    low <= high, f"{key}.min of {name}", f"at most the max of {high:g}", low
                )

    def camera(self, name: str, camera: Camera) -> None:
        """Check a camera's name, statistics and encoder."""
        key = f"cameras.{name}"
        self.expect(
            re.fullmatch(_TOPIC_PART, name) is not None,
            key,
            "a name valid in a topic (a letter, then letters, digits or _)",
            name,
        )
        self._scaling(f"{key}.normalisation", camera.normalisation, ("red", "green", "blue"))
        if camera.encoder is None:
            return
        graph = self.contract.graphs.get(camera.encoder)
        if graph is None:
            self.reader.problem(
                f"{key}.encoder",
                f"one of the graphs ({listed(self.contract.graphs)})",
                camera.encoder,
            )
        elif (len(graph.inputs), len(graph.outputs)) != (1, 1):
            self.reader.problem(
                f"graphs.{camera.encoder}",
                "one input and one output for an encoder",
                Found(f"{len(graph.inputs)} and {len(graph.outputs)}"),
            )
        else:
            image = (1, 3, camera.height, camera.width)
            ((tensor, found),) = graph.inputs.items()
            self._shape(
                f"graphs.{camera.encoder}.inputs.{tensor}",
                found.shape,
                image,
                f"the shape of the image from {name}",
            )

    def chunk(self) -> None:
        """Check that the chunk is long enough, and that the policy sees a camera or a vector."""
        chunk = self.contract.chunk
        self.expect(
            chunk.steps <= chunk.size,
            "chunk.steps",
            f"at most the {chunk.size} steps of a chunk",
            chunk.steps,
        )
        self.expect(
            bool(self.contract.cameras) or self.contract.environment_state is not None,
            "cameras",
            "a camera or an environment_state",
            Found("neither"),
        )

    def denoising(self) -> None:
        """Check that the settings for the denoising method, and no others, are present."""
        denoising, expect = self.contract.denoising, self.expect
        if denoising is None:
            return
        schedule, is_flow = denoising.schedule, denoising.method == "flow"
        if is_flow != (schedule is None):
            self.reader.problem(
                "denoising.schedule",
                "no schedule for flow" if is_flow else f"the training noise for {denoising.method}",
                Found("nothing" if schedule is None else "one"),
            )
        elif schedule is not None:
            expect(
                denoising.steps <= schedule.timesteps,
                "denoising.steps",
                f"at most the {schedule.timesteps} training timesteps",
                denoising.steps,
            )
        joints = len(self.contract.action.joints)
        expect(
            self.contract.columns >= joints,
            "denoising.columns",
            f"at least the {joints} joints",
            denoising.columns,
        )
        expect(
            self._condition is None or self._condition in self.contract.graphs,
            "denoising.condition",
            f"one of the graphs ({listed(self.contract.graphs)})",
            self._condition,
        )
        expect(
            denoising.time.size % 2 == 0,
            "denoising.time.size",
            "an even number (half sines, half cosines)",
            denoising.time.size,
        )
        expect(
            self.contract.chunk.ensemble_coeff is None,
            "chunk.ensemble_coeff",
            "nothing (chunks made from different noise have no meaningful mean)",
            self.contract.chunk.ensemble_coeff,
        )
        for name, camera in self.contract.cameras.items():
            expect(
                denoising.observations == 1 or camera.encoder is not None,
                f"cameras.{name}.encoder",
                f"a graph (the policy receives {denoising.observations} observations)",
                Found("nothing"),
            )

    def success(self) -> None:
        """Check that the success signal has exactly one source, and that the source exists."""
        signal, expect = self.contract.success, self.expect
        if signal is None:
            return
        expect(
            (signal.graph is None) != (not signal.joints),
            "success",
            "either a graph or joints to detect success",
            Found("both" if signal.graph else "neither"),
        )
        expect_paired(
            signal.graph is not None,
            signal.threshold,
            "success.threshold",
            "a graph",
            self.reader.problem,
        )
        self.known("success.joints", list(signal.joints))
        for joint, ends in signal.joints.items():
            expect(
                len(ends) == 2 and ends[0] < ends[1],
                f"success.joints.{joint}",
                "[lowest, highest] in rad",
                list(ends),
            )
        if signal.graph is None:
            return
        graph = self.contract.graphs.get(signal.graph)
        if graph is None:
            self.reader.problem(
                "success.graph", f"one of the graphs ({listed(self.contract.graphs)})", signal.graph
            )
            return
        key, seen = f"graphs.{signal.graph}", dict(self._classified())
        for tensor, found in graph.inputs.items():
            if tensor in seen:
                self._shape(
                    f"{key}.inputs.{tensor}", found.shape, seen[tensor], "the shape of its source"
                )
            else:
                self.reader.problem(
                    f"{key}.inputs.{tensor}",
                    f"one of {listed(seen)}",
                    Found("an input with a different name"),
                )
        sizes = [math.prod(found.shape) for found in graph.outputs.values()]
        expect(sizes == [1], f"{key}.outputs", "one output with one value (a probability)", sizes)

    def _classified(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name and shape of each input that a success classifier may have."""
        contract = self.contract
        for name, camera in contract.cameras.items():
            yield name, (1, 3, camera.height, camera.width)
        if contract.state is not None:
            yield "state", (1, len(contract.state.joints))
        if contract.environment_state is not None:
            yield "environment_state", (1, contract.environment_state.size)

    def tensors(self) -> None:
        """Check the policy graph's tensors: one source per input, the action's shape, the types."""
        contract = self.contract
        if len(self._policies) != 1:
            self.reader.problem(
                "graphs",
                f"one graph that is {self._others()}",
                listed(self._policies),
            )
            return
        name = self._policies[0]
        graph, key = contract.graphs[name], f"graphs.{name}"
        observed, stepped = list(self._observed()), list(self._stepped())
        condition = contract.graphs.get(self._condition) if self._condition else None
        if self._condition is None:
            self._filled(name, [*observed, *stepped])
        elif condition is not None:
            made = [(tensor, one.shape) for tensor, one in condition.outputs.items()]
            self._filled(self._condition, observed)
            self._filled(name, [*stepped, *made])
        action = contract.action
        output = graph.outputs.get(action.tensor)
        if output is None:
            self.reader.problem(
                f"{key}.outputs", f"the output {action.tensor}", listed(graph.outputs)
            )
        else:
            self._shape(
                f"{key}.outputs.{action.tensor}",
                output.shape,
                (1, contract.rows, contract.columns),
                "the shape of a chunk",
            )
        as_they_are = {
            camera.tensor
            for camera in contract.cameras.values()
            if camera.encoder is None and camera.normalisation.mode == "identity"
        }
        for name, tensors in contract.graphs.items():
            for tensor, found in {**tensors.inputs, **tensors.outputs}.items():
                takes_images = name in (self._policies[0], self._condition)
                self.expect(
                    found.dtype.startswith("float")
                    or (found.dtype == "uint8" and takes_images and tensor in as_they_are),
                    f"graphs.{name}.{tensor}.dtype",
                    "float32 or float16",
                    found.dtype,
                    "uint8 is only for images from a camera with identity normalization"
                    if found.dtype == "uint8"
                    else "",
                )

    def _others(self) -> str:
        """Return, in words, the roles that the policy graph must not have."""
        kinds = ["an encoder"]
        kinds += ["the condition"] * (self._condition is not None)
        kinds += ["the success classifier"] * (self.contract.classifier is not None)
        return f"not {kinds[0]}" if len(kinds) == 1 else f"neither {' nor '.join(kinds)}"

    def _filled(self, name: str, sources: Sequence[tuple[str, tuple[int, ...] | None]]) -> None:
        """Check that each graph input has one source, with a matching shape if that is known."""
        inputs, key = self.contract.graphs[name].inputs, f"graphs.{name}.inputs"
        wanted = dict(sources)
        self.unique(key, [tensor for tensor, _ in sources])
        for tensor in sorted(inputs.keys() - wanted.keys()):
            self.reader.problem(
                f"{key}.{tensor}", "a camera or a vector that fills it", Found("nothing")
            )
        for tensor, shape in wanted.items():
            found = inputs.get(tensor)
            if found is None:
                self.reader.problem(key, f"the input {tensor}", listed(inputs))
            elif shape is not None:
                self._shape(f"{key}.{tensor}", found.shape, shape, "the shape of its source")

    def _stepped(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the tensor and shape of each input that a denoising step fills."""
        if (denoising := self.contract.denoising) is not None:
            yield denoising.tensor, (1, self.contract.rows, self.contract.columns)
            yield denoising.time.tensor, (1, denoising.time.size)

    def _observed(self) -> Iterator[tuple[str, tuple[int, ...] | None]]:
        """Yield the tensor, and the shape if known, of each input that an observation fills."""
        contract = self.contract
        steps = contract.observation_steps
        several = (steps,) if steps > 1 else ()
        if contract.state is not None:
            yield contract.state.tensor, (1, *several, len(contract.state.joints))
        if contract.environment_state is not None:
            outside = contract.environment_state
            yield outside.tensor, (1, *several, outside.size)
        for camera in contract.cameras.values():
            if camera.encoder is None:
                yield camera.tensor, (1, 3, camera.height, camera.width)
            else:
                features = _features(contract.graphs.get(camera.encoder))
                if features is not None:
                    features = (1, *several, *features[1:])
                yield camera.tensor, features

    def _shape(self, key: str, found: tuple[int, ...], wanted: tuple[int, ...], why: str) -> None:
        self.expect(found == wanted, f"{key}.shape", f"{list(wanted)} ({why})", list(found))

    def topics(self) -> None:
        """Check that the environment state's topic is not used by the robot or a camera."""
        if (outside := self.contract.environment_state) is None:
            return
        images = [f"{name}/image_raw" for name in self.contract.cameras]
        taken = {*_TOPICS_OF_ROBOTS, *images, *(f"{image}/compressed" for image in images)}
        self.expect(
            outside.topic not in taken,
            "environment_state.topic",
            "a topic of its own",
            outside.topic,
        )

    def files(self) -> None:
        """Check that no path leaves the bundle, and that all graphs have the same back ends."""
        contract = self.contract
        self.paths(contract, {"golden": contract.golden})
        first = next(iter(contract.graphs.values())).artifacts
        for name, graph in contract.graphs.items():
            key = f"graphs.{name}.artifacts"
            self.expect(
                graph.artifacts.keys() == first.keys(),
                key,
                f"the same back ends as the other graphs ({listed(first)})",
                listed(graph.artifacts),
            )
            for backend in graph.artifacts.keys() & first.keys():
                target, other = graph.artifacts[backend].target, first[backend].target
                self.expect(
                    target == other,
                    f"{key}.{backend}.target",
                    f"{other} (as in the other graphs)",
                    target,
                )
        self.reports(contract.reports, first)


def _features(graph: Graph | None) -> tuple[int, ...] | None:
    """Return the shape of an encoder's output; None if unknown."""
    if graph is None or len(graph.outputs) != 1:
        return None
    return next(iter(graph.outputs.values())).shape
