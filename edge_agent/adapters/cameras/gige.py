"""A GigE Vision camera through viva-genicam (pinned to 0.10: young, one author)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge_agent.adapters.cameras import pfnc
from edge_agent.adapters.cameras.vision import Block, VisionCamera
from edge_agent.config.stations import GigeCameraOptions
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.ports import Clock

try:
    import viva_genicam as vg
except ImportError:
    vg = None

_SEARCH_MS = 500
_IDENTITY = ("DeviceSerialNumber", "DeviceID", "DeviceUserID")
_FLOAT_TOLERANCE = 0.01
"""Cameras round times and gains to their own steps."""
_LONGEST_GAP = 1_000
"""A larger step of the frame counter is a counter that began anew."""


class GigeCamera(VisionCamera):
    """Implements ``ports.Camera``."""

    def __init__(self, options: GigeCameraOptions, *, camera_id: str, clock: Clock) -> None:
        super().__init__(
            _GigeDevice(options, camera_id),
            camera_id=camera_id,
            clock=clock,
            trigger=options.trigger,
            timeouts_before_reconnect=options.timeouts_before_reconnect,
            frozen_after=options.frozen_after,
        )


class _GigeDevice:
    """Implements ``vision.Device``."""

    def __init__(self, options: GigeCameraOptions, camera_id: str) -> None:
        self._options = options
        self._camera_id = camera_id
        self._camera: Any = None
        self._stream: Any = None
        self._last_block: int | None = None
        self._answers = True
        self.source = f"gige {options.device or 'camera'}"

    def connect(self) -> None:
        """Search, open, apply all settings, read them back, start."""
        if vg is None:
            raise ConfigError(f"camera {self._camera_id}: viva-genicam is missing: pip install 'edge-agent[genicam]'")
        with self._errors():
            info = self._find()
            self._camera = vg.connect_gige(info, iface=self._options.interface or None)
        self.source = f"gige {info.manufacturer} {info.model} {info.ip}"
        self._answers = True
        self._apply()
        self._start()

    def fire(self) -> None:
        """Software trigger."""
        with self._errors():
            self._camera.trigger_software()

    def next_block(self, timeout_s: float) -> Block | None:
        """The oldest block that waits."""
        try:
            frame = self._stream.next_frame(timeout_ms=max(1, int(timeout_s * 1e3)))
        except vg.GenicamError as error:
            if "timeout" in str(error).lower():
                return None
            raise Transient(f"camera {self._camera_id}: {error}") from error
        if frame is None:
            raise Transient(f"camera {self._camera_id}: the stream ended")
        return self._block(frame)

    def restart(self) -> None:
        """Stop and start the acquisition."""
        with self._errors():
            stream, self._stream = self._stream, None
            stream.__exit__(None, None, None)
        self._start()

    def probe(self) -> None:
        """Read the version register (GigE Vision, bootstrap register 0)."""
        with self._errors():
            self._camera.read_register(0, 4)

    def disconnect(self) -> None:
        """Give the control privilege back."""
        stream, self._stream = self._stream, None
        camera, self._camera = self._camera, None
        if vg is None:
            return
        try:
            if stream is not None and self._answers:
                stream.__exit__(None, None, None)
            elif stream is not None:
                stream.close()  # without a word to the camera: each try costs four seconds when it hangs
        except vg.GenicamError:
            pass  # the camera is gone, which is a reason for being here
        finally:
            if camera is not None:
                camera.close()

    def _start(self) -> None:
        self._last_block = None
        with self._errors():
            stream = self._camera.stream(iface=self._options.interface or None, deliver_incomplete=True)
            stream.__enter__()
        self._stream = stream

    def _block(self, frame: Any) -> Block:
        number, last = frame.block_id, self._last_block
        self._last_block = number
        gap = number - last - 1 if last is not None and 0 < number - last <= _LONGEST_GAP else 0
        if not frame.is_complete:
            missing = f", {frame.missing_packets} packets missing" if frame.missing_packets else ""
            return Block(pixels=None, damage=f"{frame.status.value}{missing}", lost_before=gap)
        pixel_format = frame.pixel_format.removesuffix("Packed")  # GigE Vision 1 names: RGB8Packed
        if pixel_format == "BGR8":
            pixel_format = "RGB8"  # the library reorders it
        pfnc.require(pixel_format, camera_id=self._camera_id)
        return Block(pixels=pfnc.to_pixels(frame.to_numpy(), pixel_format), lost_before=gap)

    # --- finding --------------------------------------------------------------------------------------------------

    def _find(self) -> Any:
        interface = self._options.interface
        found = vg.discover(timeout_ms=_SEARCH_MS, iface=interface or None, all=not interface)
        wanted = self._options.device
        where = f"{wanted or 'at all'} {f'on {interface}' if interface else 'on any network interface'}"
        if not wanted and len(found) > 1:
            names = ", ".join(f"{info.ip} ({info.manufacturer} {info.model})" for info in found)
            raise ConfigError(f"camera {self._camera_id}: {len(found)} cameras answer, set device to one of {names}")
        for info in found:
            if not wanted or wanted in (info.ip, info.mac) or wanted in self._names(info):
                return info
        raise Transient(f"camera {self._camera_id}: no GigE Vision camera {where} answers")

    def _names(self, info: Any) -> list[str]:
        """Serial and user name; they are features, so the camera is opened without control to read them."""
        try:
            camera = vg.connect_gige(info, iface=self._options.interface or None, monitor=True)
        except vg.GenicamError:
            return []
        with camera:
            present = set(camera.nodes())
            return [camera.get(name) for name in _IDENTITY if name in present]

    # --- settings -------------------------------------------------------------------------------------------------

    def _apply(self) -> None:
        """All settings, each read back: a camera that was power-cycled has forgotten them."""
        options = self._options
        with self._errors():
            present = set(self._camera.nodes())
            self._set("PixelFormat", options.pixel_format)
            for name, value in options.settings.items():
                self._set(name, value)
            if options.exposure_us is not None:
                self._set(
                    self._one_of(("ExposureTime", "ExposureTimeAbs"), present, "exposure_us"), options.exposure_us
                )
            if options.gain_db is not None:
                self._set(self._one_of(("Gain",), present, "gain_db"), options.gain_db)
            self._set_trigger(present)
            pfnc.require(self._camera.get("PixelFormat"), camera_id=self._camera_id)

    def _set_trigger(self, present: set[str]) -> None:
        if self._options.trigger == "free":
            if "TriggerMode" in present:
                self._camera.disable_trigger("FrameStart")
            return
        source = "Software" if self._options.trigger == "software" else "Line0"
        self._camera.enable_trigger("FrameStart", source)
        self._check("TriggerMode", "On")
        self._check("TriggerSource", source)

    def _one_of(self, names: tuple[str, ...], present: set[str], key: str) -> str:
        for name in names:
            if name in present:
                return name
        text = f"{key}: the camera has no feature {' or '.join(names)}; set its own one under settings"
        raise ConfigError(f"camera {self._camera_id}: {text}")

    def _set(self, name: str, value: str | int | float | bool) -> None:
        kind = self._camera.feature_state(name).kind
        if kind == "Boolean":
            self._camera.set_bool(name, bool(value))
        elif kind == "Float":
            self._camera.set_float(name, float(value))
        elif kind == "Integer":
            self._camera.set_integer(name, int(value))
        else:
            self._camera.set(name, str(value))
        self._check(name, value)

    def _check(self, name: str, wanted: str | int | float | bool) -> None:
        self._camera.invalidate(name)
        found = self._camera.feature_state(name).value
        if isinstance(found, float) and not isinstance(wanted, str):
            same = abs(found - wanted) <= max(_FLOAT_TOLERANCE * abs(wanted), _FLOAT_TOLERANCE)
        else:
            same = found == wanted or str(found) == str(wanted)
        if not same:
            raise ConfigError(f"camera {self._camera_id}: {name} was set to {wanted!r} and reads {found!r}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """The library has one class for a wrong value and for a dead cable; its texts tell them apart."""
        try:
            yield
        except (vg.TransportError, OSError) as error:
            raise Transient(f"camera {self._camera_id}: {error}") from error
        except vg.GenApiError as error:
            if "I/O failed" in str(error):
                self._answers = False
                raise Transient(f"camera {self._camera_id}: {error}") from error
            raise ConfigError(f"camera {self._camera_id}: {error}") from error
        except vg.GenicamError as error:
            raise Transient(f"camera {self._camera_id}: {error}") from error
