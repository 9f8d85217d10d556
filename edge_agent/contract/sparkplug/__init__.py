"""Sparkplug B 3.0: the payload's codec, the topics, and both roles as state machines without a network.

Written from the public specification (ISO/IEC 20237): field numbers, data types, and rules. `wire` and `payload` are
the codec, `topic` the namespace, `edge_node` what an edge node says and when, `host` what a host application reads.
"""
