# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The part of the package `tokenizers` that an export uses, for tokenizers of whole words."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Encoding:
    ids: list[int]


class Tokenizer:
    """Makes tokens of words between spaces, and of line breaks."""

    def __init__(self, vocabulary: dict[str, int]) -> None:
        self._vocabulary = vocabulary

    @classmethod
    def from_file(cls, path: str) -> Tokenizer:
        return cls(json.loads(Path(path).read_text())["model"]["vocab"])

    def no_padding(self) -> None:
        """Do nothing: this one never pads."""

    def no_truncation(self) -> None:
        """Do nothing: this one never cuts."""

    def encode(self, text: str) -> Encoding:
        unknown = self._vocabulary["<unk>"]
        return Encoding(
            [self._vocabulary.get(word, unknown) for word in re.findall(r"\n|\S+", text)]
        )


def write_words(file: Path, words: tuple[str, ...]) -> None:
    """Write a tokenizer of these words, as the package `tokenizers` has it."""
    vocabulary = {word: number for number, word in enumerate(("<pad>", "<unk>", *words, "\n"))}
    split = {"type": "Split", "invert": False}
    file.write_text(
        json.dumps(
            {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": [],
                "normalizer": None,
                "pre_tokenizer": {
                    "type": "Sequence",
                    "pretokenizers": [
                        {**split, "pattern": {"String": " "}, "behavior": "Removed"},
                        {**split, "pattern": {"String": "\n"}, "behavior": "Isolated"},
                    ],
                },
                "post_processor": None,
                "decoder": None,
                "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
            }
        )
    )
