"""A picture in a chat message, as OpenAI's chat completions have it: a content part with a data URI."""

import base64
from typing import Any


def content(prompt: str, image: bytes) -> str | list[dict[str, Any]]:
    """The user's content: the words alone, or the picture (JPEG) and then the words."""
    if not image:
        return prompt
    address = f"data:image/jpeg;base64,{base64.b64encode(image).decode('ascii')}"
    return [{"type": "image_url", "image_url": {"url": address}}, {"type": "text", "text": prompt}]
