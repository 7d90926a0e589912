from __future__ import annotations

import pytest
from rich.text import Text

from hl_pipeline.cli.screen import console, table


def test_what_somebody_else_wrote_in_brackets_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    said = "502: [/html] [red]down[/red] at [::1]"
    console().print(
        table([("error", "left"), ("state", "left"), ("rows", "right")], [(said, Text("bad", "red"), 1234)])
    )
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split("  ")[0] == said
    assert line.split()[-2:] == ["bad", "1,234"]
