"""`pycompose config`: the project checked, resolved and printed."""

from __future__ import annotations

import errno
import os
import stat
import sys

from buildkit_py.cli.reader import BadOption, Command, Option, read
from buildkit_py.compose import host_ports
from buildkit_py.compose.discover import MOST_FILE_BYTES, Request, World
from buildkit_py.compose.load import Loading, Options, load
from buildkit_py.compose.project import Project, checked, prune, resolve, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, BinaryIO

    from buildkit_py.cli.reader import Value
    from buildkit_py.compose.load import Tree

COMMAND = Command(
    "pycompose config",
    "Check, resolve and print the project in its canonical form",
    (
        Option("--environment", "flag", "Print the variables that are seen"),
        Option("--format", "text", "`yaml` (default) or `json`", metavar="FORM"),
        Option("--hash", "text", "Print the hashes of services: names, or `*`", metavar="NAMES"),
        Option("--images", "flag", "Print the names of the images"),
        Option("--models", "flag", "Print the names of the models"),
        Option("--networks", "flag", "Print the names of the networks"),
        Option("--no-consistency", "flag", "Do not check that the parts fit together"),
        Option("--no-env-resolution", "flag", "Do not read the services' env_files"),
        Option("--no-interpolate", "flag", "Leave variables as they are"),
        Option("--no-normalize", "flag", "Do not say what is implied"),
        Option("--no-path-resolution", "flag", "Leave relative paths as they are"),
        Option("-o --output", "text", "Write to a file", metavar="FILE"),
        Option("--profiles", "flag", "Print the names of the profiles"),
        Option("-q --quiet", "flag", "Only check, print nothing"),
        Option("--services", "flag", "Print the names of the services"),
        Option("--variables", "flag", "Print the variables that the files name"),
        Option("--volumes", "flag", "Print the names of the volumes"),
    ),
    arguments="[SERVICE...]",
    unsupported=("--lock-image-digests", "--resolve-image-digests"),
)


class Disk:
    """The files of this machine: the seam of `compose.discover`.

    look: told every path that is looked at, before it is
    """

    def __init__(self, look: Callable[[str], None] = lambda path: None) -> None:
        self._look = look

    def read(self, path: str) -> bytes:
        self._look(path)
        # One byte more than a file may have, so that an endless one is refused.
        if path == "-":
            return sys.stdin.buffer.read(MOST_FILE_BYTES + 1)
        with open(path, "rb", opener=_opened_at_once) as file:
            if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
                return _of_pipe(file)
            return file.read(MOST_FILE_BYTES + 1)

    def kind(self, path: str) -> str:
        self._look(path)
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):
            return ""
        return "folder" if stat.S_ISDIR(mode) else "pipe" if stat.S_ISFIFO(mode) else "file"

    def real(self, path: str) -> str:
        self._look(path)
        return os.path.realpath(path)


def _opened_at_once(path: str, flags: int) -> int:
    """Open a file; a named pipe that nobody writes to must not hold everything up."""
    return os.open(path, flags | os.O_NONBLOCK)


def _of_pipe(file: BinaryIO) -> bytes:
    """Return what is written to a pipe, until its writers are done. Raises OSError for none."""
    try:
        first = os.read(file.fileno(), MOST_FILE_BYTES + 1)
    except BlockingIOError:
        first = b""
    else:
        if not first:
            raise OSError(errno.EPIPE, "it is a pipe that nobody writes to")
    os.set_blocking(file.fileno(), True)
    return first + file.read(MOST_FILE_BYTES + 1 - len(first))


def world(look: Callable[[str], None] = lambda path: None) -> World:
    """Return this machine, as projects are loaded from it. look: see `Disk`."""
    environment = dict(os.environ)
    folder = environment.get("PWD", "")
    # The shell's own idea of the folder keeps symbolic links, as docker's client has it.
    if not os.path.isabs(folder) or not _is_here(folder):
        folder = os.getcwd()
    return World(Disk(look), environment, folder, environment.get("HOME"))


def _is_here(folder: str) -> bool:
    try:
        return os.path.samestat(os.stat(folder), os.stat("."))
    except OSError:
        return False


def request(given: dict[str, Value]) -> Request:
    """Return what the options before the command ask for."""

    def many(name: str) -> list[str]:
        value = given[name]
        return value if isinstance(value, list) else []

    return Request(
        many("file"),
        folder=str(given["project_directory"] or ""),
        name=str(given["project_name"] or ""),
        profiles=many("profile"),
        env_files=many("env_file"),
    )


def warn_all(loading: Loading) -> None:
    """Print a load's warnings on standard error."""
    from buildkit_py.cli.paint import print_warning

    for text in loading.warnings:
        print_warning(text)
    loading.warnings.clear()


def run_config(given: dict[str, Value], argv: Sequence[str]) -> int:
    """Carry out `pycompose config`, or `convert`, its old name; return its exit code."""
    values, names = read(COMMAND, argv)
    form = str(values["format"] or "yaml")
    if form not in ("yaml", "json") and not (values["variables"] and form == "table"):
        raise BadOption(f"`--format` is `yaml` or `json`, not `{form}`")
    options = Options(
        interpolate=not values["no_interpolate"] and not values["variables"],
        validate=not values["variables"],
        normalize=not values["no_normalize"] and not given["compatibility"],
        absolute_paths=not values["no_path_resolution"],
    )
    loading = Loading(world(), options)
    try:
        text = _answer(given, values, names, form, loading)
    finally:
        warn_all(loading)
    _put(text, values)
    return 0


def _put(text: str, values: dict[str, Value]) -> None:
    if values["quiet"]:
        return
    if values["output"] and text:
        from buildkit_py.core.errors import HostError

        try:
            with open(str(values["output"]), "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            message = f"cannot write `{values['output']}`: {why}"
            raise HostError(message, code="compose/cannot-write") from error
        return
    sys.stdout.write(text)


def _answer(
    given: dict[str, Value],
    values: dict[str, Value],
    names: list[str],
    form: str,
    loading: Loading,
) -> str:
    """Return what a command line asks to see."""
    if values["variables"]:
        return _variables(load(request(given), loading), str(values["format"] or "table"))
    if not loading.options.interpolate:
        tree = load(request(given), loading)
        return _uninterpolated(tree, values, names, form, loading)
    project = checked(request(given), loading, fits=not values["no_consistency"])
    _tell_refused(project, as_errors=bool(values["quiet"]))
    listing = _listing(values)
    if values["hash"]:
        return _hashes(project, str(values["hash"]), values, loading)
    select(project, [] if listing in ("services", "volumes", "networks", "models") else names)
    project.refused = [] if values["no_consistency"] else host_ports.check(project)
    _tell_refused(project, as_errors=bool(values["quiet"]))
    if not given["all_resources"]:
        prune(project)
    if listing:
        return _lines(project, listing)
    if values["environment"]:
        return "".join(f"{k}={v}\n" for k, v in sorted(project.environment.items()))
    if not values["no_env_resolution"]:
        resolve(project, loading.world, loading.warn)
    if not values["no_consistency"]:
        from buildkit_py.compose.blame import stop_at
        from buildkit_py.compose.consistency import container_names

        stop_at(container_names(project))
    from buildkit_py.compose import render

    show = render.to_json if form == "json" else render.to_yaml_text
    return show(project.values).replace("$", "$$")


def _tell_refused(project: Project, *, as_errors: bool) -> None:
    """Tell values that cannot be run: `config` prints them as docker compose does, `-q` checks."""
    if as_errors:
        from buildkit_py.compose.blame import stop_at

        stop_at(project.refused)
    elif project.refused:
        from buildkit_py.cli.paint import painter
        from buildkit_py.core.draw import draw

        paint = painter(sys.stderr)
        for each in project.refused:
            text = draw(each, level="warning", paint=paint)
            print(f"{text}\n\n", end="", file=sys.stderr, flush=True)


def _listing(values: dict[str, Value]) -> str:
    kinds = ("services", "volumes", "networks", "models", "profiles", "images")
    return next((kind for kind in kinds if values[kind]), "")


def _lines(project: Project, listing: str) -> str:
    if listing == "services":
        lines = _in_order(project)
    elif listing == "profiles":
        every = [*project.services.values(), *project.disabled.values()]
        lines = sorted({profile for service in every for profile in service.get("profiles", ())})
    elif listing == "images":
        lines = []
        for name, service in project.services.items():
            lines.append(service.get("image") or f"{project.name}-{name}")
            lines += [
                mount["source"]
                for mount in service.get("volumes", ())
                if mount.get("type") == "image" and mount.get("source")
            ]
    elif listing == "models":
        lines = [part["model"] for part in project.parts("models").values() if "model" in part]
    else:
        lines = sorted(project.parts(listing))
    return "".join(f"{line}\n" for line in lines)


def _in_order(project: Project) -> list[str]:
    """Return the services, each behind those that it depends on."""
    done: dict[str, None] = {}
    waiting = [(name, False) for name in sorted(project.services, reverse=True)]
    while waiting:
        name, after = waiting.pop()
        if after:
            done[name] = None
        elif name not in done and name in project.services:
            waiting.append((name, True))
            needed = project.services[name].get("depends_on") or ()
            waiting += [(each, False) for each in sorted(needed, reverse=True)]
    return list(done)


def _hashes(project: Project, wanted: str, values: dict[str, Value], loading: Loading) -> str:
    from buildkit_py.compose.render import service_hash

    select(project, [] if wanted == "*" else wanted.split(","), dependencies=False)
    if not values["no_env_resolution"]:
        resolve(project, loading.world, loading.warn)
    return "".join(
        f"{name} {service_hash(service)}\n" for name, service in sorted(project.services.items())
    )


def _uninterpolated(
    tree: Tree, values: dict[str, Value], names: list[str], form: str, loading: Loading
) -> str:
    """Return the tree itself: values that may still hold variables cannot be read."""
    from buildkit_py.compose import render
    from buildkit_py.compose.tree import plain

    if names:
        loading.warn("services are not selected under `--no-interpolate`: all are printed")
    if values["services"]:
        services = tree.root.get("services")
        return "".join(f"{name}\n" for name in sorted(services.value if services else ()))
    data: Any = render.without_shape(plain(tree.root))
    if form == "json":
        return render.json_text(data)
    from buildkit_py.compose.yaml_text import to_yaml

    return to_yaml(data)


def _variables(tree: Tree, form: str) -> str:
    from buildkit_py.compose.template import variables

    found = {}
    waiting = [tree.root]
    while waiting:
        node = waiting.pop()
        if type(node.value) is str:
            found.update({variable.name: variable for variable in variables(node.value)})
        elif type(node.value) is dict:
            waiting += list(node.value.values())
        elif type(node.value) is list:
            waiting += node.value
    rows = [found[name] for name in sorted(found)]
    if form == "table":
        from buildkit_py.cli.tables import render

        columns = ("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE")
        table = [
            dict(
                zip(
                    columns,
                    (v.name, "true" if v.required else "false", v.default, v.alternate),
                    strict=True,
                )
            )
            for v in rows
        ]
        return render(table, "table", columns, {})
    data = {
        v.name: {
            "Name": v.name,
            "DefaultValue": v.default,
            "PresenceValue": v.alternate,
            "Required": v.required,
        }
        for v in rows
    }
    if form == "json":
        import json

        return json.dumps(data) + "\n"
    from buildkit_py.compose.yaml_text import to_yaml

    return to_yaml({n: {key.lower(): e for key, e in d.items()} for n, d in data.items()})


COMMANDS = {"config": (COMMAND, run_config), "convert": (COMMAND, run_config)}
