"""The tables of adapters: a word of the configuration to the class behind it."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from edge_agent.domain.faults import ConfigError

CAMERAS = {
    "folder": "edge_agent.adapters.cameras.folder:FolderCamera",
    "video": "edge_agent.adapters.cameras.video:VideoCamera",
    "rtsp": "edge_agent.adapters.cameras.rtsp:RtspCamera",
    "v4l2": "edge_agent.adapters.cameras.v4l2:V4l2Camera",
    "gige": "edge_agent.adapters.cameras.gige:GigeCamera",
    "genicam": "edge_agent.adapters.cameras.genicam:GenicamCamera",
    "simulated": "edge_agent.adapters.cameras.simulated:SimulatedCamera",
}
TRIGGERS = {
    "mqtt": "edge_agent.adapters.triggers.mqtt:MqttTrigger",
    "folder": "edge_agent.adapters.triggers.folder:FolderTrigger",
    "interval": "edge_agent.adapters.triggers.interval:IntervalTrigger",
    "camera": "edge_agent.adapters.triggers.camera:CameraTrigger",
    "modbus": "edge_agent.adapters.triggers.modbus:ModbusTrigger",
    "opcua": "edge_agent.adapters.triggers.opcua:OpcUaTrigger",
}
ACTUATORS = {
    "modbus": "edge_agent.adapters.actuators.modbus:ModbusActuator",
    "opcua": "edge_agent.adapters.actuators.opcua:OpcUaActuator",
}
"""Configuration word to import path: a missing native library costs nothing until it is chosen."""


def adapter(table: Mapping[str, str], kind: str) -> Any:
    """The class behind a configuration word.

    Raises:
        ConfigError: its library is not installed; the message says what is missing.
    """
    module, _, name = table[kind].partition(":")
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigError(f"kind {kind!r} needs a package that is not installed: {error}") from error
