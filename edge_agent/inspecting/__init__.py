"""Inspecting: acquire > gate > detect > decide > record, for one part within the cycle time."""
