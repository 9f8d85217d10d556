"""Why something was decided."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason behind a decision: a stable code for programs, a sentence for people.

    Codes are dotted and lower case, e.g. ``image.defocused``, ``defect.limit``, ``camera.timeout``.
    """

    code: str
    text: str
