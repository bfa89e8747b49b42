"""What each format looks like, whole; golden files in fixtures/lint."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from buildkit_py.core.source import Source
from buildkit_py.dockerfile.lint.formats import FORMATS, show
from buildkit_py.dockerfile.lint.report import Checked, Folders
from buildkit_py.dockerfile.lint.run import lint
from buildkit_py.dockerfile.lint.select import select
from tests.conftest import Golden

GOLDEN = Path(__file__).resolve().parents[3] / "fixtures" / "lint"

TEXT = """\
FROM debian AS Build
MAINTAINER é, "ü"
RUN apt-get update && \\
    apt-get install -y \\
      curl
CMD run \\
  me
"""


def checked() -> list[Checked]:
    sources = [
        Source("app, 1/Dockerfile", TEXT),
        Source("Dockerfile.broken", "FROM a\nRUM b\n"),
        Source("clean.Dockerfile", "FROM debian:12\n"),
    ]
    return [Checked(source, tuple(lint(source, select("strict")))) for source in sources]


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_is_what_it_was(form: str, golden: Golden) -> None:
    golden(GOLDEN / f"{form}.txt", show(checked(), form))


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_to_say_is_said_in_every_format(form: str) -> None:
    text = show([Checked(Source("f", "FROM a:1\n"), ())], form)

    if form in ("json", "sarif", "gitlab", "sonarqube"):
        assert json.loads(text) is not None
    elif form in ("checkstyle", "junit"):
        assert ElementTree.fromstring(text).findall(".//error") == []
    else:
        assert text == ""


def named(form: str, name: str) -> str:
    """Return what a report says of a file, below `/w/repo/sub`."""
    source = Source(name, "FROM debian\n")
    file = Checked(source, tuple(lint(source, select())))
    return show([file], form, folders=Folders("/w/repo/sub", "/w/repo"))


@pytest.mark.parametrize(
    ("name", "path", "uri"),
    [
        ("Dockerfile", "sub/Dockerfile", "sub/Dockerfile"),
        ("./a/../Dockerfile", "sub/Dockerfile", "sub/Dockerfile"),
        ("../Dockerfile", "Dockerfile", "Dockerfile"),
        ("/w/repo/a b/ü:%", "a b/ü:%", "a%20b/%C3%BC%3A%25"),
        ("../../x/Dockerfile", "/w/x/Dockerfile", "file:///w/x/Dockerfile"),
        ("/w/repository/f", "/w/repository/f", "file:///w/repository/f"),
        ("-", "-", "-"),
    ],
)
def test_services_are_told_paths_from_the_root_of_the_repository(
    name: str, path: str, uri: str
) -> None:
    place = json.loads(named("sarif", name))["runs"][0]["results"][0]["locations"][0]
    file = place["physicalLocation"]["artifactLocation"]

    assert file["uri"] == uri
    assert ("uriBaseId" in file) == (not uri.startswith("file:"))
    assert json.loads(named("gitlab", name))[0]["location"]["path"] == path
    assert json.loads(named("codacy", name))["filename"] == path
    shown = path.replace("%", "%25").replace(":", "%3A")
    assert named("github", name).startswith(f"::warning file={shown},line=1,")


def test_a_fingerprint_does_not_depend_on_how_a_file_was_named() -> None:
    names = ("Dockerfile", "/w/repo/sub/Dockerfile", "../sub/Dockerfile")

    assert len({json.loads(named("gitlab", name))[0]["fingerprint"] for name in names}) == 1


def test_rules_in_sarif_have_all_that_code_scanning_shows() -> None:
    rules = json.loads(show(checked(), "sarif"))["runs"][0]["tool"]["driver"]["rules"]

    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert rule["fullDescription"]["text"]
        assert rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")
        assert rule["helpUri"].startswith("https://")


def test_a_line_end_in_a_name_is_no_second_line() -> None:
    source = Source("new\nline", "FROM debian\n")
    text = show([Checked(source, tuple(lint(source, select())))], "concise")

    assert text.startswith("new\\nline:1:6: warning[DL3006]: ")
    assert text.count("\n") == 1


def test_columns_are_those_of_an_editor() -> None:
    first = json.loads(show(checked(), "json"))[0]

    assert first["file"] == "app, 1/Dockerfile"
    assert (first["line"], first["column"]) == (1, 6)
    assert (first["end_line"], first["end_column"]) == (1, 12)
    assert TEXT.splitlines()[0][5:11] == "debian"


def test_fingerprints_stay_when_lines_move_and_differ_from_one_another() -> None:
    def fingerprints(text: str) -> list[str]:
        source = Source("f", text)
        file = Checked(source, tuple(lint(source, select("strict"))))
        return [entry["fingerprint"] for entry in json.loads(show([file], "gitlab"))]

    text = "FROM a:1\nENV a b\nENV a b\n"
    before = fingerprints(text)

    assert fingerprints("# moved\n\n" + text) == before
    assert len(set(before)) == len(before) == 2


def test_what_could_command_a_terminal_is_escaped() -> None:
    source = Source("a\x1b[2Jb", "FROM a:1\nWORKDIR \x1b]0;x\x07\nRUN a \udcff\n")
    file = Checked(source, tuple(lint(source, select("strict"))))

    for form in ("full", "concise", "github"):
        text = show([file], form)
        assert "\x1b" not in text
        assert "\x07" not in text
        text.encode()
