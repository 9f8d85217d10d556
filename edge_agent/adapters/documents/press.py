"""The printing itself. It lives in a child process: it needs memory and time, and can hang."""

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from weasyprint import HTML, Attachment
from weasyprint.urls import URLFetcher, URLFetcherResponse

from edge_agent.adapters.documents.glyphs import undrawable
from edge_agent.adapters.documents.pages import Pages

VARIANT = "pdf/a-3a"
"""Tagged for accessibility, kept for years, and may carry the record as an attachment (ISO 19005-3)."""


class OwnFiles(URLFetcher):  # type: ignore[misc]
    """Reads files of the template folder, files that the job names, and data URIs; nothing else, no network."""

    def __init__(self, templates: Path, files: frozenset[str]) -> None:
        super().__init__(allowed_protocols=("file", "data"), allow_redirects=False)
        self._templates = templates.resolve()
        self._files = files

    def fetch(self, url: str, headers: Mapping[str, str] | None = None) -> URLFetcherResponse:
        """Raises ValueError for anything else; the printer then leaves the picture out and logs it."""
        parts = urlsplit(url)
        if parts.scheme == "data":
            return super().fetch(url, headers)
        path = Path(unquote(parts.path)).resolve()
        if parts.scheme != "file" or not (str(path) in self._files or path.is_relative_to(self._templates)):
            raise ValueError(f"a document may not read {url}")
        return super().fetch(path.as_uri(), headers)


class Press:
    """Prints templates of one folder.

    Args:
        templates: folder of Jinja2 templates and style sheets.
    """

    def __init__(self, templates: str) -> None:
        self._folder = Path(templates)
        self._pages = Pages(self._folder)

    def print(
        self, template: str, data: Mapping[str, Any], attachments: Mapping[str, bytes], made_at: str, target: str
    ) -> dict[str, Any]:
        """Write the PDF to ``target``, complete or not at all; its size, and the characters that no font has."""
        fetcher = OwnFiles(self._folder, frozenset(data.get("files", ())))
        html = self._pages.html(template, data)
        page = HTML(string=spoken(html), base_url=f"{self._folder.resolve().as_uri()}/", url_fetcher=fetcher)
        body = page.write_pdf(
            pdf_variant=VARIANT,
            pdf_identifier=_identifier(template, data),
            attachments=[_attachment(name, content, made_at) for name, content in sorted(attachments.items())],
            optimize_images=False,
        )
        _write(Path(target), body)
        return {"bytes": len(body), "undrawable": undrawable(unescape(html))}


_TITLE_AND_DESC = re.compile(r"<title>([^<]*)</title><desc>([^<]+)</desc>")


def spoken(html: str) -> str:
    """Charts with their figures in the title: the printer makes a chart's alternative text of the title alone."""
    return _TITLE_AND_DESC.sub(r"<title>\1: \2</title><desc>\2</desc>", html)


def _identifier(template: str, data: Mapping[str, Any]) -> bytes:
    """The same for the same content, so that the same document has the same bytes."""
    return hashlib.sha256(f"{template}{data!r}".encode()).hexdigest()[:32].encode()


def _attachment(name: str, content: bytes, made_at: str) -> Attachment:
    at = datetime.fromisoformat(made_at).astimezone(UTC)
    return Attachment(
        string=content, name=name, description="The record that this document shows", created=at, modified=at,
        relationship="Source",
    )  # fmt: skip


def _write(target: Path, body: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
