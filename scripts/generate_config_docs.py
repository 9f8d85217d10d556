#!/usr/bin/env python3
"""Writes docs/configuration.md and plant_config/schemas/*.json from the configuration's models.

The models in edge_agent/config are the one source; a test fails when the files here are out of date. Editors that
know YAML schemas can use them: put `# yaml-language-server: $schema=../schemas/plant.schema.json` on top of a file.
"""

import inspect
import json
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from edge_agent.config.plant import PlantFile
from edge_agent.config.recipes import RecipeFile
from edge_agent.config.stations import StationConfig

ROOT = Path(__file__).resolve().parent.parent
FILES: dict[str, type[BaseModel]] = {"plant": PlantFile, "station": StationConfig, "recipe": RecipeFile}
HEAD = (
    "# Configuration keys\n\n"
    "Made by `scripts/generate_config_docs.py` from `edge_agent/config/`; do not edit. `edge-agent check FOLDER` finds "
    "all errors at once and names file, line and key. An unknown key is an error. Relative paths start at the folder "
    "of `plant.yaml`.\n"
)


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and every section below it, each once, in reading order."""
    seen: set[type[BaseModel]] = set()

    def walk(one: type[BaseModel]) -> Iterator[type[BaseModel]]:
        if one in seen:
            return
        seen.add(one)
        yield one
        for field in one.model_fields.values():
            for below in models_in(field.annotation):
                yield from walk(below)

    return walk(model)


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The section models that an annotation mentions."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from models_in(inner)


def type_words(annotation: object) -> str:
    """A type as people write it."""
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{word}`" for word in typing.get_args(annotation))
    if origin is typing.Annotated:
        return type_words(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_words(inner) for inner in typing.get_args(annotation) if inner is not type(None))
    if origin in (list, tuple):
        inner = ", ".join(type_words(part) for part in typing.get_args(annotation) if part is not Ellipsis)
        return f"list of {inner}" if origin is list else f"[{inner}]"
    if origin is dict:
        key, value = typing.get_args(annotation)
        return f"map of {type_words(key)} to {type_words(value)}"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    names = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))  # type: ignore[call-overload,no-any-return]


def limits(field: FieldInfo) -> str:
    """The limits of a value."""
    words = {"gt": "> {}", "ge": ">= {}", "lt": "< {}", "le": "<= {}", "pattern": "matches `{}`"}
    found = [
        words[name].format(value)
        for part in field.metadata
        for name in words
        if (value := getattr(part, name, None)) is not None
    ]
    return ", ".join(found)


def default(field: FieldInfo) -> str:
    """The default of a value, or that it is required."""
    if field.is_required():
        return "required"
    value = field.default
    if value is PydanticUndefined or value is None or isinstance(value, BaseModel):
        return ""
    return f"`{json.dumps(value, default=str)}`"


def page() -> str:
    """docs/configuration.md."""
    parts = [HEAD]
    for name, model in FILES.items():
        parts.append(f"\n# {name} file\n")
        for section in sections(model):
            parts.append(f"\n## {section.__name__}\n\n{inspect.cleandoc(section.__doc__ or '')}\n")
            parts.append("\n| Key | Type | Limits | Default | Meaning |\n|---|---|---|---|---|\n")
            for key, field in section.model_fields.items():
                cells = [
                    f"`{key}`",
                    type_words(field.annotation),
                    limits(field),
                    default(field),
                    field.description or "",
                ]
                parts.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n")
    return "".join(parts)


def outputs() -> dict[Path, str]:
    """Every generated file and its text."""
    made = {ROOT / "docs" / "configuration.md": page()}
    for name, model in FILES.items():
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | model.model_json_schema()
        made[ROOT / "plant_config" / "schemas" / f"{name}.schema.json"] = json.dumps(schema, indent=2) + "\n"
    return made


def main() -> int:
    """Write the files; with ``--check`` only say which are out of date."""
    stale = [path for path, text in outputs().items() if not path.is_file() or path.read_text("utf-8") != text]
    for path in stale:
        print(f"{'out of date' if '--check' in sys.argv else 'writing'}: {path.relative_to(ROOT)}")
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(outputs()[path], "utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
