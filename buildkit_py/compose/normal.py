"""What a project means without saying it: defaults, paths, implied networks and dependencies.

Four phases over the merged tree, each in place: `defaults`, `absolute_paths`, `references` (values
of variables that secrets, configs and lists of environment name), `normalize`.
Source: compose-go transform/defaults.go, paths/, loader/environment.go, loader/normalize.go.
"""

from __future__ import annotations

import posixpath

from buildkit_py.compose.errors import BadValue
from buildkit_py.compose.mounts import clean, is_windows_path
from buildkit_py.compose.tree import Node, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from buildkit_py.core.errors import InputError

SECRET_VALUE = "x-#value"
"""The key under which a secret's value from the environment travels; it is never printed."""

_REMOTE = ("https://", "http://", "git://", "ssh://", "github.com/", "git@")


def _services(root: Node) -> Iterable[tuple[str, Node]]:
    services = root.get("services")
    return services.mappings() if services is not None else ()


def _items(node: Node | None) -> list[Node]:
    return node.value if node is not None and type(node.value) is list else []


def _entries(node: Node | None) -> dict[str, Node]:
    return node.value if node is not None and type(node.value) is dict else {}


def defaults(root: Node) -> None:
    """Fill in what keys mean when a part of them is not said."""
    for _, service in _services(root):
        build = service.get("build")
        if build is not None and type(build.value) is dict and "context" not in build.value:
            build.set("context", ".")
        for secret in _items(service.get("secrets")):
            if "target" not in secret.value and (source := secret.get("source")) is not None:
                secret.set("target", f"/run/secrets/{source.value}")
        for port in _items(service.get("ports")):
            if type(port.value) is dict:
                for name, value in (("protocol", "tcp"), ("mode", "ingress")):
                    if name not in port.value:
                        port.set(name, value)
        for request in (*_requests(service), *_items(service.get("gpus"))):
            if not request.value.keys() & {"count", "device_ids"}:
                request.set("count", "all")
        for mount in _items(service.get("volumes")):
            bind = mount.get("bind")
            if bind is not None and type(bind.value) is dict:
                bind.value.setdefault("create_host_path", bind.made(True))


def _requests(service: Node) -> list[Node]:
    at: Node | None = service
    for name in ("deploy", "resources", "reservations", "devices"):
        at = None if at is None else at.get(name)
    return _items(at)


class Paths:
    """How relative paths of one project, or of one included or extended file, are read.

    folder: what they are relative to
    home: the home directory, for `~`
    real: gives the path behind symbolic links
    """

    def __init__(self, folder: str, home: str | None, real: Callable[[str], str]) -> None:
        self.folder = folder
        self.home = home
        self.real = real

    def absolute(self, path: str) -> str:
        path = self._with_home(path)
        if not path or posixpath.isabs(path):
            return path
        return join(self.folder, path)

    def unix(self, path: str) -> str:
        """Return a path on a host that may be Windows, which leaves paths of drives as they are."""
        path = self._with_home(path)
        if posixpath.isabs(path) or is_windows_path(path):
            return path
        return join(self.folder, path)

    def context(self, path: str) -> str:
        """Return a build context: a directory, unless it is a URL or another service."""
        if "://" in path or path.startswith(("service:", *_REMOTE)):
            return path
        return self.absolute(path)

    def _with_home(self, path: str) -> str:
        if path[:1] == "~" and self.home:
            return join(self.home, path[1:])
        return path


def join(folder: str, path: str) -> str:
    """Return a path below a folder as Go's filepath.Join has it: cleaned, never above."""
    return clean(f"{folder}/{path}") if folder else clean(path)


def absolute_paths(root: Node, paths: Paths, errors: list[InputError]) -> None:
    """Make every path of a tree absolute."""

    def change(node: Node | None, how: Callable[[str], str]) -> None:
        if node is not None and type(node.value) is str:
            node.value = how(node.value)

    for name, service in _services(root):
        build = service.get("build")
        if build is not None:
            change(build.get("context"), paths.context)
            for each in _entries(build.get("additional_contexts")).values():
                change(each, paths.context)
            for each in _entries(build.get("ssh")).values():
                change(each, paths.unix)
        for each in _items(service.get("env_file")):
            change(each.get("path"), paths.absolute)
        for each in _items(service.get("label_file")):
            change(each, paths.absolute)
        if (extends := service.get("extends")) is not None:
            change(extends.get("file"), paths.absolute)
        if (develop := service.get("develop")) is not None:
            for rule in _items(develop.get("watch")):
                change(rule.get("path"), lambda path: paths.real(paths.absolute(path)))
        for at, mount in enumerate(_items(service.get("volumes"))):
            kind = mount.get("type")
            if kind is None or kind.value != "bind":
                continue
            if mount.get("source") is None:
                errors.append(
                    BadValue(
                        f"`services.{name}.volumes.{at}`: a bind mount needs a `source`",
                        at=mount.span,
                    )
                )
            change(mount.get("source"), paths.unix)
    for section in ("configs", "secrets"):
        for each in _entries(root.get(section)).values():
            change(each.get("file"), paths.unix)
    for each in _entries(root.get("volumes")).values():
        driver, options = each.get("driver"), each.get("driver_opts")
        if driver is not None and driver.value == "local" and options is not None:
            kind = options.get("o")
            if kind is not None and kind.value == "bind":
                change(options.get("device"), paths.unix)


def references(root: Node, environment: Mapping[str, str]) -> None:
    """Give secrets, configs and lists of environment the values of the variables they name."""
    for _, service in _services(root):
        for item in _items(service.get("environment")):
            if type(item.value) is str and item.value in environment:
                item.value = f"{item.value}={environment[item.value]}"
    for section, key in (("secrets", SECRET_VALUE), ("configs", "content")):
        for each in _entries(root.get(section)).values():
            name = each.get("environment")
            if name is not None and type(name.value) is str and name.value in environment:
                each.set(key, environment[name.value])


def normalize(root: Node, project: str, environment: Mapping[str, str]) -> None:
    """Say what the project implies: the default network, builds' defaults, names, dependencies."""
    _networks(root)
    for _, service in _services(root):
        _build(service, environment)
        _environment(service.get("environment"), environment, keep=True)
        policy = service.get("pull_policy")
        if policy is not None and policy.value == "if_not_present":
            policy.value = "missing"
        for mount in _items(service.get("volumes")):
            target = mount.get("target")
            if target is not None and type(target.value) is str:
                target.value = clean(target.value)
        _dependencies(service)
        image = service.get("image")
        for hook in _items(service.get("pre_start")):
            if image is not None and image.value and "image" not in hook.value:
                hook.set("image", image.value)
    for section in ("networks", "volumes", "configs", "secrets"):
        for key, resource in _entries(root.get(section)).items():
            if resource.value is None:
                resource.value = {}
            if (name := resource.get("name")) is None or name.value is None:
                outside = resource.get("external")
                is_outside = outside is not None and outside.value is True
                resource.set("name", key if is_outside else f"{project}_{key}")


def _networks(root: Node) -> None:
    uses_default = False
    for _, service in _services(root):
        if service.value.keys() & {"provider", "network_mode"}:
            continue
        networks = service.get("networks")
        if networks is None or not networks.value:
            service.value["networks"] = wrap({"default": None}, service.span, service.key)
            uses_default = True
        elif "default" in networks.value:
            uses_default = True
    known = root.get("networks")
    if uses_default and (known is None or "default" not in _entries(known)):
        if known is None or type(known.value) is not dict:
            known = root.set("networks", {})
        known.set("default", None)


def _build(service: Node, environment: Mapping[str, str]) -> None:
    build = service.get("build")
    if build is None or type(build.value) is not dict:
        return
    if "context" not in build.value:
        build.set("context", ".")
    if not build.value.keys() & {"dockerfile", "dockerfile_inline"}:
        build.set("dockerfile", "Dockerfile")
    _environment(build.get("args"), environment, keep=False)


def _environment(node: Node | None, environment: Mapping[str, str], *, keep: bool) -> None:
    """Give keys without a value the one they have around; keep=False drops those without one."""
    if node is None:
        return
    if type(node.value) is dict:
        out: dict[str, Node] = {}
        for name, each in node.value.items():
            if each.value is None and name in environment:
                out[name] = each.made(environment[name])
            elif each.value is not None or keep:
                out[name] = each
        node.value = out
    elif type(node.value) is list:
        items = []
        for item in node.value:
            if type(item.value) is str and "=" not in item.value:
                if item.value in environment:
                    item = item.made(f"{item.value}={environment[item.value]}")
                elif not keep:
                    continue
            items.append(item)
        node.value = items


def _dependencies(service: Node) -> None:
    """Add to `depends_on` the services that links and shared namespaces name."""
    implied: dict[str, tuple[bool, Node]] = {}
    for link in _items(service.get("links")):
        parts = link.value.split(":")
        implied.setdefault(parts[0] if len(parts) == 2 else link.value, (True, link))
    for name in ("network_mode", "ipc", "pid", "uts", "cgroup"):
        node = service.get(name)
        if node is not None and type(node.value) is str and node.value.startswith("service:"):
            implied.setdefault(node.value.removeprefix("service:"), (True, node))
    for node in _items(service.get("volumes_from")):
        if not node.value.startswith("container:"):
            implied.setdefault(node.value.partition(":")[0], (False, node))
    if not implied:
        return
    known = service.get("depends_on")
    if known is None or type(known.value) is not dict:
        known = service.set("depends_on", {})
    for name, (restart, node) in implied.items():
        if name not in known.value:
            condition = {"condition": "service_started", "restart": restart, "required": True}
            known.value[name] = wrap(condition, node.span, node.span)
