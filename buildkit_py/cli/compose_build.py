"""`pycompose build` and `pull`: images of services, brought here without running any."""

from __future__ import annotations

from buildkit_py.cli.compose_common import (
    DRY_RUN,
    at_once,
    build_sinks,
    changing,
    ended_in_order,
    images_only,
    read_acting,
    show_plan,
    teller,
)
from buildkit_py.cli.reader import BadOption, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.cli.reader import Value
    from buildkit_py.compose import model

BUILD = Command(
    "pycompose build",
    "Build the images of services",
    (
        DRY_RUN,
        Option("--build-arg", "list", "A build argument for all of them", metavar="NAME=VALUE"),
        Option("--no-cache", "flag", "Run every step"),
        Option("--pull", "flag", "Ask the registries for the images of FROM"),
        Option("-q --quiet", "flag", "Print nothing"),
        Option("--with-dependencies", "flag", "Build also what the services depend on"),
    ),
    arguments="[SERVICE...]",
    unsupported=(
        "--builder --check --compress --force-rm -m --memory --no-rm --parallel --print --progress"
        " --provenance --push --sbom --ssh"
    ).split(),
)

PULL = Command(
    "pycompose pull",
    "Pull the images of services",
    (
        DRY_RUN,
        Option("--ignore-buildable", "flag", "Leave out services that can be built"),
        Option("--include-deps", "flag", "Also for what the services depend on"),
        Option("-q --quiet", "flag", "Pull without a word"),
    ),
    arguments="[SERVICE...]",
    unsupported=("--ignore-pull-failures", "--no-parallel", "--parallel", "--policy"),
)


def run_build(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, names = read_acting(BUILD, argv, given)
    project = images_only(given, names)
    asked = [
        name
        for name, service in project.services.items()
        if service.build is not None and (not names or name in names or values["with_dependencies"])
    ]
    from buildkit_py.compose.images import bring
    from buildkit_py.compose.plan import Action

    actions = [Action("build", name, "`build` asks for it", service=name) for name in asked]
    if given["dry_run"]:
        from buildkit_py.compose.plan import Plan

        show_plan(Plan(project.name, tuple(actions)))
        return 0
    if values["quiet"]:
        given = {**given, "progress": "quiet"}
    with changing() as engine, ended_in_order():
        bring(
            actions, project, engine, sink=build_sinks(given),
            tell=teller(given), no_cache=bool(values["no_cache"]), pull=bool(values["pull"]),
            build_args=_build_args(values["build_arg"], project), at_once=at_once(given),
        )  # fmt: skip
    return 0


def run_pull(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, names = read_acting(PULL, argv, given)
    project = images_only(given, names)
    from buildkit_py.compose.images import bring
    from buildkit_py.compose.plan import Action, Plan
    from buildkit_py.compose.request import image_of

    actions: dict[str, Action] = {}
    for name, service in project.services.items():
        if names and name not in names and not values["include_deps"]:
            continue
        if service.image is None or (service.build is not None and values["ignore_buildable"]):
            continue
        image = image_of(project.name, service)
        actions[image] = Action("pull", image, "`pull` asks for it", service=name)
    if given["dry_run"]:
        show_plan(Plan(project.name, tuple(actions.values())))
        return 0
    if values["quiet"]:
        given = {**given, "progress": "quiet"}
    with changing() as engine, ended_in_order():
        bring(
            list(actions.values()), project, engine,
            sink=build_sinks(given), tell=teller(given),
        )  # fmt: skip
    return 0


def _build_args(given: Value, project: model.Project) -> dict[str, str]:
    found = {}
    for text in given if isinstance(given, list) else ():
        name, equals, value = text.partition("=")
        if not name:
            raise BadOption(f"`--build-arg {text}` is not NAME=VALUE")
        if equals:
            found[name] = value
        elif name in project.environment:
            found[name] = project.environment[name]
    return found


COMMANDS = {"build": (BUILD, run_build), "pull": (PULL, run_pull)}
