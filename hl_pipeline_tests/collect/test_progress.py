from __future__ import annotations

from hl_pipeline.collect.fill import FillReport
from hl_pipeline.collect.progress import Progress, compared
from hl_pipeline.model.forecast import Forecast

ASKED = Forecast(calls=10, weight=400, rows=20_000)


class Watch:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_it_speaks_at_most_every_ten_seconds_and_says_when_it_will_end() -> None:
    watch, said = Watch(), list[str]()
    progress = Progress(ASKED, said.append, monotonic=watch)
    for second in range(1, 21):
        watch.seconds = second
        progress(FillReport(planned=10, landed=second // 4, weight=second * 10, received=second * 500))
    assert said == [
        "2 of 10 requests, 100 of about 400 weight, 5,000 of about 20,000 rows; about 30 s left",
        "5 of 10 requests, 200 of about 400 weight, 10,000 of about 20,000 rows; about 20 s left",
    ]


def test_failures_are_counted_and_long_waits_are_in_minutes() -> None:
    watch = Watch()
    progress = Progress(ASKED, lambda _: None, monotonic=watch)
    watch.seconds = 100
    told = progress.sentence(FillReport(planned=10, landed=1, weight=40, failures=["BTC 1h: down"]))
    assert told.startswith("2 of 10 requests, 1 failed, ")
    assert told.endswith("about 15 min left")
    assert progress.sentence(FillReport(planned=10)).endswith("the time left is not known yet")


def test_forecast_and_actual_stand_side_by_side() -> None:
    found = compared(ASKED, FillReport(landed=10, weight=390, received=20_100, failures=["one"]))
    assert [(m.what, m.forecast, m.actual, m.off_percent) for m in found] == [
        ("requests", 10, 11, 10.0),
        ("weight", 400, 390, -2.5),
        ("rows", 20_000, 20_100, 0.5),
    ]
    assert [m.off_percent for m in compared(Forecast(0, 0, 0), FillReport())] == [None] * 3
