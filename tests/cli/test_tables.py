"""Tables, templates and ages as docker's client shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from buildkit_py.cli.tables import BadTemplate, age, moment, render

ROWS = [{"Name": "one", "ID": "1"}, {"Name": "a longer one", "ID": "<22>"}]
NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)


def shown(form: str) -> str:
    return render(ROWS, form, ["Name", "ID"], {"ID": "IMAGE ID"})


@pytest.mark.parametrize("form", ["", "table"])
def test_columns_are_as_wide_as_what_is_in_them(form: str) -> None:
    assert shown(form) == (
        "NAME           IMAGE ID\n"
        "one            1\n"
        "a longer one   <22>\n"
    )  # fmt: skip


def test_json_and_templates() -> None:
    assert shown("json").splitlines()[0] == '{"Name":"one","ID":"1"}'
    assert shown("{{.Name}}={{ json .ID }}") == 'one="1"\na longer one="\\u003c22\\u003e"\n'
    assert shown("{{json .}}").splitlines()[0] == '{"Name":"one","ID":"1"}'
    assert shown("table {{.ID}}\\t{{.Name}}").splitlines() == [
        "IMAGE ID   NAME",
        "1          one",
        "<22>       a longer one",
    ]


@pytest.mark.parametrize("form", ["{{.Nothing}}", "{{range .}}x{{end}}", "{{.ID | upper}}", "{{."])
def test_templates_beyond_that_are_refused(form: str) -> None:
    with pytest.raises(BadTemplate):
        shown(form)


def test_no_rows_are_a_heading_alone() -> None:
    assert render([], "", ["Name", "ID"], {}) == "NAME   ID\n"
    assert render([], "json", ["Name"], {}) == ""
    assert render([], "table {{.Name}}", ["Name"], {}) == "NAME\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"),
        (119, "About a minute"), (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"),
        (5400, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"), (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"), (730 * 86400, "2 years"), (-5, "Less than a second"),
    ],
)  # fmt: skip
def test_ages(seconds: float, text: str) -> None:
    then = (NOW - timedelta(seconds=seconds)).isoformat()

    assert age(then, NOW) == f"{text} ago"


def test_times_of_go_have_nanoseconds() -> None:
    assert moment("2024-05-01T14:00:00.123456789+02:00") == "2024-05-01 12:00:00 +0000 UTC"
    assert moment("2024-05-01T12:00:00Z") == "2024-05-01 12:00:00 +0000 UTC"
    assert moment(None) == moment("soon") == age("") == "N/A"


def test_no_cell_of_a_table_moves_the_cursor() -> None:
    rows = [{"Command": "a\x1b[2J\nroot\tb\x9b1m", "Name": "café"}]

    assert render(rows, "table", ["Command", "Name"], {}).splitlines()[1:] == [
        r"a\x1b[2J\nroot    b\x9b1m   café"
    ]
