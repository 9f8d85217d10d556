"""The plant's MES and its technician, as a process of its own: ``python -m edge_agent.simulation.mes``.

A foreigner to the agent: it reads plain JSON from MQTT and imports nothing of the agent's contract.
"""
