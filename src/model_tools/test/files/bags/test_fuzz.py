# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of a recording are read, or are the errors that `Bag.decoder` promises."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_tools.files.bags.bag import Bag
from policy_inference.messages.readers import stamp_ns
from policy_inference.messages.wire import peek_stamp_ns
from testkit.bags import TYPES, compressed_image, image, picture, write_bag
from testkit.fuzzing import bounded, changed_bytes, examples

from ...small_bag import imus, joint_states

PIXELS = picture(0, (2, 3))
SAID = [
    *joint_states([0]),
    *imus([0]),
    ("/image", 0, image(0, PIXELS)),
    ("/compressed", 0, compressed_image(0, PIXELS)),
]
MESSAGES = {
    topic: bytes(TYPES.serialize_cdr(message, message.__msgtype__)) for topic, _, message in SAID
}


@pytest.fixture(scope="session")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Bag:
    """Return a recording with a topic of each type that is read from the wire."""
    return Bag(write_bag(tmp_path_factory.mktemp("fuzz") / "bag", SAID))


@pytest.mark.fuzz
@pytest.mark.parametrize("topic", MESSAGES)
@given(data=st.data())
@examples(4)
def test_any_message_is_read_or_one_error(bag: Bag, topic: str, data: st.DataObject) -> None:
    sound = MESSAGES[topic]
    message = data.draw(changed_bytes(sound))
    for whole in (False, True):
        decode = bag.decoder(topic, whole=whole)
        with suppress(ValueError, struct.error), bounded():
            decode(message)
        assert stamp_ns(decode(sound)) is None  # what it remembers is not spoiled
    peek_stamp_ns(message)


def test_an_image_that_ends_before_its_step_is_one_error(bag: Bag) -> None:
    sound = MESSAGES["/image"]
    for length in range(len(sound) - 18):
        with pytest.raises((ValueError, struct.error)):
            bag.decoder("/image")(sound[:length])
