"""Bring the schema up to date. Alembic (47 MB) is loaded only when there is something to do."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, inspect, select, table
from sqlalchemy import column as named

from edge_agent.adapters.store.schema import REVISIONS
from edge_agent.domain.faults import ConfigError

_VERSION: Select[Any] = select(named("version_num")).select_from(table("alembic_version"))


def upgrade(connection: Connection, place: str) -> bool:
    """Upgrade inside the connection's transaction; was there anything to do?

    Raises:
        ConfigError: the schema was made by a newer program, or the database is not ours.
    """
    found = revision(connection, place)
    if found == REVISIONS[-1]:
        return False
    if found is not None and found not in REVISIONS:
        raise ConfigError(
            f"{place}: schema revision {found} is not known to this program (it knows {REVISIONS[0]} to "
            f"{REVISIONS[-1]}): it was made by a newer version; install that version, or restore an older backup"
        )
    _run_alembic(connection)
    return True


def revision(connection: Connection, place: str) -> str | None:
    """The schema's revision; None for an empty database. Raises ConfigError: tables, but not ours."""
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        return connection.execute(_VERSION).scalar()
    if tables:
        raise ConfigError(f"{place}: holds tables that are not ours ({', '.join(sorted(tables)[:3])}); use another one")
    return None


def _run_alembic(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
