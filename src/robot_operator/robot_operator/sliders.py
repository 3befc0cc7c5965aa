# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Values that a policy accepts besides the velocity, such as a height, set with keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policy_core.bundle.contract import CommandedValue

NEXT, LOWER, RAISE = "n", "pagedown", "pageup"
_STEPS = {LOWER: -1, RAISE: 1}
_COUNT = 20
"""Number of steps from the lowest to the highest value."""


@dataclass(slots=True)
class _Slider:
    topic: str
    limits: CommandedValue
    value: float

    def move(self, steps: int) -> None:
        low, high = self.limits.min, self.limits.max
        self.value = min(max(self.value + steps * (high - low) / _COUNT, low), high)

    def draw(self) -> str:
        low, high, unit = self.limits.min, self.limits.max, f" {self.limits.unit}".rstrip()
        place = round(_COUNT * (self.value - low) / (high - low)) if high > low else 0
        scale = "-" * place + "|" + "-" * (_COUNT - place)
        return f"{low:g} {scale} {high:g}{unit}: {self.value:.3g}{unit}"


class Sliders:
    """One slider per value; a topic's values are commanded once a key has moved one of them."""

    def __init__(self, by_topic: Mapping[str, Sequence[CommandedValue]]) -> None:
        """Start from the defaults; `by_topic` lists the values of each topic's message in order."""
        self._sliders = [
            _Slider(topic, limits, limits.default)
            for topic, values in by_topic.items()
            for limits in values
        ]
        self.reset()

    def reset(self) -> None:
        """Return to the defaults, and command nothing."""
        self._chosen, self._moved = 0, set[str]()
        for slider in self._sliders:
            slider.value = slider.limits.default

    def press(self, key: str) -> None:
        """Handle NEXT, LOWER or RAISE; other keys do nothing."""
        if not self._sliders:
            return
        if key.lower() == NEXT:
            self._chosen = (self._chosen + 1) % len(self._sliders)
        elif key in _STEPS:
            slider = self._sliders[self._chosen]
            slider.move(_STEPS[key])
            self._moved.add(slider.topic)

    @property
    def commanded(self) -> Mapping[str, Sequence[float]]:
        """Values to publish, by topic."""
        return {
            topic: [slider.value for slider in self._sliders if slider.topic == topic]
            for topic in sorted(self._moved)
        }

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Name of each slider, and the slider as text; `>` marks the one that the keys move."""
        return [
            (slider.limits.name, ("> " if place == self._chosen else "  ") + slider.draw())
            for place, slider in enumerate(self._sliders)
        ]
