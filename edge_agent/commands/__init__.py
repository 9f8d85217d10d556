"""The commands of ``edge-agent``; each module has a ``command`` function or a typer ``app``."""
