"""A project as plain, checked values: services switched on or off, selected, and complete.

`bound` reads the canonical tree; then come, each where it is asked for, the checks between parts
(`consistency`), the choice of services (`select`), the variables of `env_file`s (`resolve`) and
the removal of what no service uses (`prune`). The typed model is made of this: `model.typed`.
"""

from __future__ import annotations

from buildkit_py.compose.bind import Binding
from buildkit_py.compose.blame import Blame, part_of, place_of, stop_at
from buildkit_py.compose.errors import BadEnvFile, BadValue, NoService
from buildkit_py.compose.normal import SECRET_VALUE
from buildkit_py.compose.tree import Node, find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from buildkit_py.compose.discover import Request, World
    from buildkit_py.compose.load import Loading, Tree
    from buildkit_py.core.errors import InputError
    from buildkit_py.core.source import Span

    Parts = dict[str, dict[str, Any]]


class Project:
    """One project.

    values: name, services (those that are on), networks, volumes, secrets, configs, models and
        keys of users; each as `shapes` has it
    disabled: services that no active profile switches on, or that were not selected
    environment: the variables it was read with
    secret_values, config_values: contents that came from variables; never printed
    root: the tree, for places
    blame: what was complained of before, and is not in here
    refused: complaints of `values.check`, which keep the project from being run
    """

    def __init__(self, values: dict[str, Any], tree: Tree, blame: Blame) -> None:
        self.values = values
        self.blame = blame
        self.refused: Sequence[InputError] = ()
        self.disabled: Parts = {}
        self.name = tree.name
        self.folder = tree.found.folder
        self.files = tree.found.files
        self.environment: Mapping[str, str] = tree.found.environment
        self.profiles = list(tree.found.profiles)
        self.root = tree.root
        self.secret_values = _contents(tree.root, "secrets", SECRET_VALUE)
        self.config_values = _contents(tree.root, "configs", "content")

    @property
    def services(self) -> Parts:
        found: Parts = self.values.setdefault("services", {})
        return found

    def parts(self, section: str) -> Parts:
        """Return the networks, volumes, secrets, configs or models."""
        found: Parts = self.values.get(section) or {}
        return found

    def at(self, *path: str) -> Span:
        """Return the place of a value, or of the nearest thing above it."""
        while path:
            node = find(self.root, path)
            if node is not None:
                return node.place
            path = path[:-1]
        return self.root.span

    def value_at(self, *path: str) -> Span:
        """Return the text of a value, or of the one that it is a part of; else what is above it."""
        for end in range(len(path), 0, -1):
            node = find(self.root, path[:end])
            if node is not None:
                is_value = end == len(path) or type(node.value) not in (dict, list)
                return node.span if is_value else node.place
        return self.root.span

    def has(self, section: str, name: str) -> bool:
        """Say whether there is a network, volume, ... of a name, if only a wrong one."""
        return name in self.parts(section) or self.blame.is_broken(section, name)


def _contents(root: Node, section: str, key: str) -> dict[str, str]:
    entries = root.get(section)
    out = {}
    for name, node in entries.mappings() if entries is not None else ():
        if node.get("environment") is not None and (value := node.get(key)) is not None:
            out[name] = str(value.value)
    return out


def bound(tree: Tree, loading: Loading) -> Project:
    """Read a tree's values. Raises BadValue, or several of them."""
    project = _bound(tree, loading)
    loading.blame.stop(sort=True)
    return project


def _bound(tree: Tree, loading: Loading) -> Project:
    """Read a tree's values; what cannot be read is left out, and in `blame`."""
    binding = Binding(loading.blame.errors, loading.warn)
    values = binding.part(tree.root, "project", ())
    for path in {part_of(each) for each in binding.broken}:
        loading.blame.broken.add(path)
        _leave_out(values, path)
    values["name"] = tree.name
    values.setdefault("services", {})
    for config in (values.get("configs") or {}).values():
        # What a variable holds is not what the file says.
        if "environment" in config:
            config.pop("content", None)
    for section in ("networks", "volumes", "secrets", "configs"):
        for name, part in (values.get(section) or {}).items():
            if part is None:
                values[section][name] = {}
    project = Project(values, tree, loading.blame)
    activate(project, tree.found.profiles)
    return project


def _leave_out(values: dict[str, Any], path: Sequence[str]) -> None:
    for name in path[:-1]:
        values = values.get(name) or {}
    values.pop(path[-1], None)


def checked(request: Request, loading: Loading, *, fits: bool = True) -> Project:
    """Load a project, read its values and, unless `fits` is False, check whether they fit.

    Raises ComposeError, or InputErrors of all that is wrong; what docker compose lets through and
    docker's daemon refuses is in `refused`.
    """
    from buildkit_py.compose.load import gather

    project = _bound(gather(request, loading), loading)
    if fits:
        from buildkit_py.compose import consistency, values

        loading.blame.errors += consistency.check(project)
        project.refused = sorted(values.check(project), key=place_of)
    if loading.blame.errors:
        loading.blame.errors += project.refused
        loading.blame.stop(sort=True)
    return project


def activate(project: Project, profiles: Iterable[str]) -> None:
    """Switch on the services without profiles and those of some profiles; the others off."""
    active = set(profiles)
    project.profiles = sorted(active)
    every = {**project.services, **project.disabled}

    def is_on(service: dict[str, Any]) -> bool:
        wanted = service.get("profiles", ())
        return not wanted or "*" in active or not active.isdisjoint(wanted)

    project.values["services"] = {n: s for n, s in sorted(every.items()) if is_on(s)}
    project.disabled = {n: s for n, s in sorted(every.items()) if not is_on(s)}


def _matching(names: Iterable[str], services: Parts) -> tuple[list[str], list[str]]:
    """Return the services that names or patterns mean, and the names that mean none."""
    found: list[str] = []
    missing: list[str] = []
    for name in names:
        if name in services:
            matches = [name]
        elif any(c in name for c in "*?["):
            from fnmatch import fnmatchcase

            matches = [each for each in services if fnmatchcase(each, name)]
        else:
            matches = []
        found += matches
        if not matches:
            missing.append(name)
    return found, missing


def select(project: Project, names: Sequence[str], *, dependencies: bool = True) -> None:
    """Keep the named services, and what they depend on. Raises NoService.

    A named service switches its own profiles on.
    """
    if not names:
        return
    wanted = [
        profile
        for name in names
        if name not in project.services
        for profile in project.disabled.get(name, {}).get("profiles", ())
    ]
    if wanted:
        activate(project, [*project.profiles, *wanted])
    services = project.services
    kept: set[str] = set()
    found, missing = _matching(names, services)
    if missing:
        from buildkit_py.core.text import did_you_mean

        known = {**services, **project.disabled}
        raise NoService(f"no such service: {missing[0]}", hint=did_you_mean(missing[0], known))
    waiting = found
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        kept.add(name)
        for each, dependency in (services[name].get("depends_on") or {}).items():
            if not dependencies:
                break
            if each in services:
                waiting.append(each)
            elif dependency.get("required", True):
                at = project.at("services", name, "depends_on", each)
                raise NoService(f"no such service: {each}", at=at)
    for name, service in services.items():
        if name in kept and "depends_on" in service:
            left = {n: d for n, d in service["depends_on"].items() if n in kept}
            services[name] = {**service, "depends_on": left}
            if not left:
                del services[name]["depends_on"]
    project.disabled.update({n: s for n, s in services.items() if n not in kept})
    project.values["services"] = {n: s for n, s in services.items() if n in kept}


def prune(project: Project) -> None:
    """Drop the networks, volumes, secrets, configs and models that no service uses."""
    used: dict[str, set[str]] = {
        section: set() for section in ("networks", "volumes", "secrets", "configs", "models")
    }
    for service in project.services.values():
        used["networks"].update(service.get("networks") or ())
        used["models"].update(service.get("models") or ())
        for mount in service.get("volumes", ()):
            if mount.get("type") == "volume" and mount.get("source"):
                used["volumes"].add(mount["source"])
        for section in ("secrets", "configs"):
            used[section].update(each.get("source", "") for each in service.get(section, ()))
        build = service.get("build") or {}
        used["secrets"].update(each.get("source", "") for each in build.get("secrets", ()))
    for section, names in used.items():
        kept = {name: part for name, part in project.parts(section).items() if name in names}
        if kept:
            project.values[section] = kept
        else:
            project.values.pop(section, None)


def resolve(project: Project, world: World, warn: Callable[[str], None]) -> None:
    """Put the variables of `env_file`s into `environment`, and of `label_file`s into `labels`.

    Raises BadEnvFile, and what else may be wrong with such a file.
    """
    for name, service in project.services.items():
        environment = {
            key: project.environment.get(key) if value is None else value
            for key, value in service.get("environment", {}).items()
        }
        values = {key: value for key, value in environment.items() if value is not None}
        for at, file in enumerate(service.get("env_file", ())):
            _env_file(project, name, at, file, environment, values, world, warn)
        merged = {**values, **environment}
        labels = _labels(project, name, service, world, warn)
        changed = {key: each for key, each in service.items() if key != "env_file"}
        if merged:
            changed["environment"] = dict(sorted(merged.items()))
        if labels:
            changed["labels"] = dict(sorted(labels.items()))
        changed.pop("label_file", None)
        project.services[name] = changed


def _env_file(
    project: Project,
    service: str,
    at: int,
    file: dict[str, Any],
    environment: Mapping[str, str | None],
    values: dict[str, str],
    world: World,
    warn: Callable[[str], None],
) -> None:
    from buildkit_py.compose.dotenv import parse, parse_raw

    path = file.get("path", "")
    place = project.at("services", service, "env_file", str(at))
    if not world.files.kind(path):
        if file.get("required", True):
            message = f"there is no environment file `{world.shown(path)}`"
            raise BadEnvFile(message, at=place, hint="`required: false` makes it optional")
        return
    if (kind := world.files.kind(path)) != "file":
        what = "is a directory" if kind == "folder" else "is not a regular file"
        raise BadEnvFile(f"`{world.shown(path)}` {what}", at=place)

    def lookup(key: str) -> str | None:
        around = project.environment.get(key)
        return environment.get(key) if around is None else around

    form = file.get("format", "")
    if form not in ("", "raw"):
        at_form = project.at("services", service, "env_file", str(at), "format")
        raise BadValue(f"unsupported format of an environment file: `{form}`", at=at_form)
    if form == "raw":
        parse_raw(world.source(path), lookup, values)
    else:
        parse(world.source(path), lookup, values, warn)


def _labels(
    project: Project,
    name: str,
    service: dict[str, Any],
    world: World,
    warn: Callable[[str], None],
) -> dict[str, str]:
    from buildkit_py.compose.dotenv import parse

    labels: dict[str, str] = {}
    for at, path in enumerate(service.get("label_file", ())):
        if (kind := world.files.kind(path)) != "file":
            place = project.at("services", name, "label_file", str(at))
            shown = world.shown(path)
            what = (
                f"`{shown}` is not a regular file" if kind else f"there is no label file `{shown}`"
            )
            raise BadEnvFile(what, at=place)
        found: dict[str, str] = {}
        parse(world.source(path), labels.get, found, warn)
        labels.update(found)
    labels.update(service.get("labels", {}))
    return labels


def prepare(
    request: Request,
    loading: Loading,
    names: Sequence[str] = (),
    *,
    all_resources: bool = False,
    runs: bool = True,
) -> Project:
    """Return a project ready to be run: checked, selected, with all its variables.

    names: services to keep, with what they depend on; all of them when there are none
    runs: False lets values pass that only keep a service from being run
    Raises ComposeError, or InputErrors of several. `typed.typed` makes the engine's model of it.
    """
    from buildkit_py.compose import host_ports
    from buildkit_py.compose.consistency import container_names

    project = checked(request, loading)
    if runs:
        stop_at(project.refused)
    select(project, names)
    if runs:
        # Of services that share a port one alone can be run.
        stop_at(host_ports.check(project))
    if not all_resources:
        prune(project)
    resolve(project, loading.world, loading.warn)
    stop_at(container_names(project))
    return project
