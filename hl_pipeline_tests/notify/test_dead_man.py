from __future__ import annotations

from pathlib import Path

from hl_pipeline.model.alert import NoticeKind
from hl_pipeline.notify.dead_man import REPEAT_MS, STANDSTILL_MS, Watch, recall, remember, standstill

MINUTE = 60_000
NOW = 1_768_046_420_000


def test_one_bad_look_is_not_told_two_are_and_then_every_hour() -> None:
    watch, told = Watch(), []
    for minute in range(130):
        now_ms = NOW + minute * MINUTE
        watch = watch.after(is_trouble=True, now_ms=now_ms)
        for name, kind in watch.due(["a"], now_ms).items():
            told.append((minute, kind))
            watch = watch.told(name, kind, now_ms)
    assert told == [(1, NoticeKind.FIRING), (61, NoticeKind.REPEAT), (121, NoticeKind.REPEAT)]
    assert watch.since_ms == NOW
    over = watch.after(is_trouble=False, now_ms=NOW + 131 * MINUTE)
    assert over.due(["a"], NOW + 131 * MINUTE) == {"a": NoticeKind.RESOLVED}
    assert over.told("a", NoticeKind.RESOLVED, NOW).due(["a"], NOW + 132 * MINUTE) == {}


def test_a_channel_that_did_not_take_it_is_due_again_alone() -> None:
    watch = Watch(looks=2, since_ms=NOW).told("a", NoticeKind.FIRING, NOW)
    assert watch.due(["a", "b"], NOW + MINUTE) == {"b": NoticeKind.FIRING}
    over = watch.after(is_trouble=False, now_ms=NOW + 2 * MINUTE)
    assert over.due(["a", "b"], NOW + 2 * MINUTE) == {"a": NoticeKind.RESOLVED}


def test_a_short_trouble_leaves_no_trace() -> None:
    watch = Watch().after(is_trouble=True, now_ms=NOW).after(is_trouble=False, now_ms=NOW + MINUTE)
    assert watch == Watch()


def test_judging_stands_still_after_five_minutes_or_when_it_never_began() -> None:
    assert standstill(NOW, NOW + STANDSTILL_MS) is None
    assert "5 minutes ago" in (standstill(NOW, NOW + STANDSTILL_MS + 1) or "")
    assert "never judged" in (standstill(None, NOW) or "")


def test_what_is_remembered_is_recalled_and_rubbish_is_a_first_look(tmp_path: Path) -> None:
    path = tmp_path / "home" / "watch.json"
    watch = Watch(3, NOW, {"a": NOW + REPEAT_MS})
    remember(path, watch)
    assert recall(path) == watch
    path.write_text('{"looks": 1')
    assert recall(path) == Watch()
    path.write_text("[]")
    assert recall(path) == Watch()
