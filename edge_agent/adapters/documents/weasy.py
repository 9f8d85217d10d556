"""Prints PDF files with WeasyPrint, in a child process with a deadline."""

from pathlib import Path

import structlog

from edge_agent.ports import Clock, PrintJob
from edge_agent.runtime.children import Child

log = structlog.get_logger(__name__)

_TOLD_MOST = 100
MAX_RSS_MB = 900
"""A report needs about 130 MB; beyond this the child is killed."""
NICE = 10
"""A report can wait; parts on the line cannot."""


def default_templates() -> Path:
    """The product's own templates: inside the installed package, else in the source tree."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "reports" / "templates"
    return installed if installed.is_dir() else package.parent / "reports" / "templates"


class WeasyPrinter:
    """Implements ``ports.DocumentPrinter``.

    Args:
        templates: folder of Jinja2 templates and style sheets.
        clock: stamps attachments that name no time of their own.
    """

    def __init__(self, templates: Path, *, clock: Clock) -> None:
        self._clock = clock
        self._templates = templates
        self._child: Child | None = None
        self._told: set[str] = set()

    def print(self, job: PrintJob, target: Path, timeout_s: float) -> None:
        """Write the PDF to ``target``, complete or not at all.

        Raises:
            Transient: too slow, too big or died; the child was killed and starts anew with the next call.
            ConfigError: the template is missing or broken.
        """
        payload = {
            "template": job.template,
            "data": dict(job.data),
            "attachments": dict(job.attachments),
            "made_at": self._clock.now().isoformat(),
            "target": str(target),
        }
        if self._child is None:
            self._child = self._started()
        printed = self._child.call("print", payload, timeout_s)
        self._tell_boxes(target, printed["undrawable"])

    def _tell_boxes(self, target: Path, characters: str) -> None:
        """Once for each set of characters: the next document will most likely hold the same."""
        if characters and characters not in self._told:
            self._told = {*self._told, characters} if len(self._told) < _TOLD_MOST else {characters}
            log.warning(
                "no installed font has these characters, they are printed as boxes",
                document=target.name,
                characters=characters[:40],
                advice="install a font that has them, e.g. apt-get install fonts-noto",
            )

    def close(self) -> None:
        """End the child; safe to call twice. A later print (of a restarted worker) starts a new one."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _started(self) -> Child:
        return Child(
            "edge_agent.adapters.documents.press:Press",
            {"templates": str(self._templates)},
            name="document printer",
            nice=NICE,
            max_rss_mb=MAX_RSS_MB,
        )
