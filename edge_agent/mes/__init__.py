"""A small reference MES: what the box looks like from the plant's side, for people who connect theirs.

A foreigner to the agent: it reads plain JSON from MQTT and imports nothing of the agent's contract, so that whatever it
can do, any other program can do with the same few messages. ``docs/mes.md`` goes through them.
"""
