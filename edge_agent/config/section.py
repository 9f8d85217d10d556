"""What every section of the configuration has in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen section; an unknown key is an error (it is always a typo)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""An id that may appear in a topic, a file name and a URL."""

Level = Annotated[str, Field(pattern=r"^[^/+#\x00]{1,64}$")]
"""One level of an MQTT topic."""

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Milliseconds = Annotated[float, Field(gt=0, le=600_000)]
