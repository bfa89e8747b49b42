"""Whole projects: files, names, profiles, selection, environment, what does not fit together."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from buildkit_py.compose.discover import Request, World, discover, normal_name
from buildkit_py.compose.errors import (
    BadEnvFile,
    BadExtends,
    BadInclude,
    BadName,
    BadYaml,
    ComposeError,
    NoFile,
    NoService,
    Unreadable,
)
from buildkit_py.compose.load import Loading, Options
from buildkit_py.compose.project import prepare
from buildkit_py.core.draw import draw
from buildkit_py.core.errors import InputErrors
from tests.compose.conftest import FOLDER, Memory, config, loaded, service, tree, world

ONE = "services: {s: {image: b}}\n"


def found(
    names: Mapping[str, str], environment: Mapping[str, str] | None = None, **request: object
) -> tuple[list[str], list[str]]:
    warnings: list[str] = []
    given = Request(**request)  # type: ignore[arg-type]
    result = discover(given, world(names, environment), warnings.append)
    return [path.removeprefix(f"{FOLDER}/") for path in result.files], warnings


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"compose.yaml": ""}, ["compose.yaml"]),
        (
            {"compose.yml": "", "compose.override.yaml": ""},
            ["compose.yml", "compose.override.yaml"],
        ),
        (
            {"docker-compose.yml": "", "compose.override.yml": ""},
            ["docker-compose.yml", "compose.override.yml"],
        ),
        ({"../compose.yaml": ""}, []),
        ({}, []),
    ],
)
def test_files_are_found_by_name(files: dict[str, str], expected: list[str]) -> None:
    assert found(files)[0] == expected


def test_files_are_found_above() -> None:
    files = Memory({"/projects/compose.yaml": b""})

    result = discover(Request(), World(files, {}, "/projects/app/deep", None), print)

    assert (result.files, result.folder) == (["/projects/compose.yaml"], "/projects")


def test_the_first_of_several_names_is_used_and_said() -> None:
    files, warnings = found({"docker-compose.yaml": "", "compose.yml": "", "compose.yaml": ""})

    assert files == ["compose.yaml"]
    assert warnings == [
        "found several compose files: compose.yaml, compose.yml, docker-compose.yaml",
        "using compose.yaml",
    ]


def test_files_that_are_named_stand_alone() -> None:
    files = {"a.yaml": "", "b/c.yaml": "", "compose.yaml": "", "compose.override.yaml": ""}

    assert found(files, files=["a.yaml", "b/c.yaml"])[0] == ["a.yaml", "b/c.yaml"]
    assert found(files, {"COMPOSE_FILE": "a.yaml:b/c.yaml"})[0] == ["a.yaml", "b/c.yaml"]
    assert found({**files, ".env": "COMPOSE_FILE=a.yaml"})[0] == ["a.yaml"]
    with pytest.raises(NoFile, match=r"there is no file `no.yaml`"):
        found(files, {"COMPOSE_FILE": "no.yaml"})


def test_no_file_at_all() -> None:
    with pytest.raises(NoFile, match="no configuration file provided: not found"):
        loaded({})


def test_files_that_cannot_be_read() -> None:
    with pytest.raises(Unreadable, match=r"cannot read `no.yaml`: no such file or directory"):
        loaded({}, request=Request(["no.yaml"]))
    here = World(Memory({f"{FOLDER}/compose.yaml": b"\xff"}), {}, FOLDER, None)
    with pytest.raises(Unreadable, match="is no UTF-8: byte 0"):
        prepare(Request(), Loading(here, Options()))


@pytest.mark.parametrize(
    ("text", "name"),
    [("My_App-2", "my_app-2"), ("_-x", "x"), ("a.b c", "abc"), ("É", ""), ("...", "")],
)
def test_names_are_normalized(text: str, name: str) -> None:
    assert normal_name(text) == name


def test_where_the_name_comes_from() -> None:
    named = {"compose.yaml": f"name: ${{N}}\n{ONE}"}

    assert loaded(ONE).name == "app"
    assert loaded(named, environment={"N": "Own"}).name == "own"
    assert loaded(named, environment={"COMPOSE_PROJECT_NAME": "env"}).name == "env"
    assert loaded(named, request=Request(name="given")).name == "given"
    with pytest.raises(BadName, match="invalid project name `Given`"):
        loaded(named, request=Request(name="Given"))
    with pytest.raises(BadName, match="project name must not be empty"):
        loaded(f"name: '...'\n{ONE}")


def test_the_order_of_variables() -> None:
    files = {
        "compose.yaml": "services: {s: {image: b, labels: [$A, $B, $C]}}\n",
        ".env": "A=file\nB=file\n",
        "x.env": "B=x\nC=${B}!\n",
        "y.env": "C=y-${C}",
    }

    labels = config(files, environment={"A": "os", "C": ""})["services"]["s"]["labels"]
    given = Request(env_files=["x.env", "y.env"])
    others = config(files, environment={"A": "os"}, request=given)["services"]["s"]["labels"]

    assert list(labels) == ["", "file", "os"]
    assert list(others) == ["os", "x", "y-x!"]
    with pytest.raises(BadEnvFile, match=r"the environment file `no.env` is not there"):
        config(files, request=Request(env_files=["no.env"]))


PROFILES = """\
services:
  a: {image: b}
  b: {image: b, profiles: [p]}
  c: {image: b, profiles: [q], depends_on: [a]}
"""


@pytest.mark.parametrize(
    ("profiles", "environment", "expected"),
    [
        ([], "", "a"), (["p"], "", "ab"), (["p", "q"], "", "abc"), (["*"], "", "abc"),
        ([], "q, x", "ac"), (["p"], "q", "ab"),
    ],
)  # fmt: skip
def test_profiles(profiles: list[str], environment: str, expected: str) -> None:
    project = loaded(
        PROFILES,
        environment={"COMPOSE_PROFILES": environment},
        request=Request(profiles=profiles),
    )

    assert "".join(project.services) == expected
    assert "".join(sorted([*project.services, *project.disabled])) == "abc"


def test_a_named_service_switches_itself_and_its_dependencies_on() -> None:
    project = loaded(PROFILES, "c")

    assert list(project.services) == ["a", "c"]
    assert list(loaded(PROFILES, "[ab]").services) == ["a"]
    with pytest.raises(NoService) as caught:
        loaded(PROFILES.replace("a:", "alpha:"), "alpa")
    assert caught.value.hint == "did you mean `alpha`?"


def test_selection_keeps_what_it_needs() -> None:
    text = """\
services:
  a: {image: b, depends_on: [b], networks: [n], secrets: [x], volumes: ['data:/d']}
  b: {image: b, networks: [m]}
  c: {image: b, configs: [y]}
networks: {n: , m: , unused: }
volumes: {data: , other: }
secrets: {x: {file: x}}
configs: {y: {content: z}}
"""
    kept = config(text, "a")

    assert set(kept) == {"name", "services", "networks", "volumes", "secrets"}
    assert (set(kept["services"]), set(kept["networks"])) == ({"a", "b"}, {"m", "n"})
    assert set(config(text, "c")) == {"name", "services", "networks", "configs"}


def test_env_files_and_labels_become_part_of_the_service() -> None:
    files = {
        "compose.yaml": """\
services:
  s:
    image: b
    env_file: [a.env, {path: no.env, required: false}, {path: raw.env, format: raw}]
    label_file: l.env
    environment: {B: own, C: , D: }
    labels: {y: own}
""",
        "a.env": "A=a\nB=a\nX=${B}",
        "raw.env": "R='$A'\n",
        "l.env": "x=1\ny=2\n",
    }

    found = config(files, environment={"D": "os"})["services"]["s"]

    assert found["environment"] == {
        "A": "a", "B": "own", "C": None, "D": "os", "R": "'$A'", "X": "own",
    }  # fmt: skip
    assert found["labels"] == {"x": "1", "y": "own"}
    assert "env_file" not in found
    assert "label_file" not in found


def test_secrets_values_are_kept_apart() -> None:
    text = """\
services: {s: {image: b, secrets: [x], configs: [y]}}
secrets: {x: {environment: PASSWORD}}
configs: {y: {environment: PASSWORD}}
"""
    project = loaded(text, environment={"PASSWORD": "hush"})

    assert project.secret_values == {"x": "hush"}
    assert project.config_values == {"y": "hush"}
    assert "hush" not in str(project.values)


def test_includes_have_their_own_folder_and_variables() -> None:
    files = {
        "compose.yaml": "include: [sub/c.yaml]\nservices: {s: {image: b, depends_on: [t]}}\n",
        "sub/c.yaml": "services: {t: {image: $I, build: ., volumes: ['./d:/d']}}\n",
        "sub/.env": "I=below\n",
    }

    below = config(files)["services"]["t"]
    above = config(files, environment={"I": "above"})["services"]["t"]

    assert (below["image"], above["image"]) == ("below", "above")
    assert below["build"]["context"] == f"{FOLDER}/sub"
    assert below["volumes"][0]["source"] == f"{FOLDER}/sub/d"


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("[{path: a.yaml, pathh: x}]", "unknown key `pathh` in `include`"),
        ("[{env_file: x}]", "an entry of `include` needs a `path`"),
        ("['oci://x/y']", "`oci://x/y` cannot be included"),
        ("[[a]]", "there is no file `a`"),
        ("[3]", "an entry of `include` names files"),
        ("[self.yaml]", "files include each other: self.yaml → self.yaml"),
    ],
)
def test_includes_that_cannot_be(include: str, message: str) -> None:
    files = {"compose.yaml": f"include: {include}\n{ONE}", "self.yaml": "include: [self.yaml]"}

    with pytest.raises(BadInclude) as caught:
        loaded(files)

    assert caught.value.message.startswith(message)


def test_extended_files_bring_their_paths_and_nothing_else() -> None:
    files = {
        "compose.yaml": "services: {s: {extends: {file: x/b.yaml, service: t}, hostname: h}}",
        "x/b.yaml": (
            "include: [never.yaml]\nservices:\n"
            "  t: {image: b, env_file: e, extends: {file: y/c.yaml, service: u}}\n"
            "  broken: {ports: 5}\n"
        ),
        "x/e": "A=1",
        "x/y/c.yaml": "services: {u: {volumes: ['./v:/v'], hostname: other}}",
    }

    found = config(files)["services"]["s"]

    assert found["hostname"] == "h"
    assert found["environment"] == {"A": "1"}
    assert found["volumes"][0]["source"] == f"{FOLDER}/x/y/v"


@pytest.mark.parametrize(
    ("services", "message"),
    [
        ("{s: {extends: {file: a.yaml}}}", "`services.s.extends` needs the key `service`"),
        ("{s: {extends: t}}", "service `s` extends `t`, which is not there"),
        ("{s: {extends: s}}", "services extend each other: s → s"),
        ("{s: {extends: {service: t, file: n.yaml}}}", "there is no file `n.yaml`"),
        ("{s: {extends: {service: t, file: e.yaml}}}", "there are no services in `e.yaml`"),
    ],
)
def test_extends_that_cannot_be(services: str, message: str) -> None:
    with pytest.raises(BadExtends) as caught:
        loaded({"compose.yaml": f"services: {services}", "e.yaml": "name: x"})

    assert caught.value.message == message


def test_what_a_project_implies() -> None:
    found = config(
        "services:\n  a: {image: b, links: ['b:x'], volumes_from: ['c:ro']}\n"
        "  b: {build: , network_mode: host}\n  c: {build: {dockerfile_inline: FROM x}}\n".replace(
            "build: ,", "build: {},"
        )
    )

    assert found["services"]["a"]["depends_on"] == {
        "b": {"condition": "service_started", "restart": True, "required": True},
        "c": {"condition": "service_started", "required": True},
    }
    assert found["services"]["a"]["networks"] == {"default": None}
    assert "networks" not in found["services"]["b"]
    assert found["services"]["b"]["build"] == {"context": FOLDER, "dockerfile": "Dockerfile"}
    assert found["services"]["c"]["build"] == {"context": FOLDER, "dockerfile_inline": "FROM x"}
    assert found["networks"] == {"default": {"name": "app_default", "ipam": {}}}


def test_the_schema_may_be_left_out_and_the_tree_is_plain() -> None:
    options = Options(normalize=False, absolute_paths=False, interpolate=False)

    assert tree("services: {s: {image: $X, ports: ['$P:80']}}", options) == {
        "services": {"s": {"image": "$X", "ports": ["$P:80"]}}
    }
    raw = "services: {s: {volumes: 3, imag: x, ports: ['80:80']}}"
    assert tree(raw, Options(validate=False)) == {
        "services": {"s": {"volumes": 3, "imag": "x", "ports": ["80:80"]}}
    }


def complaints(text: str) -> list[ComposeError]:
    try:
        loaded(text)
    except InputErrors as several:
        return [error for error in several.errors if isinstance(error, ComposeError)]
    except ComposeError as one:
        return [one]
    return []


def test_contradictions_are_all_found_at_their_places() -> None:
    found = complaints(
        """\
services:
  web:
    image: b
    networks: [frnt]
    volumes: ['data:/x']
    tmpfs: /x
    depends_on: [db]
    scale: 2
    container_name: web
  db:
    hostname: h
    secrets: [pw]
    healthcheck: {test: [curl]}
    depends_on: [web]
networks: {front: }
"""
    )

    assert [(error.message, error.at and error.at.line) for error in found] == [
        ("service `web` refers to the undefined network `frnt`", 4),
        ("service `web` refers to the undefined volume `data`", 5),
        ("service `web` mounts `/x` twice: `tmpfs.0` does so, too", 5),
        ("dependency cycle detected: db -> web -> db", 7),
        ("service `web` has 2 containers, but `container_name` names one of them", 9),
        ("service `db` has neither an image nor a build context specified", 10),
        ("service `db` refers to the undefined secret `pw`", 12),
        (
            "service `db` has a health check that starts with none of `CMD`, `CMD-SHELL`, `NONE`",
            13,
        ),
    ]
    assert found[0].hint == "did you mean `front`?"


def test_interpolation_errors_of_all_files_come_together() -> None:
    files = {
        "compose.yaml": "services: {s: {image: '${A:?one}', hostname: '${!}'}}\n",
        "compose.override.yaml": "services: {s: {tty: '${B?two}', user: $OK}}\n",
    }

    with pytest.raises(InputErrors) as caught:
        loaded(files)

    places = [error.at.place for error in caught.value.errors if error.at]
    assert places == [
        "compose.yaml:1:24", "compose.yaml:1:47", "compose.override.yaml:1:22",
        "compose.override.yaml:1:21",
    ]  # fmt: skip


def test_an_empty_file_is_said_to_be_empty() -> None:
    for text in ("", "# nothing", "---\n"):
        with pytest.raises(BadYaml, match="empty compose file"):
            loaded(text)


def test_a_complaint_as_people_see_it() -> None:
    (error,) = complaints("services:\n  s:\n    image: b\n    volumes: ['data:/x']\n")

    assert draw(error) == (
        "error[compose/inconsistent]: service `s` refers to the undefined volume `data`\n"
        " --> compose.yaml:4:15\n"
        "  |\n"
        "4 |     volumes: ['data:/x']\n"
        "  |               ^^^^^^^^^ not among the volumes\n"
        "\n"
        "hint: add it below `volumes:`, or write `./data` for a directory"
    )


def test_home_is_for_tildes() -> None:
    found = service("volumes: ['~/a:/a', '~:/b']\nenv_file: []")

    assert [mount["source"] for mount in found["volumes"]] == ["/root/a", "/root"]


def test_endless_inputs_are_bounded() -> None:
    many = {f"{n}.yaml": f"include: [{n + 1}.yaml, {n + 1}.yaml]" for n in range(20)}
    deep = {f"{n}.yaml": f"include: [{n + 1}.yaml]\n{ONE}" for n in range(60)}
    chain = "".join(f"  s{n}: {{extends: s{n + 1}}}\n" for n in range(2000))
    doubling = "A0=aaaaaaaaaaaaaaaa\n" + "".join(f"A{n}=$A{n - 1}$A{n - 1}\n" for n in range(1, 60))

    for files in (many, deep):
        with pytest.raises(BadInclude, match="more than 1000 files are included, or 30"):
            loaded({"compose.yaml": f"include: [0.yaml]\n{ONE}", "20.yaml": ONE, **files})
    with pytest.raises(BadExtends, match="more than 100 services extend each other"):
        loaded(f"services:\n{chain}  s2000: {{image: b}}\n")
    with pytest.raises(ComposeError) as caught:
        loaded({"compose.yaml": ONE, ".env": doubling})
    assert caught.value.code == "compose/bad-variable"
