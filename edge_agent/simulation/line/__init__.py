"""The simulated line as the plant sees it: a PLC that triggers, a camera that writes to a share, a historian, a log.

It is a process of its own (``python -m edge_agent.simulation.line``) and talks to the box as any plant does: files in
a shared folder, MQTT messages on plant topics.
"""
