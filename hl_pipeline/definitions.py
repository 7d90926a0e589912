"""The front door: what Dagster loads.

Loading it does no I/O and needs no secret, no database and no variable; the
resources read ``HL_*`` when a run begins. What there is stands in
``defs/listing.py``, by name; tests and the demo call ``build`` with parts of
their own.
"""

from __future__ import annotations

from hl_pipeline.defs.listing import build

defs = build()
