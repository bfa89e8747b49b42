"""What a group's journal tells from some moment on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildkit_py.engine import events
from buildkit_py.engine.events import Journal, News


def test_only_what_came_since_is_told_and_each_once(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), "shop")
    journal.write("notice", {"text": "long ago"})
    news = News(str(tmp_path), "shop")
    journal.write("start", {"id": "1", "name": "shop-web-1"})
    journal.write("notice", {"text": "no way out"})
    journal.write("warning", {"id": "1", "name": "shop-web-1", "text": "no swap"})

    assert news.take() == ["no way out", "shop-web-1: no swap"]
    assert news.take() == []


def test_a_torn_line_is_told_when_it_is_whole(tmp_path: Path) -> None:
    news = News(str(tmp_path), "shop")
    path = Path(events.path_of(str(tmp_path), "shop"))
    path.parent.mkdir()
    path.write_text('{"event": "notice", ')
    torn = news.take()
    with path.open("a") as file:
        file.write('"text": "whole"}\n')

    assert (torn, news.take()) == ([], ["whole"])


def test_a_journal_that_is_turned_over_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(str(tmp_path), "shop")
    journal.write("notice", {"text": "long ago"})
    news = News(str(tmp_path), "shop")
    monkeypatch.setattr(events, "MOST_BYTES", 1)
    journal.write("notice", {"text": "the last one of the old file"})
    monkeypatch.setattr(events, "MOST_BYTES", 1 << 20)
    assert not os.path.exists(events.path_of(str(tmp_path), "shop"))
    journal.write("notice", {"text": "1"})

    assert news.take() == ["the last one of the old file", "1"]
