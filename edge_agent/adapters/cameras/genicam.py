"""Any GenTL camera (USB3 Vision, CoaXPress, GigE) through Harvesters and the vendor's producer (.cti)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge_agent.adapters.cameras import pfnc
from edge_agent.adapters.cameras.vision import Block, VisionCamera
from edge_agent.config.stations import GenicamCameraOptions
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.ports import Clock

try:
    from genicam import genapi, gentl
    from harvesters import core as harvesting
except ImportError as error:
    harvesting = None
    _missing = str(error)
else:
    _missing = ""

_EVENT_WAIT_MS = 10
_BUFFERS = 8
_FLOAT_TOLERANCE = 0.01
_LONGEST_GAP = 1_000
"""A larger step of the frame counter is a counter that began anew."""


def absent(error: str) -> str:
    """What is missing, from the import's own words, and what to do about it."""
    if "cannot open shared object file" in error:
        library = error.partition(":")[0]
        package = library.partition(".so")[0]
        wanted = f" (Debian, Ubuntu: apt-get install {package})" if package.startswith("libpython") else ""
        return f"the genicam package needs the library {library}, which this machine lacks{wanted}"
    return f"GenTL support cannot be loaded ({error}): pip install 'edge-agent[genicam-harvesters]'"


class GenicamCamera(VisionCamera):
    """Implements ``ports.Camera``."""

    def __init__(self, options: GenicamCameraOptions, *, camera_id: str, clock: Clock) -> None:
        super().__init__(
            _GentlDevice(options, camera_id),
            camera_id=camera_id,
            clock=clock,
            trigger=options.trigger,
            timeouts_before_reconnect=options.timeouts_before_reconnect,
            frozen_after=options.frozen_after,
        )


class _GentlDevice:
    """Implements ``vision.Device``."""

    def __init__(self, options: GenicamCameraOptions, camera_id: str) -> None:
        self._options = options
        self._camera_id = camera_id
        self._harvester: Any = None
        self._acquirer: Any = None
        self._incomplete = 0
        self._last_frame: int | None = None
        self.source = f"genicam {options.device or 'camera'}"

    def connect(self) -> None:
        """Load the producer, search, open, apply all settings, read them back, start."""
        if harvesting is None:
            raise ConfigError(f"camera {self._camera_id}: {absent(_missing)}")
        self._load_producer()
        with self._errors():
            self._harvester.update()
            info = self._find()
            timeout = harvesting.ParameterKey.TIMEOUT_PERIOD_ON_UPDATE_EVENT_DATA_CALL
            config = harvesting.ParameterSet({timeout: _EVENT_WAIT_MS})
            self._acquirer = self._harvester.create(info, config=config)
        self.source = f"genicam {info.display_name}"
        self._apply()
        with self._errors():
            self._acquirer.num_buffers = max(_BUFFERS, self._acquirer.min_num_buffers)
            self._acquirer.add_callback(harvesting.ImageAcquirer.Events.INCOMPLETE_BUFFER, _on_event(self._note_damage))
            self._start()

    def fire(self) -> None:
        """Software trigger."""
        with self._errors():
            self._nodes.get_node("TriggerSoftware").execute()

    def next_block(self, timeout_s: float) -> Block | None:
        """The oldest block that waits."""
        damaged = self._incomplete
        with self._errors():
            buffer = self._acquirer.try_fetch(timeout=max(0.001, timeout_s))
            if buffer is None:
                incomplete = self._incomplete > damaged
                return Block(pixels=None, damage="the producer reports it as incomplete") if incomplete else None
            with buffer:
                return self._block(buffer)

    def restart(self) -> None:
        """Stop and start the acquisition."""
        with self._errors():
            self._acquirer.stop()
            self._start()

    def probe(self) -> None:
        """Read a feature that every camera has from the camera itself."""
        with self._errors():
            node = self._nodes.get_node("Width")
            node.invalidate_node()
            _ = node.value

    def disconnect(self) -> None:
        """Give the device back and unload the producer."""
        acquirer, self._acquirer = self._acquirer, None
        harvester, self._harvester = self._harvester, None
        if harvester is None:
            return
        try:
            if acquirer is not None:
                acquirer.destroy()
            harvester.reset()
        except (gentl.GenericException, genapi.GenericException):
            pass  # the camera is gone, which is a reason for being here

    @property
    def _nodes(self) -> Any:
        return self._acquirer.remote_device.node_map

    def _start(self) -> None:
        self._last_frame = None
        self._acquirer.start()

    def _note_damage(self) -> None:
        self._incomplete += 1

    def _block(self, buffer: Any) -> Block:
        number, last = int(buffer.module.frame_id), self._last_frame
        self._last_frame = number
        gap = number - last - 1 if last is not None and 0 < number - last <= _LONGEST_GAP else 0
        components = buffer.payload.components
        if not components or components[0].data is None:
            return Block(pixels=None, damage="the buffer holds no image", lost_before=gap)
        image = components[0]
        channels = int(image.num_components_per_pixel)
        pfnc.require(image.data_format, camera_id=self._camera_id)
        shape = (image.height, image.width) if channels == 1 else (image.height, image.width, channels)
        if image.data.size != image.height * image.width * channels:
            return Block(pixels=None, damage=f"{image.data.size} values for {shape}", lost_before=gap)
        copied = image.data.reshape(shape).copy()  # the buffer goes back to the producer
        return Block(pixels=pfnc.to_pixels(copied, image.data_format), lost_before=gap)

    # --- finding --------------------------------------------------------------------------------------------------

    def _load_producer(self) -> None:
        producer = self._options.producer
        if not producer.is_file():
            raise ConfigError(f"camera {self._camera_id}: no such producer: {producer}")
        self._harvester = harvesting.Harvester()
        try:
            self._harvester.add_file(str(producer), check_existence=True, check_validity=True)
        except OSError as error:
            raise ConfigError(f"camera {self._camera_id}: {producer} cannot be loaded: {error}") from error

    def _find(self) -> Any:
        wanted = self._options.device
        found = self._harvester.device_info_list
        for info in found:
            if not wanted or wanted == info.serial_number or wanted in info.display_name:
                return info
        names = ", ".join(info.display_name for info in found) or "none"
        raise Transient(f"camera {self._camera_id}: {wanted or 'no camera'} not found; the producer offers: {names}")

    # --- settings -------------------------------------------------------------------------------------------------

    def _apply(self) -> None:
        with self._errors():
            for name, value in self._options.settings.items():
                self._set(name, value)
            self._set_trigger()
            pfnc.require(self._nodes.get_node("PixelFormat").value, camera_id=self._camera_id)

    def _set_trigger(self) -> None:
        if self._options.trigger == "free":
            if self._nodes.has_node("TriggerMode"):
                self._set("TriggerMode", "Off")
            return
        self._set("TriggerSelector", "FrameStart")
        self._set("TriggerSource", "Software" if self._options.trigger == "software" else "Line0")
        self._set("TriggerMode", "On")

    def _set(self, name: str, value: str | int | float | bool) -> None:
        if not self._nodes.has_node(name):
            raise ConfigError(f"camera {self._camera_id}: the camera has no feature {name!r}")
        node = self._nodes.get_node(name)
        node.value = value
        found = node.value
        if isinstance(found, float) and not isinstance(value, str):
            same = abs(found - value) <= max(_FLOAT_TOLERANCE * abs(value), _FLOAT_TOLERANCE)
        else:
            same = found == value or str(found) == str(value)
        if not same:
            raise ConfigError(f"camera {self._camera_id}: {name} was set to {value!r} and reads {found!r}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        wrong_value = (
            genapi.InvalidArgumentException,
            genapi.OutOfRangeException,
            genapi.PropertyException,
            genapi.DynamicCastException,
            TypeError,
        )
        try:
            yield
        except wrong_value as error:
            raise ConfigError(f"camera {self._camera_id}: {error}") from error
        except (gentl.GenericException, genapi.GenericException, AttributeError) as error:
            raise Transient(f"camera {self._camera_id}: {error}") from error


def _on_event(action: Any) -> Any:
    """Harvesters wants an object of its own class."""

    class _Call(harvesting.Callback):  # type: ignore[misc]
        def emit(self, context: Any) -> None:
            action()

    return _Call()
