"""Errors, by what the caller can do about them. Messages state what was expected, what was found, and the id."""


class ConfigError(Exception):
    """A person must change something. The process exits with 78 and is not restarted."""


class Transient(Exception):
    """Not now; try again later."""


class PartFault(Exception):
    """This part cannot be inspected: NOT_INSPECTED and HOLD; the next one may be fine.

    Attributes:
        code: the reason's code, e.g. ``camera.timeout``.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
