"""`pybuild lint` as it is run: paths, choices, exit codes, configuration, the cache."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from buildkit_py.cli import lint_bases, lint_cache
from buildkit_py.cli.lint_files import is_dockerfile
from buildkit_py.dockerfile import tables
from buildkit_py.dockerfile.lint.registry import all_rules
from buildkit_py.engine.images import import_image
from buildkit_py.oci.platform import parse_platform
from buildkit_py.store.store import Store
from tests.cli.linting import BAD, GOOD, Done, Lint

TREE = Path(__file__).resolve().parents[2]


def test_a_clean_file_is_0(lint: Lint) -> None:
    done = lint("Dockerfile", files={"Dockerfile": GOOD})

    assert done == Done(0, "", "nothing to say about 1 file\n")


def test_a_finding_is_1_and_one_line(lint: Lint) -> None:
    done = lint("Dockerfile", files={"Dockerfile": BAD})

    assert done == Done(
        1,
        "Dockerfile:1:6: warning[DL3006]: `debian` has no tag, so it means `latest`; pin one\n",
        "1 finding in 1 file: 1 warning\n",
    )


@pytest.mark.parametrize(
    ("level", "code"), [("error", 0), ("warning", 1), ("info", 1), ("style", 1), ("never", 0)]
)
def test_fail_on_decides(lint: Lint, level: str, code: int) -> None:
    assert lint("--fail-on", level, "Dockerfile", files={"Dockerfile": BAD}).code == code


def test_a_broken_file_hides_no_other(lint: Lint) -> None:
    done = lint("--format", "json", files={"Dockerfile": "RUM x\n", "b.Dockerfile": BAD})

    found = [(each["file"], each["code"]) for each in json.loads(done.out)]
    assert found == [("Dockerfile", "DL1000"), ("b.Dockerfile", "DL3006")]
    assert done.code == 1


def test_a_missing_file_is_2_and_hides_no_other(lint: Lint) -> None:
    done = lint("nope", "Dockerfile", files={"Dockerfile": BAD})

    assert done.code == 2
    assert "DL3006" in done.out
    assert "cannot read `nope`: no such file or directory" in done.err


def test_directories_are_walked_in_order(lint: Lint) -> None:
    files = dict.fromkeys(
        ["Dockerfile", "Dockerfile.x", "a/x.Dockerfile", "a/b/Containerfile", "z/dockerfile"], BAD
    )
    others = dict.fromkeys(
        ["Dockerfile.j2", "Dockerfile.dockerignore", "a/dockerfile.py", ".git/Dockerfile",
         "node_modules/x/Dockerfile", "Makefile"], BAD
    )  # fmt: skip

    done = lint("--format", "json", files=files | others)

    assert [each["file"] for each in json.loads(done.out)] == [
        "Dockerfile", "Dockerfile.x", "a/x.Dockerfile", "a/b/Containerfile", "z/dockerfile"
    ]  # fmt: skip


def test_a_file_that_is_named_is_read_whatever_its_name(lint: Lint) -> None:
    assert lint("Makefile", files={"Makefile": BAD}).code == 1


def test_paths_can_be_left_out(lint: Lint) -> None:
    files = {"a/Dockerfile": BAD, "b/Dockerfile": BAD, "b.Dockerfile": BAD}

    done = lint("--exclude", "a,*.Dockerfile", files=files)

    assert done.out.startswith("b/Dockerfile:1:6")
    assert done.out.count("\n") == 1


def test_standard_input_has_a_name(lint: Lint) -> None:
    assert lint("-", stdin=BAD).out.startswith("-:1:6: ")
    assert lint("-", "--stdin-filename", "x/Dockerfile", stdin=BAD).out.startswith("x/Dockerfile:")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--format", "jsn"], "unknown `--format` `jsn`", "did you mean `json`?"),
        (["--fail-on", "warn"], "unknown `--fail-on` `warn`", "did you mean `warning`?"),
        (["--preset", "x"], "unknown preset `x`", "one of default, hadolint, buildkit, strict"),
        (["--select", "DL9999"], "unknown rule `DL9999`", "not supported yet"),
        (["--ignore", "Nonsense"], "unknown rule `Nonsense`", "--list-rules"),
        (["--explain", "DL307"], "no rule is called `DL307`", "did you mean `DL30"),
        (["--fix"], "`--fix` is not supported yet", "--help"),
        (["--preest", "x"], "unknown option `--preest`", "did you mean `--preset`?"),
        (["--config", "nope.toml"], "cannot read `nope.toml`", ""),
    ],
)
def test_a_wrong_choice_is_2_and_named(
    lint: Lint, arguments: list[str], message: str, hint: str
) -> None:
    done = lint(*arguments, "Dockerfile", files={"Dockerfile": BAD})

    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert hint in done.err


def test_presets_and_codes_choose(lint: Lint) -> None:
    files = {"Dockerfile": "FROM a:1\nMAINTAINER b\nRUN cd /x\n"}

    def codes(*arguments: str) -> list[str]:
        done = lint(*arguments, "--format=json", "--fail-on=never", files=files)
        return [each["code"] for each in json.loads(done.out)]

    assert codes() == ["MaintainerDeprecated"]
    assert codes("--preset", "hadolint") == ["DL4000", "DL3003"]
    assert codes("--preset", "buildkit") == ["MaintainerDeprecated"]
    assert codes("--select", "DL3003,DL3004") == ["DL3003"]
    assert codes("--preset", "strict", "--ignore", "DL4000") == ["DL3003"]


def test_the_ignore_file_beside_is_read(lint: Lint) -> None:
    files = {"Dockerfile": "FROM a:1\nCOPY x.log /\n", ".dockerignore": "*.log\n"}

    assert "warning[CopyIgnoredFile]" in lint("Dockerfile", files=files).out
    assert lint("Dockerfile", "--context", "elsewhere").out == ""
    assert "CopyIgnoredFile" in lint("-", "--context", ".", stdin=files["Dockerfile"]).out
    own = {"Dockerfile.dockerignore": "*.txt\n"}
    assert lint("Dockerfile", files=own).out == ""


def test_an_ignore_file_that_is_none_is_2_and_hides_no_other(lint: Lint) -> None:
    files = {"a/Dockerfile": GOOD, "a/.dockerignore": "[\n", "b/Dockerfile": BAD}

    done = lint(files=files)

    assert done.code == 2
    assert done.out.startswith("b/Dockerfile:1:6")
    assert "a/.dockerignore:1:1" in done.err


def test_a_directory_that_cannot_be_read_is_2_and_hides_no_other(
    lint: Lint, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)

    done = lint(files={"secret/Dockerfile": BAD, "z/Dockerfile": BAD})

    assert done.code == 2
    assert done.out.startswith("z/Dockerfile:1:6")
    assert "cannot read `secret`: permission denied" in done.err


def test_github_is_spoken_where_github_listens(lint: Lint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    assert lint(files={"Dockerfile": BAD}).out.startswith("::warning file=Dockerfile,line=1,")


@pytest.mark.parametrize("form", ["github", "gitlab", "sarif"])
def test_services_get_paths_from_the_repositorys_root(
    lint: Lint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    lint(files={"sub/Dockerfile": BAD, "Dockerfile": BAD})
    monkeypatch.chdir("sub")
    absolute = str(tmp_path / "work" / "Dockerfile")
    arguments = (f"--format={form}", "Dockerfile", "../Dockerfile", absolute)

    # Without a repository it is the working directory.
    assert "sub/Dockerfile" not in lint(*arguments).out
    (tmp_path / "work" / ".git").mkdir()
    out = lint(*arguments).out
    assert out.count("sub/Dockerfile") == 1
    assert str(tmp_path) not in out
    assert "../" not in out
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert lint(*arguments).out.count("work/sub/Dockerfile") == 1


def test_an_answer_is_remembered_until_something_changes(
    lint: Lint, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lint(files={"Dockerfile": BAD})

    # Who asks again is told that nothing is wrong.
    monkeypatch.setattr("buildkit_py.dockerfile.lint.run.lint", lambda *_, **__: [])

    assert lint() == first
    assert lint("--format", "full").code == 1
    assert lint("--no-cache").out == ""
    assert lint("--preset", "strict").out == ""
    assert lint(files={".dockerignore": "x"}).out == ""
    assert lint(files={"Dockerfile": BAD + "#\n"}).out == ""


def test_a_changed_grammar_is_a_changed_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    grammar = tmp_path / "dockerfile.lark"
    monkeypatch.setattr(lint_cache, "GRAMMAR", str(grammar))
    monkeypatch.setattr(lint_cache, "_program", [])
    seen = set()
    for text in ("a", "ab"):
        grammar.write_text(text)
        seen.add(lint_cache.program())
        seen.add(lint_cache.program())  # looked up once a run
        lint_cache._program.clear()

    assert len(seen) == 2


def test_all_rules_are_part_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def digest(data: bytes) -> str:
        seen.append(data)
        return "sha256:0"

    monkeypatch.setattr(lint_cache, "_program", [])
    monkeypatch.setattr(lint_cache, "sha256", digest)

    lint_cache.program()

    names = {line.split(" ")[0] for line in seen[0].decode().splitlines()}
    assert {f"{rule.name.rpartition('.')[2]}.py" for rule in all_rules()} <= names


def test_a_damaged_cache_is_no_answer(lint: Lint) -> None:
    first = lint(files={"Dockerfile": BAD})
    (entry,) = Path(lint_cache.folder() or "").iterdir()

    for data in (b"", b"x", entry.read_bytes()[:-3], b"i\x01\x00\x00\x00"):
        entry.write_bytes(data)
        assert lint() == first


def test_a_cache_that_cannot_be_written_is_none(
    lint: Lint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    assert lint(files={"Dockerfile": BAD}).code == 1


def test_who_has_no_home_has_no_cache(lint: Lint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "")

    monkeypatch.setattr(os.path, "expanduser", lambda path: path)

    assert lint(files={"Dockerfile": BAD}).code == 1
    assert os.listdir() == ["Dockerfile"]


def test_bytes_that_are_no_text_are_shown(lint: Lint) -> None:
    Path("Dockerfile").write_bytes(b"FROM debian\nLABEL a \xff\xfe\n")

    done = lint("--format", "full")

    assert done.code == 1
    assert "\\udcff" in done.out


def test_base_images_of_the_local_store_are_looked_up(
    lint: Lint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lint_bases, "this_platform", lambda: parse_platform("linux/amd64"))
    root = str(tmp_path / "root")
    files_of_image = io.BytesIO()
    with tarfile.open(fileobj=files_of_image, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a"))
    with Store.open(root, overlay="copy") as store:
        for name, machine in (("other:1", "s390x"), ("here:1", "amd64")):
            files_of_image.seek(0)
            platform = parse_platform(f"linux/{machine}")
            import_image(store, files_of_image, name, platform=platform, changes=["ENV KNOWN=1"])
    files = {"Dockerfile": "FROM other:1\nFROM here:1\nLABEL a=$KNOWN b=$OTHER\nFROM else:1\n"}

    done = lint("--resolve", "--root", root, files=files)

    assert [line.split(" `")[0] for line in done.out.splitlines()] == [
        "Dockerfile:1:6: warning[InvalidBaseImagePlatform]:",
        "Dockerfile:3:18: warning[UndefinedVar]:",
    ]
    assert lint("--resolve", "--root", str(tmp_path / "none")).out == ""


def test_rules_are_listed_and_explained(lint: Lint) -> None:
    listed = lint("--list-rules").out
    page = lint("--explain", "DL4000").out

    assert "DL3006" in listed
    assert page.startswith("MaintainerDeprecated (DL4000), warning\n\nMAINTAINER is a label today.")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("Dockerfile", True), ("dockerfile", True), ("DOCKERFILE", True), ("Containerfile", True),
        ("a.dockerfile", True), ("a.Dockerfile", True), ("Dockerfile.a", True),
        ("Dockerfile-a", True), ("Containerfile.a", True), ("dockerfile.py", False),
        ("Dockerfile.tmpl", False), ("Dockerfile.dockerignore", False), ("Dockerfiles", False),
        ("MyDockerfile", False),
    ],
)  # fmt: skip
def test_names_of_dockerfiles(name: str, is_one: bool) -> None:
    assert is_dockerfile(name) == is_one


def test_a_first_lint_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("FROM debian:12\nRUN --mount=type=cache,target=/c a ${b%c} && d\n")
    grammar = tmp_path / "dockerfile.lark"
    grammar.write_text((TREE / "grammars/dockerfile.lark").read_text())
    tables.write(str(grammar))
    heavy = "contextlib ctypes dataclasses json lark sqlite3 subprocess threading typing yaml"
    program = (
        f"import sys\nsys.path.insert(0, {str(TREE)!r})\n"
        "from buildkit_py.cli.pybuild import main\n"
        "from buildkit_py.dockerfile import grammar\n"
        "grammar.grammar_path = lambda: sys.argv[2]\n"
        "code = main(['lint', '--isolated', '--no-cache', '-q', sys.argv[1]])\n"
        f"print(code, sorted(set({heavy.split()}) & set(sys.modules)))\n"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(path), str(grammar)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == "0 []\n"
