# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from policy_core.bundle.chunk_contract import JointUnit, Scaling
from policy_core.errors import RobotError
from policy_core.interfaces import F64
from policy_core.members.chunk.normalise import ImageNormaliser, Units, VectorNormaliser
from policy_core.observation.images import Image, decode, read_frame
from testkit.kernel.chunk_contracts import camera_of
from testkit.kernel.messages import coloured, encoded_image, plain, raw_image, rgb8
from testkit.wording import check_wording, refusal

CAMERA = camera_of(48, 64)
RED = plain(255, 0, 0)


def encoded_as(image: Image, encoding: str, padding: int = 0) -> SimpleNamespace:
    height, width, _ = image.shape
    if encoding == "rgb8":
        return rgb8(image, padding)
    if encoding == "bgr8":
        return raw_image("bgr8", image[:, :, ::-1], height, width, padding)
    if encoding == "mono8":
        return raw_image("mono8", image[:, :, 0], height, width, padding)
    # I420 is all of Y, then U and V at half the size: the other two lie in memory otherwise.
    planar = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), np.uint8)
    y = planar[:height]
    u, v = (part.reshape(height // 2, width // 2) for part in np.split(planar[height:].ravel(), 2))
    if encoding == "nv12":
        colours = np.stack([u, v], axis=-1).reshape(height // 2, width)
        return raw_image("nv12", np.concatenate([y, colours]), height, width, padding)
    pairs = np.zeros((height, width // 2, 4), np.uint8)
    pairs[..., 0], pairs[..., 2] = y[:, 0::2], y[:, 1::2]
    pairs[..., 1], pairs[..., 3] = u.repeat(2, 0), v.repeat(2, 0)
    return raw_image(encoding, pairs, height, width, padding)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(
    ("encoding", "tolerance"),
    [("rgb8", 0), ("bgr8", 0), ("mono8", 0), ("yuv422_yuy2", 12), ("yuyv", 12), ("nv12", 12)],
)
def test_an_image_comes_back_the_right_way_up_in_its_colours(
    encoding: str, tolerance: int, padding: int
) -> None:
    image = coloured()
    if encoding == "mono8":
        image = image[:, :, :1].repeat(3, axis=2)
    found = decode(read_frame(encoded_as(image, encoding, padding), CAMERA)).astype(int)
    assert np.abs(found - image).mean() <= tolerance


@pytest.mark.parametrize(("suffix", "tolerance"), [(".jpg", 4), (".png", 0)])
def test_a_compressed_image_comes_back_the_right_way_up_in_its_colours(
    suffix: str, tolerance: int
) -> None:
    found = decode(read_frame(encoded_image(coloured(), suffix), CAMERA)).astype(int)
    assert np.abs(found - coloured()).mean() <= tolerance


def refusal_of(message: SimpleNamespace, *, resize: bool = False) -> str:
    with pytest.raises(RobotError) as error:
        read_frame(message, camera_of(48, 64, resize=resize))
    return str(error.value)


def short_rows() -> SimpleNamespace:
    message = rgb8(RED)
    message.step = 191
    return message


def empty_image() -> SimpleNamespace:
    message = raw_image("rgb8", np.zeros((1, 0, 3), np.uint8), 0, 0)
    message.data = b""
    return message


ODD = np.zeros((48, 126), np.uint8)
NO_IMAGES = {
    "unknown encoding": raw_image("16UC1", RED[:, :, :2], 48, 64),
    "short rows": short_rows(),
    "odd width of nv12": raw_image("nv12", ODD, 48, 63),
    "odd width of yuyv": raw_image("yuyv", ODD, 48, 63),
    "empty": empty_image(),
    "no image": SimpleNamespace(format="16UC1; compressedDepth", data=b"abcdef"),
}


@pytest.mark.parametrize("case", NO_IMAGES)
def test_what_is_no_image_is_refused(case: str) -> None:
    check_wording(refusal_of(NO_IMAGES[case], resize=True))


@pytest.mark.parametrize(
    ("message", "shape"),
    [
        (rgb8(plain(1, 2, 3, 24, 32)), (24, 32, 3)),
        (rgb8(plain(1, 2, 3, 64, 48)), (64, 48, 3)),
        (encoded_image(plain(1, 2, 3, 24, 32)), (24, 32, 3)),
        (encoded_image(plain(1, 2, 3, 24, 32), ".png"), (24, 32, 3)),
    ],
    ids=["raw", "exchanged width and height", "jpeg", "png"],
)
def test_another_size_is_refused_unless_the_contract_resizes(
    message: SimpleNamespace, shape: tuple[int, ...]
) -> None:
    check_wording(refusal_of(message))
    frame = read_frame(message, camera_of(48, 64, resize=True))
    assert decode(frame).shape == shape


@pytest.mark.parametrize("encoding", ["rgb8", "mono8", "yuv422_yuy2", "nv12"])
@pytest.mark.parametrize("change", [-1, 1])
def test_missing_or_surplus_bytes_are_refused(encoding: str, change: int) -> None:
    message = encoded_as(RED, encoding)
    length = len(message.data)
    message.data = message.data[:change] if change < 0 else message.data + b"x"
    assert f"expected {length} bytes" in refusal_of(message)
    assert f"found {length + change}" in refusal_of(message)


def test_a_picture_larger_than_that_of_any_camera_is_refused() -> None:
    """A dataset states the size itself, and 60,000 x 60,000 pixels of a PNG of 10 MB are 11 GB."""
    size = struct.pack(">2I", 60_000, 60_000)
    png = bytearray(encoded_image(RED, ".png").data)
    png[16:24] = size
    message = SimpleNamespace(format="png", data=bytes(png))
    with refusal(RobotError):
        read_frame(message, camera_of(60_000, 60_000))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_compressed_image_is_refused_wherever_it_is_cut(suffix: str) -> None:
    data = encoded_image(coloured(), suffix).data
    for length in range(len(data)):
        with pytest.raises(RobotError):
            read_frame(SimpleNamespace(format="jpeg", data=data[:length]), CAMERA)


def test_a_whole_jpeg_filled_up_with_zeros_is_taken() -> None:
    data = encoded_image(coloured()).data + bytes(1000)
    frame = read_frame(SimpleNamespace(format="jpeg", data=data), CAMERA)
    assert np.array_equal(decode(frame), decode(read_frame(encoded_image(coloured()), CAMERA)))


@pytest.mark.parametrize(
    "filling",
    [b"\xff" * 4_000_000, b"\xff\xfe\x00\x02" * 250_000],
    ids=["fill bytes", "empty comments"],
)
def test_a_jpeg_whose_header_does_not_end_is_refused(filling: bytes) -> None:
    whole = encoded_image(RED).data
    said = refusal_of(SimpleNamespace(format="jpeg", data=whole[:2] + filling + whole[2:]))
    check_wording(said)


def test_neither_zeros_nor_a_thumbnail_make_a_cut_jpeg_whole() -> None:
    # Cut behind the end of a JPEG within a comment: it ends as a whole one does.
    inner, outer = encoded_image(plain(1, 2, 3, 8, 8)).data, encoded_image(coloured()).data
    filled = outer[: len(outer) // 2].ljust(len(outer), b"\0")
    assert "truncated" in refusal_of(SimpleNamespace(format="jpeg", data=filled))
    cut = outer[:2] + b"\xff\xfe" + (len(inner) + 2).to_bytes(2, "big") + inner
    assert "truncated" in refusal_of(SimpleNamespace(format="jpeg", data=cut))
    whole = read_frame(SimpleNamespace(format="jpeg", data=cut + outer[2:]), CAMERA)
    assert decode(whole).shape == (48, 64, 3)


def test_a_jpeg_whose_tables_are_broken_is_refused_when_it_is_decoded() -> None:
    data = bytearray(encoded_image(coloured()).data)
    at = data.index(b"\xff\xc4")
    data[at + 4 : at + 21] = b"\xff" * 17
    frame = read_frame(SimpleNamespace(format="jpeg", data=bytes(data)), CAMERA)
    with refusal(RobotError):
        decode(frame)


def noisy_jpeg(*settings: int) -> bytes:
    """Return a JPEG of 64 x 48 pixels with details everywhere, some kB long."""
    image = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    _, data = cv2.imencode(".jpg", image, settings)
    return data.tobytes()


@pytest.mark.parametrize("lost_bytes", [512, 4096])
def test_a_jpeg_that_lost_bytes_in_the_middle_is_refused_when_it_is_decoded(
    lost_bytes: int, capfd: pytest.CaptureFixture[str]
) -> None:
    # Details of a few pixels and nothing else, as in what a camera sees.
    blurred = cv2.GaussianBlur(
        np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8), (0, 0), 4.0
    )
    _, encoded = cv2.imencode(".jpg", blurred)
    data = encoded.tobytes()
    for at in range(data.index(b"\xff\xda") + 20, len(data) - lost_bytes - 100, 500):
        cut = data[:at] + data[at + lost_bytes :]
        frame = read_frame(SimpleNamespace(format="jpeg", data=cut), camera_of(480, 640))
        with refusal(RobotError):
            decode(frame)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("filling", [0, 1000])
@pytest.mark.parametrize(
    "settings",
    [
        (),
        (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        (cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
        (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ],
)
def test_a_whole_jpeg_of_any_kind_is_what_opencv_makes_of_it(
    settings: tuple[int, ...], filling: int, capfd: pytest.CaptureFixture[str]
) -> None:
    data = noisy_jpeg(*settings)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert expected is not None
    message = SimpleNamespace(format="jpeg", data=data + bytes(filling))
    assert np.array_equal(decode(read_frame(message, CAMERA)), expected[:, :, ::-1])
    assert capfd.readouterr().err == ""


def test_the_orientation_of_a_camera_does_not_turn_the_image() -> None:
    # EXIF (big-endian TIFF) with one entry: orientation 6, turn by 90 degrees.
    tiff = b"MM\0*" + (8).to_bytes(4, "big") + b"\0\1" + b"\x01\x12\0\3\0\0\0\1\0\6\0\0" + bytes(4)
    exif = b"Exif\0\0" + tiff
    data = encoded_image(coloured()).data
    turned = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    obeyed = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert obeyed is not None
    assert obeyed.shape == (64, 48, 3)
    found = decode(read_frame(SimpleNamespace(format="jpeg", data=turned), CAMERA))
    assert found.shape == (48, 64, 3)


TICKS_MIN, TICKS_MAX = 1000, 3100


def rad_of_ticks(ticks: float) -> float:
    """Return the angle of a servo with 4096 ticks per turn, 0 at tick 2048."""
    return (ticks - 2048) * 2 * np.pi / 4096


@pytest.mark.parametrize("ticks", [1000, 1500, 2050, 3000, 3100])
def test_values_are_those_of_lerobots_formulas(ticks: int) -> None:
    """Range: 200 (t - min) / (max - min) - 100, gripper 100 (t - min) / (max - min)."""
    low, high = rad_of_ticks(TICKS_MIN), rad_of_ticks(TICKS_MAX)
    middle = rad_of_ticks((TICKS_MIN + TICKS_MAX) / 2)
    units = {
        "range": JointUnit(unit="range_m100_100", low_rad=low, high_rad=high),
        "gripper": JointUnit(unit="range_0_100", low_rad=low, high_rad=high),
        "degrees": JointUnit(unit="degrees", zero_rad=middle),
        "radians": JointUnit(unit="radians"),
    }
    share = (ticks - TICKS_MIN) / (TICKS_MAX - TICKS_MIN)
    expected = [
        200 * share - 100,
        100 * share,
        (ticks - (TICKS_MIN + TICKS_MAX) / 2) * 360 / 4096,
        rad_of_ticks(ticks),
    ]
    found = Units(units, list(units))
    np.testing.assert_allclose(found.of_rad(np.full(4, rad_of_ticks(ticks))), expected, atol=1e-9)
    np.testing.assert_allclose(found.to_rad(np.array(expected)), rad_of_ticks(ticks), atol=1e-12)


def test_sign_and_zero_count_the_other_way() -> None:
    units = Units(
        {
            "a": JointUnit(unit="degrees", sign=-1, zero_rad=0.5),
            "b": JointUnit(unit="radians", sign=-1, zero_rad=0.5),
        },
        ["a", "b"],
    )
    np.testing.assert_allclose(units.of_rad(np.array([0.5 + np.pi / 2] * 2)), [-90, -np.pi / 2])
    np.testing.assert_allclose(units.to_rad(np.array([90.0, 1.0])), [0.5 - np.pi / 2, -0.5])


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEAN_STD = Scaling(mode="mean_std", mean=MEAN, std=STD)
MIN_MAX = Scaling(mode="min_max", min=(0.1, 0.2, 0.3), max=(0.9, 0.8, 0.3))
IDENTITY = Scaling(mode="identity")


def formula(scaling: Scaling, x: F64) -> F64:
    """Return what the contract says, written out [..., 3]."""
    found = x
    if scaling.mode == "mean_std":
        found = (x - np.array(scaling.mean)) / (np.array(scaling.std) + scaling.eps)
    if scaling.mode == "min_max":
        difference = np.array(scaling.max) - np.array(scaling.min)
        difference[difference == 0] = scaling.eps
        found = 2 * (x - np.array(scaling.min)) / difference - 1
    return found


def normalised_image(scaling: Scaling, image: Image, dtype: str = "float32") -> F64:
    """Return what reaches a back end of a camera of 48 rows and 64 columns, [3, 48, 64]."""
    out = np.full((1, 3, 48, 64), np.nan, dtype)
    ImageNormaliser(camera_of(48, 64, scaling=scaling), out).apply(image)
    found: F64 = out[0].astype(np.float64)
    return found


@pytest.mark.parametrize("scaling", [MEAN_STD, MIN_MAX, IDENTITY], ids=lambda scaling: scaling.mode)
def test_images_are_normalised_to_a_millionth(scaling: Scaling) -> None:
    image = coloured()
    expected = formula(scaling, image / 255.0).transpose(2, 0, 1)
    np.testing.assert_allclose(normalised_image(scaling, image), expected, rtol=1e-6, atol=1e-6)


def test_images_in_uint8_stay_as_they_are() -> None:
    image = coloured()
    out = np.zeros((1, 3, 48, 64), np.uint8)
    ImageNormaliser(camera_of(48, 64, scaling=IDENTITY), out).apply(image)
    np.testing.assert_array_equal(out[0], image.transpose(2, 0, 1))


@pytest.mark.parametrize("size", [(24, 32), (96, 128)], ids=["larger", "smaller"])
def test_an_image_of_another_size_is_stretched(size: tuple[int, int]) -> None:
    halves = plain(0, 0, 255, *size)
    halves[:, : size[1] // 2] = (255, 0, 0)
    found = normalised_image(IDENTITY, halves)
    assert found[0, :, :31].min() == found[2, :, 33:].min() == 1.0
    assert found[0, :, 33:].max() == found[2, :, :31].max() == 0.0


@pytest.mark.parametrize("scaling", [MEAN_STD, MIN_MAX, IDENTITY], ids=lambda scaling: scaling.mode)
def test_vectors_follow_the_formula_and_come_back(scaling: Scaling) -> None:
    values = np.array([[0.2, -0.7, 0.3], [30.0, 2.0, 0.3 + 1e-9]])
    vectors = VectorNormaliser(scaling, 3)
    np.testing.assert_allclose(vectors.apply(values), formula(scaling, values), rtol=1e-7)
    np.testing.assert_allclose(vectors.undo(vectors.apply(values)), values, rtol=1e-6)


def test_the_way_back_from_mean_and_deviation_has_no_eps() -> None:
    still = VectorNormaliser(Scaling(mode="mean_std", mean=(5.0,), std=(0.0,)), 1)
    assert still.undo(np.array([1e6])) == [5.0]
    assert still.apply(np.array([5.0])) == [0.0]
