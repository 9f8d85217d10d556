"""An RTSP server made of GStreamer's own parts; run by the system's Python, which has GStreamer's bindings.

Usage: rtsp_server.py PORT [PATTERN]. Serves rtsp://127.0.0.1:PORT/cam: 320 x 240, 25 frames per second, H.264.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PIPELINE = (
    "( videotestsrc is-live=true pattern={pattern} ! video/x-raw,width=320,height=240,framerate=25/1 "
    "! openh264enc complexity=low gop-size=25 ! h264parse ! rtph264pay name=pay0 pt=96 )"
)


def main(port: str, pattern: str = "ball") -> None:
    """Serve until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE.format(pattern=pattern))
    factory.set_shared(True)
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


main(*sys.argv[1:])
