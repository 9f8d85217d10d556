"""plant_config/*.yaml -> frozen models. Pydantic is used here because text comes in here, and nowhere below."""

from edge_agent.config.load import Configuration, load

__all__ = ["Configuration", "load"]
