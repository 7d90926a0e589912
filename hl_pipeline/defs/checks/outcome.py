"""What every check's result looks like: what was found, how bad that is, until when it can be healed, what to press.

A check that cannot run fails its step with a sentence that says so; it neither passes nor blames the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

from hl_pipeline.defs.describe import NEXT_STEP, untick
from hl_pipeline.health.runbooks import RUNBOOKS, page, runbook_path
from hl_pipeline.health.status import Status, Verdict
from hl_pipeline.model.failure import PipelineError, TryAgain

HOW_BAD, UNTIL, RUNBOOK, RUNBOOK_TEXT = "how bad", "can be healed", "runbook", "runbook text"


def specs_of(asset: dg.AssetsDefinition, described: Mapping[str, str]) -> list[dg.AssetCheckSpec]:
    """One spec a name, on ``asset``; each knows its runbook."""
    return [
        dg.AssetCheckSpec(
            name, asset=asset.key, description=text, metadata={RUNBOOK: dg.MetadataValue.path(runbook_path(name))}
        )
        for name, text in described.items()
    ]


def outcome(
    key: dg.AssetCheckKey,
    *,
    passed: bool,
    found: str,
    is_grave: bool = True,
    step: str = "",
    until: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> dg.AssetCheckResult:
    """The result of a check. ``found`` says what was judged, without a full stop at its end.

    ``is_grave`` makes a failure an error, else it is a warning. ``step`` and ``until`` replace what the check's
    runbook says of every such failure. On failure the runbook itself is in the metadata.
    """
    told = _trouble(key.name, is_grave=is_grave, step=step, until=until) if not passed else {}
    sentence = found
    if told:
        parts = [f"How bad: {told[HOW_BAD]}", f"Can be healed: {told[UNTIL]}", f"Next: {told[NEXT_STEP]}"]
        sentence = ". ".join([found, *parts])
    text = page(key.name) if told else ""
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR if is_grave else dg.AssetCheckSeverity.WARN,
        description=sentence,
        metadata={
            **{name: untick(text) for name, text in told.items()},
            RUNBOOK: dg.MetadataValue.path(runbook_path(key.name)),
            **({RUNBOOK_TEXT: dg.MetadataValue.md(text)} if text else {}),
            **(metadata or {}),
        },
    )


def result_of(key: dg.AssetCheckKey, verdict: Verdict | None, *, until: str = "") -> dg.AssetCheckResult:
    """The verdict as Dagster's result. Without one, no series of that interval is tracked, which is as configured."""
    if verdict is None:
        found = "no series is tracked that this could be asked of (HL_MARKETS, HL_INTERVALS)"
        return outcome(key, passed=True, found=found)
    found, _, step = verdict.sentence.partition(". Next: ")
    told = {
        name: round(value, 2) if isinstance(value, float) else value
        for name, value in verdict.numbers.items()
        if value is not None
    }
    return outcome(
        key,
        passed=verdict.passed,
        found=found,
        is_grave=verdict.severity == "error",
        step=step,
        until=until,
        metadata={"status": str(verdict.status), **told},
    )


def results(
    judged: Iterable[tuple[dg.AssetCheckKey, Verdict | None]], until: Mapping[str, str] | None = None
) -> Iterator[dg.AssetCheckResult]:
    """The verdicts as results, ``until`` by check name; then, if one could not be measured, the step fails and says so.

    Raises:
        Failure: after the others, naming each check whose numbers could not be had.
    """
    could_not_run: list[str] = []
    for key, verdict in judged:
        if verdict is not None and verdict.status is Status.UNKNOWN:
            could_not_run.append(_could_not_run(key.name, verdict.sentence))
        else:
            yield result_of(key, verdict, until=(until or {}).get(key.name, ""))
    if could_not_run:
        raise dg.Failure("; ".join(could_not_run), allow_retries=False)


@contextmanager
def judging(what: str) -> Iterator[None]:
    """Turn whatever keeps a check from being evaluated into a failed step that says so."""
    try:
        yield
    except dg.Failure:
        raise
    except PipelineError as error:
        raise dg.Failure(_could_not_run(what, str(error)), allow_retries=isinstance(error, TryAgain)) from error
    except Exception as error:
        why = f"{type(error).__name__}: {error}".strip()
        raise dg.Failure(_could_not_run(what, why), allow_retries=False) from error


def _could_not_run(what: str, why: str) -> str:
    return f"{what} could not run, which says nothing about the data: {why}"


def _trouble(check: str, *, is_grave: bool, step: str, until: str) -> dict[str, str]:
    known = RUNBOOKS.get(check)
    harm = known.harm if known else "see the description of the check"
    return {
        HOW_BAD: f"{'an error' if is_grave else 'a warning'}: {harm}",
        UNTIL: until or (known.until if known else "not known"),
        NEXT_STEP: step or (known.press if known else "open the check; its description says what to do"),
    }
