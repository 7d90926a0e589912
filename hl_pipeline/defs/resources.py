"""Settings and the opened pipeline, as Dagster hands them to a run.

Neither takes configuration: whoever may launch a run can override a resource's
fields in its config, so an address kept there could be pointed at another host
(operations.md, finding 7). Both are read from ``HL_*`` when a run begins.
"""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from hl_pipeline.defs.tags import tell
from hl_pipeline.runtime import Pipeline, open_pipeline
from hl_pipeline.settings import Settings


@dg.resource(config_schema={}, description="The settings of this process, from HL_*. Connects to nothing.")
def settings_from_environment(_: dg.InitResourceContext) -> Settings:
    """Read ``HL_*``; raises InvalidSetting naming every variable that is wrong."""
    return Settings.load()


@dg.resource(config_schema={}, description="Database, exchange and clock, opened for one run or tick, closed after it.")
def pipeline_from_environment(context: dg.InitResourceContext) -> Iterator[Pipeline]:
    """Open the pipeline; raises what ``open_pipeline`` raises, with the next step in the message.

    A run that nobody gave our tags gets them here, the first place of ours that every run comes by.
    """
    with open_pipeline(Settings.load()) as pipeline:
        if context.run is not None and context.instance is not None:
            tell(context.instance, context.run, pipeline)
        yield pipeline
