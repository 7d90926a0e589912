"""Where Dagster keeps its own records: our Postgres through dagster-postgres, or SQLite while none runs.

``dagster.yaml`` stands in the project's root, where ``dagster dev`` and
``dagster definitions validate`` read it, with no variable set and perhaps no
database running. A plain ``postgres`` section would refuse both.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from dagster import DagsterInstance
from dagster._config import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log import EventLogStorage
from dagster._core.storage.runs import RunStorage
from dagster._core.storage.schedules import ScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

from hl_pipeline.defs.clean_storage import keep_clean
from hl_pipeline.model.failure import DatabaseUnavailable, InvalidSetting
from hl_pipeline.model.redact import hide_variables
from hl_pipeline.notify.last_words import guard_process
from hl_pipeline.runtime import open_database
from hl_pipeline.settings import Settings

#: Set for the children of `hl up` and by `hl env`; its scheme is postgresql+psycopg2.
URL_VARIABLE = "DAGSTER_STORAGE_URL"
_LOG = logging.getLogger("dagster.hl_pipeline")


class ProjectStorage(DagsterStorage, ConfigurableClass):
    """The storage that ``DAGSTER_STORAGE_URL`` names; else that of the settings' database; else SQLite under the home.

    Only an absent embedded server leads to SQLite, and it is said: a configured
    server that cannot be reached is an error.
    """

    def __init__(self, inner: DagsterStorage, inst_data: ConfigurableClassData | None = None) -> None:
        self._inner = inner
        self._inst_data = inst_data
        super().__init__()  # type: ignore[no-untyped-call]  # Dagster's base has no annotations

    def register_instance(self, instance: DagsterInstance) -> None:
        """Hand the instance on: SQLite's storages ask for it."""
        super().register_instance(instance)
        if not self._inner.has_instance:
            self._inner.register_instance(instance)

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What makes it again in another process."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """It has no settings of its own."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:  # noqa: ARG003  # Dagster's signature
        """Choose the storage; connects, as Dagster's own storages do.

        Each of Dagster's processes comes by here before it says anything, so this is where its words are guarded.
        """
        hide_variables(os.environ)
        guard_process()
        return cls(keep_clean(_chosen()), inst_data)

    @property
    def event_log_storage(self) -> EventLogStorage[Any]:
        """Events, materializations, checks."""
        return self._inner.event_log_storage

    @property
    def run_storage(self) -> RunStorage[Any]:
        """Runs, back-fills, daemon heartbeats."""
        return self._inner.run_storage

    @property
    def schedule_storage(self) -> ScheduleStorage[Any]:
        """Ticks and switches of schedules and sensors."""
        return self._inner.schedule_storage


def _chosen() -> DagsterStorage:
    url = os.environ.get(URL_VARIABLE)
    if url:
        if not url.startswith("postgresql+psycopg2://"):
            raise InvalidSetting(
                f"{URL_VARIABLE} must begin with postgresql+psycopg2:// (with another driver no run is recorded); "
                "set what `hl env` prints"
            )
        return DagsterPostgresStorage(url)
    settings = Settings.load()
    try:
        with open_database(settings, application_name="dagster") as database:
            return DagsterPostgresStorage(database.dagster_url)
    except DatabaseUnavailable:
        if settings.database_url is not None:
            raise
    folder = _sqlite_folder(settings)
    _LOG.warning("no Postgres is running, so Dagster keeps its records in %s; `hl db start` starts one", folder)
    return DagsterSqliteStorage(str(folder))


def _sqlite_folder(settings: Settings) -> Path:
    folder = settings.venue_home / "dagster_sqlite"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
