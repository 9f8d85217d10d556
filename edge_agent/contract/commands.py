"""What a command may come to: the words of the reply, and what the box does about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edge_agent.contract.inbound import CommandRequest
from edge_agent.ports import UnitOfWork

ReplyStatus = Literal["accepted", "done", "rejected", "failed", "expired"]

SUCCESS = 1 << 0
UNKNOWN_ID = 1 << 1
INVALID_COMMAND = 1 << 2
INVALID_STATUS = 1 << 3
UNABLE = 1 << 4
INVALID_REQUEST = 1 << 32
"""Bits of the ReturnStatus of OPC 10031-4."""


def _nothing() -> None:
    """What is left to do after most commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutcome:
    """The outcome of one command.

    Attributes:
        return_status: the bitmap of OPC 10031-4.
        detail: a sentence for people.
        result: what was asked for, as JSON.
        subjects: what was changed; each becomes an entry of the audit log.
        then: takes effect after the commit; must not fail.
    """

    status: ReplyStatus
    return_status: int = SUCCESS
    detail: str = ""
    result: Mapping[str, Any] | None = None
    subjects: tuple[str, ...] = ()
    then: Callable[[], object] = _nothing

    @classmethod
    def rejected(cls, return_status: int, detail: str) -> "CommandOutcome":
        """It was not done, and why."""
        return cls(status="rejected", return_status=return_status, detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One command.

    Attributes:
        run: does it inside the transaction in which the reply is written.
        ages: it must say until when it is good: what was meant an hour ago may do harm now.
    """

    run: Callable[[UnitOfWork, CommandRequest], CommandOutcome]
    ages: bool = True
    prepare: Callable[[CommandRequest], "Deed"] | None = None
    """What takes long (reading files), done before the transaction begins; its deed is then run in place of ``run``."""


Deed = Callable[[UnitOfWork, CommandRequest], CommandOutcome]


def refused(unit: UnitOfWork, request: CommandRequest) -> CommandOutcome:
    """``run`` of a verb that is always prepared."""
    return CommandOutcome.rejected(UNABLE, "it was not prepared")
