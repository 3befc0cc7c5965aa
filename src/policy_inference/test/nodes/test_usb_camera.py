# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The USB camera, over a double of OpenCV's capture; no camera here was real."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image

from policy_inference.errors import PolicyError
from policy_inference.nodes import qos, usb_capture
from policy_inference.nodes.process import END_SIGNALS
from policy_inference.nodes.usb_camera import UsbCamera, main
from policy_inference.nodes.usb_capture import CameraError, CameraRequest, Shot, UsbCapture

from .harness import Stage
from .video_devices import Device, VideoCapture


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A camera at /dev/video3."""
    found = Device()
    monkeypatch.setattr(VideoCapture, "devices", {3: found})
    monkeypatch.setattr(cv2, "VideoCapture", VideoCapture)
    return found


def wanted(
    device: str = "/dev/video3", width: int = 640, *, compressed: bool = False
) -> CameraRequest:
    return CameraRequest(
        device=device, width=width, height=480 * width // 640, fps=30.0, compressed=compressed
    )


def shot_of(capture: UsbCapture) -> Shot:
    found = capture.shoot()
    assert found is not None
    return found


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Give the signals back that `main` takes."""
    handlers = {number: signal.getsignal(number) for number in END_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class TestCapture:
    @pytest.mark.parametrize("named", ["/dev/video3", "3"])
    def test_camera_gives_its_jpeg_first_and_the_size_asked_for(
        self, device: Device, named: str
    ) -> None:
        capture = UsbCapture(wanted(named, 320))

        assert capture.format == "MJPG"
        assert shot_of(capture).data.shape == (240, 320, 3)

    def test_link_to_a_device_is_followed(self, device: Device, tmp_path: Path) -> None:
        link = tmp_path / "usb-0:1.2:1.0-video-index0"
        link.symlink_to("/dev/video3")

        assert shot_of(UsbCapture(wanted(str(link)))).data.shape == (480, 640, 3)

    def test_pixels_are_blue_green_red(self, device: Device) -> None:
        assert shot_of(UsbCapture(wanted())).data[0, 0].tolist() == [0, 0, 255]

    @pytest.mark.parametrize("filled_up", [0, 5000])
    def test_jpeg_is_the_cameras_own_without_what_lies_behind_it(
        self, device: Device, filled_up: int
    ) -> None:
        device.filled_up = filled_up

        data = shot_of(UsbCapture(wanted(compressed=True))).data

        assert data.tobytes().endswith(b"\xff\xd9")
        _, expected = cv2.imencode(".jpg", np.full((480, 640, 3), (0, 0, 255), np.uint8))
        assert data.tobytes() == expected.tobytes()

    def test_age_of_an_image_is_the_drivers(self, device: Device) -> None:
        assert 0.0 <= shot_of(UsbCapture(wanted())).age_s < 1.0

    def test_camera_that_is_not_there_is_named(self, device: Device) -> None:
        with pytest.raises(CameraError, match="/dev/video7: expected a camera, found nothing"):
            UsbCapture(wanted("/dev/video7"))

    def test_camera_of_another_program_does_not_open(self, device: Device) -> None:
        UsbCapture(wanted())

        with pytest.raises(CameraError, match="/dev/video3: expected a camera"):
            UsbCapture(wanted())

    def test_size_that_the_camera_lacks_is_refused_and_the_camera_let_go(
        self, device: Device
    ) -> None:
        with pytest.raises(CameraError, match=r"1280 x 960 pixels, found .* 640 x 480.*v4l2-ctl"):
            UsbCapture(wanted(width=1280))
        assert device.taken_by is None

    def test_camera_without_jpeg_gives_pixels_and_no_jpeg(self, device: Device) -> None:
        device.formats = ("YUYV",)

        with pytest.raises(CameraError, match="expected a camera that gives MJPG, found YUYV"):
            UsbCapture(wanted(compressed=True))
        assert shot_of(UsbCapture(wanted())).data.shape == (480, 640, 3)

    def test_broken_image_is_left_out(self, device: Device) -> None:
        capture = UsbCapture(wanted())
        device.broken_reads = 2

        assert [capture.shoot(), capture.shoot()] == [None, None]
        assert capture.shoot() is not None

    def test_image_that_a_driver_gives_without_pixels_is_left_out(self, device: Device) -> None:
        capture = UsbCapture(wanted())
        device.instead = [None]

        assert capture.shoot() is None
        assert capture.shoot() is not None

    @pytest.mark.parametrize("shape", [(480, 640), (240, 320, 3), (480, 640, 4)])
    def test_image_of_another_shape_than_agreed_is_refused(
        self, device: Device, shape: tuple[int, ...]
    ) -> None:
        capture = UsbCapture(wanted())
        shot_of(capture)
        device.instead = [np.zeros(shape, np.uint8)]

        with pytest.raises(CameraError) as refused:
            capture.shoot()
        assert "expected images of uint8 [480, 640, 3], found uint8 " in str(refused.value)
        assert str(list(shape)) in str(refused.value)

    def test_full_bus_error_states_the_remedy(self, device: Device) -> None:
        device.bus_is_full = True
        capture = UsbCapture(wanted())

        with pytest.raises(CameraError, match=r"opens and gives none.*uvcvideo quirks=128"):
            [capture.shoot() for _ in range(10)]

    def test_unplugged_camera_is_an_error(self, device: Device) -> None:
        capture = UsbCapture(wanted())
        shot_of(capture)
        device.plugged = False

        with pytest.raises(CameraError, match="none any more; is it plugged in"):
            [capture.shoot() for _ in range(10)]


class TestList:
    @pytest.fixture
    def folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Two devices, of which the second gives no images."""
        for name in ("video3", "video4", "vcs"):
            (tmp_path / name).touch()
        names = tmp_path / "class" / "video3"
        names.mkdir(parents=True)
        (names / "name").write_text("HD Webcam\n")
        monkeypatch.setattr(usb_capture, "_DEVICES", tmp_path)
        monkeypatch.setattr(usb_capture, "_NAMES", tmp_path / "class")
        monkeypatch.setattr(usb_capture, "_LINKS", tmp_path / "none")
        return tmp_path

    def test_each_camera_gives_one_image(self, device: Device, folders: Path) -> None:
        output = folders / "images"

        lines = list(usb_capture.list_cameras(output, force=False))

        assert [file.name for file in output.iterdir()] == ["video3.jpg"]
        found = cv2.imread(str(output / "video3.jpg"))
        assert found is not None
        assert found.shape == (480, 640, 3)
        assert "video3 (HD Webcam): 640 x 480, MJPG" in lines[0]
        assert "video4 (name unknown): expected a camera" in lines[1]
        assert device.taken_by is None

    def test_image_that_is_there_is_replaced_only_by_force(
        self, device: Device, folders: Path
    ) -> None:
        (folders / "video3.jpg").write_text("mine")

        with pytest.raises(CameraError, match=r"video3\.jpg.*--force"):
            list(usb_capture.list_cameras(folders, force=False))
        assert device.opened == 0
        list(usb_capture.list_cameras(folders, force=True))
        assert cv2.imread(str(folders / "video3.jpg")) is not None

    def test_machine_without_cameras_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(usb_capture, "_DEVICES", tmp_path)

        assert list(usb_capture.list_cameras(None, force=False)) == [
            "no camera: there is no /dev/video*"
        ]


class TestCommand:
    def test_list_needs_no_ros(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(usb_capture, "_DEVICES", tmp_path)

        with pytest.raises(SystemExit) as ended:
            main(["--list"])
        assert ended.value.code == 0
        assert capsys.readouterr().out == "no camera: there is no /dev/video*\n"

    def test_output_without_list_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["--output", "images"])
        assert ended.value.code == 2

    @pytest.mark.ros
    def test_camera_without_a_device_ends_with_the_reason(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with handlers_kept(), pytest.raises(SystemExit) as ended:
            main(["--ros-args", "-p", "width:=320"])
        assert ended.value.code == 2
        assert "parameter device: expected a value, found none" in capfd.readouterr().err


@pytest.mark.ros
class TestNode:
    @pytest.fixture
    def stage(self, new_log: Callable[[], str]) -> Iterator[Stage]:
        rclpy.init(args=[])
        stage = Stage(new_log)
        yield stage
        stage.close()
        rclpy.shutdown()

    @pytest.fixture
    def start(self, stage: Stage) -> Iterator[Callable[..., UsbCamera]]:
        """Start a node with parameters, as a parameter file would."""
        nodes: list[UsbCamera] = []

        def start_one(**parameters: object) -> UsbCamera:
            given = [Parameter(name, value=value) for name, value in parameters.items()]
            nodes.append(UsbCamera(given))
            nodes[-1].start()
            return nodes[-1]

        yield start_one
        for node in nodes:
            node.stop()
            node.destroy_node()

    def test_images_come_as_pixels(
        self, device: Device, stage: Stage, start: Callable[..., UsbCamera]
    ) -> None:
        found: list[Image] = []
        stage.robot.node.create_subscription(Image, "image_raw", found.append, qos.SAMPLE)
        start(device="/dev/video3", frame_id="laptop")

        stage.robot.until(lambda: found, "an image")

        image = found[0]
        assert (image.height, image.width, image.step) == (480, 640, 1920)
        assert (image.encoding, image.header.frame_id) == ("bgr8", "laptop")
        assert list(image.data[:3]) == [0, 0, 255]
        assert image.header.stamp.sec > 0

    def test_images_come_as_jpeg(
        self, device: Device, stage: Stage, start: Callable[..., UsbCamera]
    ) -> None:
        found: list[CompressedImage] = []
        stage.robot.node.create_subscription(
            CompressedImage, "image_raw/compressed", found.append, qos.SAMPLE
        )
        start(device="/dev/video3", image_transport="compressed")

        stage.robot.until(lambda: found, "an image")

        assert found[0].format == "jpeg"
        decoded = cv2.imdecode(np.array(found[0].data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        assert decoded[100, 100].tolist() == [0, 0, 254]

    def test_unplugged_camera_comes_back_and_each_change_is_reported_once(
        self,
        device: Device,
        stage: Stage,
        start: Callable[..., UsbCamera],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("policy_inference.nodes.usb_camera._FIRST_WAIT_S", 0.01)
        monkeypatch.setattr("policy_inference.nodes.usb_camera._LONGEST_WAIT_S", 0.01)
        found: list[Image] = []
        stage.robot.node.create_subscription(Image, "image_raw", found.append, qos.SAMPLE)
        start(device="/dev/video3")
        stage.robot.until(lambda: found, "an image")

        device.plugged = False
        stage.robot.hears("none any more; is it plugged in?")
        stage.robot.hears("expected a camera, found nothing")
        before = len(found)
        device.plugged = True

        stage.robot.until(lambda: len(found) > before + 2, "images again")
        stage.robot.until(lambda: stage.robot.log.count("fps, MJPG, on /image_raw") == 2, "a line")
        assert stage.robot.log.count("found nothing") == 1

    @pytest.mark.parametrize(
        ("found", "told"),
        [
            (cv2.error("no such conversion"), "found error: no such conversion"),
            (MemoryError("640 kB"), "found MemoryError: 640 kB"),
            (np.zeros((480, 640), np.uint8), "found uint8 [480, 640]"),
        ],
    )
    def test_error_of_a_read_is_reported_once_and_the_camera_opened_again(
        self,
        device: Device,
        stage: Stage,
        start: Callable[..., UsbCamera],
        monkeypatch: pytest.MonkeyPatch,
        found: Any,
        told: str,
    ) -> None:
        monkeypatch.setattr("policy_inference.nodes.usb_camera._FIRST_WAIT_S", 0.01)
        images: list[Image] = []
        stage.robot.node.create_subscription(Image, "image_raw", images.append, qos.SAMPLE)
        device.instead = [found] * 3
        start(device="/dev/video3")

        stage.robot.until(lambda: images, "an image")
        stage.robot.hears("fps, MJPG, on /image_raw")
        assert stage.robot.log.count(told) == 1
        assert device.opened == 4

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_camera_whose_thread_ends_ends_the_process_with_a_status(
        self, device: Device, capfd: pytest.CaptureFixture[str]
    ) -> None:
        device.instead = [SystemExit()]

        with handlers_kept(), pytest.raises(SystemExit) as ended:
            main(["--ros-args", "-p", "device:=/dev/video3"])
        assert ended.value.code == 1
        assert "the thread that reads the camera has ended" in capfd.readouterr().err

    def test_wrong_parameter_is_named(self, stage: Stage, device: Device) -> None:
        with pytest.raises(PolicyError, match="parameter device: expected a value, found none"):
            UsbCamera([])
