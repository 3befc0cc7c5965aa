# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The USB camera, over a double of OpenCV's capture; no camera here was real."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image

from policy_inference.nodes import qos, usb_camera
from policy_inference.nodes.process import END_SIGNALS
from policy_inference.nodes.usb_camera import (
    CameraError,
    CameraRequest,
    Shot,
    UsbCamera,
    UsbCapture,
    main,
)
from testkit.wording import check_wording, refusal

from .harness import Stage, logged_in
from .video_devices import Device, VideoCapture


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Device:
    found = Device()
    monkeypatch.setattr(VideoCapture, "devices", {3: found})
    monkeypatch.setattr(cv2, "VideoCapture", VideoCapture)
    return found


def camera_request(
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
    @pytest.mark.parametrize("named", ["/dev/video3", "3", "link"])
    def test_camera_gives_its_jpeg_first_and_the_size_asked_for(
        self, camera: Device, tmp_path: Path, named: str
    ) -> None:
        if named == "link":
            named = str(tmp_path / "usb-0:1.2:1.0-video-index0")
            Path(named).symlink_to("/dev/video3")
        capture = UsbCapture(camera_request(named, 320))
        shot = shot_of(capture)
        assert capture.format == "MJPG"
        assert shot.data.shape == (240, 320, 3)
        assert shot.data[0, 0].tolist() == [0, 0, 255]
        assert 0.0 <= shot.age_s < 1.0

    @pytest.mark.parametrize("filled_up", [0, 5000])
    def test_jpeg_is_the_cameras_own_without_what_lies_behind_it(
        self, camera: Device, filled_up: int
    ) -> None:
        camera.filled_up = filled_up
        data = shot_of(UsbCapture(camera_request(compressed=True))).data
        assert data.tobytes().endswith(b"\xff\xd9")
        _, expected = cv2.imencode(".jpg", np.full((480, 640, 3), (0, 0, 255), np.uint8))
        assert data.tobytes() == expected.tobytes()

    @pytest.mark.parametrize("device", ["/dev/video3", "/dev/video7"])
    def test_camera_that_another_program_has_or_that_is_not_there_does_not_open(
        self, camera: Device, device: str
    ) -> None:
        UsbCapture(camera_request())
        with refusal(CameraError):
            UsbCapture(camera_request(device))

    def test_size_that_the_camera_lacks_is_refused_and_the_camera_let_go(
        self, camera: Device
    ) -> None:
        with refusal(CameraError):
            UsbCapture(camera_request(width=1280))
        assert camera.taken_by is None

    @pytest.mark.parametrize("shape", [(480, 640), (240, 320, 3), (480, 640, 4)])
    def test_image_of_another_shape_than_agreed_is_refused(
        self, camera: Device, shape: tuple[int, ...]
    ) -> None:
        capture = UsbCapture(camera_request())
        shot_of(capture)
        camera.instead = [np.zeros(shape, np.uint8)]
        with refusal(CameraError):
            capture.shoot()

    @pytest.mark.parametrize("fault", [{"bus_is_full": True}, {"plugged": False}], ids=str)
    def test_camera_that_gives_no_images_any_more_is_an_error_with_the_remedy(
        self, camera: Device, fault: dict[str, bool]
    ) -> None:
        capture = UsbCapture(camera_request())
        if "plugged" in fault:
            shot_of(capture)
        for name, value in fault.items():
            setattr(camera, name, value)
        with refusal(CameraError):
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
        monkeypatch.setattr(usb_camera, "_DEVICES", tmp_path)
        monkeypatch.setattr(usb_camera, "_NAMES", tmp_path / "class")
        monkeypatch.setattr(usb_camera, "_LINKS", tmp_path / "none")
        return tmp_path

    def test_each_camera_gives_one_image(self, camera: Device, folders: Path) -> None:
        output = folders / "images"
        lines = list(usb_camera.list_cameras(output, force=False))
        assert [file.name for file in output.iterdir()] == ["video3.jpg"]
        found = cv2.imread(str(output / "video3.jpg"))
        assert found is not None
        assert found.shape == (480, 640, 3)
        check_wording(*lines)
        assert camera.taken_by is None


class TestCommand:
    @pytest.mark.ros
    def test_camera_without_a_device_ends_with_the_reason(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with handlers_kept(), pytest.raises(SystemExit) as ended:
            main(["--ros-args", "-p", "width:=320"])
        assert ended.value.code == 2
        check_wording(*(each.text for each in logged_in(capfd.readouterr().err)))


@pytest.mark.ros
class TestNode:
    @pytest.fixture
    def start_camera(self, node_stage: Stage) -> Iterator[Callable[..., UsbCamera]]:
        nodes: list[UsbCamera] = []

        def start_one(**parameters: object) -> UsbCamera:
            given = [Parameter(name, value=value) for name, value in parameters.items()]
            nodes.append(UsbCamera(given))
            return nodes[-1]

        yield start_one
        for node in nodes:
            node.close()
            node.destroy_node()

    @pytest.mark.parametrize(
        ("transport", "message", "topic"),
        [("raw", Image, "image_raw"), ("compressed", CompressedImage, "image_raw/compressed")],
    )
    def test_images_come_as_pixels_or_as_jpeg(
        self,
        camera: Device,
        node_stage: Stage,
        start_camera: Callable[..., UsbCamera],
        transport: str,
        message: type[Any],
        topic: str,
    ) -> None:
        found = list[Any]()
        node_stage.robot.node.create_subscription(message, topic, found.append, qos.SAMPLE)
        start_camera(device="/dev/video3", frame_id="laptop", image_transport=transport)
        node_stage.robot.until(lambda: found, "an image")
        image, data = found[0], np.array(found[0].data, np.uint8)
        assert image.header.frame_id == "laptop"
        assert image.header.stamp.sec > 0
        if transport == "raw":
            assert (image.height, image.width, image.step) == (480, 640, 1920)
            assert (image.encoding, data[:3].tolist()) == ("bgr8", [0, 0, 255])
            return
        assert image.format == "jpeg"
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None
        assert decoded[100, 100].tolist() == [0, 0, 254]

    def test_unplugged_camera_comes_back_and_each_change_is_reported_once(
        self,
        camera: Device,
        node_stage: Stage,
        start_camera: Callable[..., UsbCamera],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("policy_inference.nodes.usb_camera._FIRST_WAIT_S", 0.01)
        monkeypatch.setattr("policy_inference.nodes.usb_camera._LONGEST_WAIT_S", 0.01)
        found: list[Image] = []
        node_stage.robot.node.create_subscription(Image, "image_raw", found.append, qos.SAMPLE)
        start_camera(device="/dev/video3")
        node_stage.robot.until(lambda: found, "an image")
        camera.plugged = False
        lost = node_stage.robot.hears("plugged in", level="ERROR")
        missing = node_stage.robot.hears("found nothing", level="ERROR")
        check_wording(lost, missing)
        before = len(found)
        camera.plugged = True
        node_stage.robot.until(lambda: len(found) > before + 2, "images again")
        node_stage.robot.until(lambda: node_stage.robot.log.count("/image_raw") == 2, "a line")
        assert [each.text for each in node_stage.robot.logged()].count(missing) == 1

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_camera_whose_thread_ends_ends_the_process_with_a_status(
        self, camera: Device, capfd: pytest.CaptureFixture[str]
    ) -> None:
        camera.instead = [SystemExit()]
        with handlers_kept(), pytest.raises(SystemExit) as ended:
            main(["--ros-args", "-p", "device:=/dev/video3"])
        assert ended.value.code == 1
        said = logged_in(capfd.readouterr().err)
        check_wording(next(each.text for each in said if "thread" in each.text))
