"""``hl drill``: the steps, and the exit code that a script can go by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hl_pipeline import drill as drills
from hl_pipeline.drill import DrillReport, Step
from hl_pipeline.model.clock import Clock
from hl_pipeline_tests.cli.conftest import Run

HELD = [Step(name, expected, "it was so", True, 1.0, 0.5) for name, expected, _ in drills.STEPS]
BROKEN = [HELD[0], HELD[1]._replace(seen="nothing landed", held=False)]


@pytest.mark.parametrize("steps", [HELD, BROKEN], ids=["held", "broken"])
def test_the_steps_are_shown_and_one_that_did_not_hold_needs_a_person(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, steps: list[Step]
) -> None:
    folders = []

    def played(folder: Path, _: Clock) -> DrillReport:
        folders.append(folder)
        return DrillReport(list(steps))

    monkeypatch.setattr(drills, "drill", played)
    shown, document = run("drill"), run("drill", "--json")
    assert {folder.name for folder in folders} == {"drill"}
    assert all(step.name.split()[-1] in shown.stdout for step in steps)
    told = json.loads(document.stdout)
    assert [step["name"] for step in told["steps"]] == [step.name for step in steps]
    if steps is HELD:
        assert (shown.exit_code, document.exit_code, told["held"]) == (0, 0, True)
    else:
        assert (shown.exit_code, document.exit_code, told["held"]) == (2, 2, False)
        assert "step 2 of 4, the first endpoint fails" in shown.stderr
