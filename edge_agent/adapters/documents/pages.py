"""Templates and data in, HTML out: what a document says, before it is set in pages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from edge_agent.domain.faults import ConfigError


class Pages:
    """Templates of one folder. Everything is escaped unless a template says that it is markup of our own.

    Args:
        folder: of Jinja2 templates.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folder),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def html(self, template: str, data: Mapping[str, Any]) -> str:
        """The page.

        Raises:
            ConfigError: the template is missing, broken, or asks for data that there is not.
        """
        try:
            return self._environment.get_template(template).render(data)
        except jinja2.TemplateError as error:
            raise ConfigError(f"template {self._folder / template}: {type(error).__name__}: {error}") from error
