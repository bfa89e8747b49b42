"""Configurations of `pybuild lint`: ours, hadolint's, hadolint's variables."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.linting import BAD, Lint


def test_a_project_has_its_configuration(lint: Lint) -> None:
    files = {
        "pybuild.toml": '[lint]\nignore = ["DL3006"]\nfail-on = "style"\nexclude = ["old/*"]\n'
        'severity = { DL3007 = "style" }\n',
        "a/Dockerfile": "FROM debian\nFROM debian:latest\n",
        "old/Dockerfile": BAD,
        "b/pyproject.toml": '[tool.pybuild.lint]\nselect = ["DL3003"]\n',
        "b/Dockerfile": "FROM debian\nRUN cd /x\n",
        "c/pyproject.toml": '[project]\nname = "lint"\n',
        "c/Dockerfile": BAD,
    }

    done = lint(files=files)

    assert done.code == 1
    assert done.out == (
        "a/Dockerfile:2:6: style[DL3007]: `latest` moves; pin a release tag or a digest\n"
        "b/Dockerfile:2:5: warning[DL3003]: use `WORKDIR` to change the directory\n"
    )
    assert lint("--isolated", files=files).out.count("DL3006") == 4
    assert lint("--config", "b/pyproject.toml", "a").code == 0


def test_hadolints_configuration_is_read(lint: Lint) -> None:
    pytest.importorskip("yaml")
    files = {
        ".hadolint.yaml": "ignored: [DL3006]\noverride:\n  info: [DL4000]\n",
        "Dockerfile": "FROM debian\nMAINTAINER a\n",
    }

    done = lint(files=files)

    assert (done.code, done.out.split(" `")[0]) == (1, "Dockerfile:2:1: info[DL4000]:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[lint]\n{ignored} = []\n", "unknown key `ignored`; did you mean `ignore`?"),
        (
            "[lint]\nselect = {'DL3006'}\n",
            '`select` is a list of texts; write `select = ["DL3006"]`',
        ),
        ("[lint]\nfail-on = {'bad'}\n", "`fail-on` cannot be `bad`; one of error, warning"),
        ("# fail-on\n[lint]\nselect = [\n  {'DL30O6'},\n]\n", "unknown rule `DL30O6`; did you"),
        ("[lint]\nselect = [{'DL9999'}]\n", "unknown rule `DL9999`; this rule of hadolint"),
        ("[lint.severity]\nDL3006={'x'}\n", "`severity.DL3006` cannot be `x`"),
        (
            "[lint]\npreset = {'hadlint'}\n",
            "`preset` cannot be `hadlint`; did you mean `hadolint`?",
        ),
        ("[lint]\nstrict-labels = {1}\n", "`strict-labels` is `true` or `false`, not `1`"),
        ("[lint]\nlabel-schema = {a = {'uri'}}\n", "`label-schema.a` cannot be `uri`; did you"),
        ("[lint]\nignore = [{'all'}]\n", "unknown rule `all`; did you mean `ALL`?"),
        ("[{lnt}]\nselect = []\n", "unknown key `lnt`; the only table is `lint`"),
        ("[lint{\n}", "`pybuild.toml` is no TOML: expected ']'"),
    ],
)
def test_a_wrong_configuration_is_2_and_pointed_at(lint: Lint, text: str, message: str) -> None:
    """What is in braces that hold no `=` is what is underlined."""
    found = re.search(r"\{([^{}=]*)\}", text)
    assert found
    written = text[: found.start()] + found[1] + text[found.end() :]
    line = written.count("\n", 0, found.start()) + 1
    column = found.start() - (written.rfind("\n", 0, found.start()) + 1) + 1

    done = lint(files={"pybuild.toml": written, "Dockerfile": BAD})

    assert (done.code, done.out) == (2, "")
    assert message in joined(done.err)
    assert f"pybuild.toml:{line}:{column}\n" in done.err


@pytest.mark.parametrize("text", ["tool = 3 # lint\n", "[tool]\npybuild = 3 # lint\n"])
def test_a_pyproject_of_others_is_left_alone(lint: Lint, text: str) -> None:
    assert lint(files={"pyproject.toml": text, "Dockerfile": BAD}).code == 1


def test_several_mistakes_are_told_at_once(lint: Lint) -> None:
    text = "ignored: [DL30O6]\ntrusted-registries: [a]\nno-fail: maybe\n"

    done = lint(files={".hadolint.yaml": text, "Dockerfile": BAD})

    assert done.code == 2
    assert done.err.count("error[lint/bad-config]") == 3


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("trusted-registries: [a]\n", "1:1", "unknown key `trusted-registries`; did you mean `tr"),
        ("trustedRegistries: docker.io\n", "1:20", "is a list of texts, not a string; write `trus"),
        ("ignored:\n- DL3006\n- DL30O6\n", "3:3", "unknown rule `DL30O6`; did you mean `DL30"),
        ("override:\n  infos: [DL3006]\n", "2:3", "unknown level `infos`; did you mean `info`?"),
        ("override:\n  info: [1]\n", "2:10", "`info` is a list of texts; this is a number"),
        ("override: [info]\n", "1:11", "`override` is a mapping, not a list"),
        ("label-schema:\n  a: uri\n", "2:6", "unknown kind of label `uri`; did you mean `url`?"),
        ("failure-threshold: high\n", "1:20", "unknown `failure-threshold` `high`; one of error"),
        ("format: xml\n", "1:9", "unknown format `xml`; one of tty, json"),
        ("format:\n", "1:8", "`format` is a text, not nothing"),
        ("label-schema: {a: [b]}\n", "1:19", "`a` is a text, not a list"),
        ("ignored: [all]\n", "1:11", "unknown rule `all`; did you mean `ALL`?"),
        ("no-fail: yes\n", "1:10", "`no-fail` is `true` or `false`, not a string"),
        ("ignored: [DL3006\n", "2:1", "this is no YAML"),
        ("no-fail: true\nno-fail: false\n", "2:1", "the key `no-fail` is already defined"),
        ("- a\n", "1:1", "the configuration is a mapping, not a list"),
    ],
)
def test_a_mistake_in_hadolints_configuration_is_pointed_at(
    lint: Lint, text: str, place: str, message: str
) -> None:
    done = lint(files={".hadolint.yaml": text, "Dockerfile": BAD})

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error[lint/bad-config]")
    assert f" --> .hadolint.yaml:{place}\n" in done.err
    assert message in joined(done.err)


def joined(text: str) -> str:
    """Return a message with its hint behind it, without what stands between."""
    return re.sub(r"\n -->(?:.*\n)*?\n?(?:hint: |$)", "; ", text)


def test_all_keys_of_hadolint_are_read(lint: Lint) -> None:
    text = """\
ignored: [DL3006]
override:
  error: [DL3015]
  style: [DL3009]
trustedRegistries: ["*.example.org"]
label-schema:
  version: semver
  team:
strict-labels: true
disable-ignore-pragma: true
failure-threshold: error
format: json
no-color: true
verbose: true
"""
    dockerfile = """\
FROM debian
# hadolint ignore=DL3015
RUN apt-get update && apt-get install -y a=1
LABEL version=1 other=x
"""

    done = lint(files={".hadolint.yaml": text, "Dockerfile": dockerfile})

    assert [(each["line"], each["code"], each["level"]) for each in json.loads(done.out)] == [
        (1, "DL3026", "error"),
        (1, "DL3049", "info"),
        (3, "DL3009", "style"),
        (3, "DL3015", "error"),
        (4, "DL3056", "warning"),
        (4, "DL3050", "info"),
    ]
    assert done.code == 1
    assert done.err.startswith("Dockerfile: .hadolint.yaml\n")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 1),
        ("failure-threshold: error\n", 0),
        ("failure-threshold: warning\n", 1),
        ("no-fail: true\n", 0),
        ("override: {style: [DL3006]}\n", 0),
        ("override: {style: [DL3006]}\nfailure-threshold: none\n", 1),
    ],
)
def test_hadolints_threshold_decides(lint: Lint, text: str, code: int) -> None:
    assert lint(files={".hadolint.yml": text, "Dockerfile": BAD}).code == code


def test_hadolints_colours_can_be_switched_off(lint: Lint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildkit_py.cli.paint._chosen", "always")

    assert "\x1b" in lint("--format=full", files={"Dockerfile": BAD}).out
    assert "\x1b" not in lint("--format=full", files={".hadolint.yaml": "no-color: true"}).out


def test_several_formats_come_one_after_the_other(lint: Lint) -> None:
    files = {".hadolint.yaml": "formats: [gnu, json]\n", "Dockerfile": BAD}

    done = lint(files=files)

    first, _, rest = done.out.partition("\n")
    assert first.startswith("hadolint:Dockerfile:1: DL3006 warning: ")
    assert json.loads(rest)[0]["code"] == "DL3006"
    assert lint("--format", "concise").out.count("\n") == 1


def test_hadolints_variables_are_read(lint: Lint, monkeypatch: pytest.MonkeyPatch) -> None:
    dockerfile = "FROM a.example.org/b\nLABEL version=1\nRUN cd /x; sudo y\n"
    for name, value in (
        ("HADOLINT_IGNORE", "DL3006, DL3004"),
        ("HADOLINT_OVERRIDE_STYLE", "DL3003"),
        ("HADOLINT_TRUSTED_REGISTRIES", "docker.io"),
        ("HADOLINT_REQUIRE_LABELS", "version:semver"),
        ("HADOLINT_FORMAT", "json"),
    ):
        monkeypatch.setenv(name, value)

    done = lint(files={"Dockerfile": dockerfile})

    assert [(each["code"], each["level"]) for each in json.loads(done.out)] == [
        ("DL3026", "error"),
        ("DL3056", "warning"),
        ("DL3003", "style"),
    ]
    # Lists add up, and of single values the file's counts.
    monkeypatch.setenv("HADOLINT_NOFAIL", "1")
    text = "ignored: [DL3026, DL3056]\nno-fail: false\nfailure-threshold: style\n"
    done = lint(files={".hadolint.yaml": text})
    assert [each["code"] for each in json.loads(done.out)] == ["DL3003"]
    assert done.code == 1
    # They are hadolint's, so ours outdo them, and so does `--isolated`.
    assert "DL3006" in lint("--isolated").out
    assert "DL3006" in lint(files={"pybuild.toml": "[lint]\n"}).out


@pytest.mark.parametrize(
    ("name", "value", "column", "message"),
    [
        ("HADOLINT_IGNORE", "DL3006, DL30O6", 9, "unknown rule `DL30O6`; did you mean `DL30"),
        ("HADOLINT_FORMAT", "json,xml", 6, "unknown format `xml`"),
        ("HADOLINT_NOFAIL", "maybe", 1, "`no-fail` is `true` or `false`, not a string"),
        ("HADOLINT_FAILURE_THRESHOLD", "warn", 1, "did you mean `warning`?"),
        ("HADOLINT_REQUIRE_LABELS", "a:text,b:uri", 10, "unknown kind of label `uri`; did you"),
    ],
)
def test_a_mistake_in_a_variable_is_pointed_at(
    lint: Lint, monkeypatch: pytest.MonkeyPatch, name: str, value: str, column: int, message: str
) -> None:
    monkeypatch.setenv(name, value)

    done = lint(files={"Dockerfile": BAD})

    assert (done.code, done.out) == (2, "")
    assert f" --> {name}:1:{column}\n" in done.err
    assert message in joined(done.err)


def test_a_user_has_a_configuration_of_hadolint(lint: Lint, tmp_path: Path) -> None:
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config" / "hadolint.yaml").write_text("ignored: [DL3006]\n")

    assert lint(files={"Dockerfile": BAD}).code == 0
    assert lint(files={".hadolint.yaml": "{}"}).code == 1


def test_our_configuration_decides_for_rules_that_ask(lint: Lint) -> None:
    text = """\
[lint]
trusted-registries = ["docker.io"]
label-schema = { "org.opencontainers.image.version" = "semver" }
strict-labels = true
disable-ignore-pragma = true
"""
    dockerfile = """\
# pybuild: ignore-file[all]
FROM example.org/a:1
LABEL org.opencontainers.image.version=1 other=2
"""

    done = lint(files={"pybuild.toml": text, "Dockerfile": dockerfile})

    assert [line.split("[")[1].split("]")[0] for line in done.out.splitlines()] == [
        "DL3026", "DL3056", "DL3050"
    ]  # fmt: skip
