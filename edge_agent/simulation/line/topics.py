"""Where the simulated plant speaks. The box's own topics are in ``edge_agent.contract.topics``."""


def plant_root(topic_root: str) -> str:
    """Enterprise, site, area and line of the box's topic root."""
    return "/".join(topic_root.split("/")[:4])


def signal(topic_root: str, name: str) -> str:
    """Where the historian publishes a process signal."""
    return f"{plant_root(topic_root)}/_historian/{name}"


def events(topic_root: str) -> str:
    """Where the line's log is published."""
    return f"{plant_root(topic_root)}/_events"
