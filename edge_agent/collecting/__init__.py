"""The fleet's collector: workers that bring what many boxes send into PostgreSQL. See docs/fleet.md.

Nothing here is distributed code: the broker shares the messages out (``$share``) and keeps those that nobody has
acknowledged, the database decides what is new. A worker has no state of its own.
"""
