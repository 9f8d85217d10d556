"""Logs: a constant sentence plus fields; JSON lines for the journal, readable lines for a terminal."""

import logging
import sys
from typing import Literal, TextIO

import structlog

Format = Literal["auto", "json", "console"]
FORMATS: tuple[Format, ...] = ("auto", "json", "console")


def configure(*, level: str = "info", style: Format = "auto", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging to write to ``stream`` (default: stderr).

    ``auto`` is console on a terminal and JSON lines elsewhere.
    """
    out = stream or sys.stderr
    console = style == "console" or (style == "auto" and out.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty())
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("apscheduler", "uvicorn", "weasyprint", "fontTools", "pymodbus", "alembic", "libav"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def as_format(word: str) -> Format:
    """The log style of a command line's word. Raises ValueError."""
    for known in FORMATS:
        if word == known:
            return known
    raise ValueError(f"log style {word!r}: expected auto, json or console")
