"""`extends`: a service that starts from another one, of this file or of another.

The base is merged under the service with the rules for services, recursively. A base from another
file brings its paths, relative to that file; of that file nothing else counts. Source: compose-go
loader/extends.go.
"""

from __future__ import annotations

import posixpath

from buildkit_py.compose import canonical, normal
from buildkit_py.compose.blame import stop_at
from buildkit_py.compose.errors import BadExtends, BadYaml
from buildkit_py.compose.include import REMOTE, relative
from buildkit_py.compose.interpolate import Interpolation
from buildkit_py.compose.merge import forget, merge, merge_service
from buildkit_py.compose.normal import join
from buildkit_py.compose.reading import read
from buildkit_py.compose.schema import check
from buildkit_py.compose.tree import Node, copy
from buildkit_py.compose.unique import unique

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit_py.compose.load import Loading
    from buildkit_py.core.errors import InputError

    Resets = list[tuple[str, ...]]


def extend(
    root: Node,
    path: str,
    resets: Resets,
    loading: Loading,
    folder: str,
    environment: Mapping[str, str],
) -> None:
    """Give every service of a document that says `extends` what it extends."""
    services = root.value["services"]
    extending = _Extending(loading, folder, environment)
    for name in services.value:
        services.value[name] = extending.service(name, services, path, resets, ())


MOST_CHAINED = 100
"""Services that extend each other in a row."""


class _Extending:
    def __init__(self, loading: Loading, folder: str, environment: Mapping[str, str]) -> None:
        self.loading = loading
        self.folder = folder
        self.environment = environment

    def service(
        self,
        name: str,
        services: Node,
        path: str,
        resets: Resets,
        chain: tuple[tuple[str, str], ...],
    ) -> Node:
        """Return a service with its bases merged under it."""
        service: Node = services.value[name]
        extends = service.get("extends")
        if extends is None:
            return service
        reference, file = self._named(extends, name)
        base_services, base_path, base_resets = services, path, resets
        if file is not None:
            base_path = self._path(file)
            base_services, base_resets = self._other_file(base_path, file)
        base_name = str(reference.value)
        if base_name not in base_services.value:
            from buildkit_py.core.text import did_you_mean

            where = f" in `{self.loading.world.shown(base_path)}`" if file is not None else ""
            raise BadExtends(
                f"service `{name}` extends `{base_name}`, which is not there{where}",
                at=reference.span,
                label="no such service",
                hint=did_you_mean(base_name, base_services.value),
            )
        chain = (*chain, (path, name))
        if (base_path, base_name) in chain:
            shown = " → ".join(each for _, each in (*chain, (base_path, base_name)))
            message = f"services extend each other: {shown}"
            raise BadExtends(message, at=extends.span, label="a cycle")
        if len(chain) > MOST_CHAINED:
            message = f"more than {MOST_CHAINED} services extend each other in a row"
            raise BadExtends(message, at=extends.span)
        base = self.service(base_name, base_services, base_path, base_resets, chain)
        if type(base.value) is not dict:
            return service
        below = Node({"services": Node({name: copy(base)}, base.span)}, base.span)
        forget(below, resets)
        merged = merge_service(below.value["services"].value[name], service)
        merged.value.pop("extends", None)
        done = Node(merged.value, service.span, service.key)
        services.value[name] = done
        return done

    def _named(self, extends: Node, name: str) -> tuple[Node, Node | None]:
        """Return the nodes of the service and of the file that are extended."""
        if type(extends.value) is str:
            return extends, None
        reference, file = extends.get("service"), extends.get("file")
        if reference is None or type(reference.value) is not str:
            message = f"`services.{name}.extends` needs the key `service`"
            raise BadExtends(message, at=extends.place)
        if file is not None and type(file.value) is not str:
            raise BadExtends(f"`services.{name}.extends.file` must be a path", at=file.span)
        return reference, file

    def _path(self, file: Node) -> str:
        path = str(file.value)
        if path.startswith(REMOTE):
            message = f"`{path}` cannot be extended: files from elsewhere are not supported yet"
            raise BadExtends(message, at=file.span)
        return path if posixpath.isabs(path) else join(self.folder, path)

    def _other_file(self, path: str, at: Node) -> tuple[Node, Resets]:
        """Return the services of another file, canonical, their paths as seen from our folder."""
        loading = self.loading
        known = loading.extended.get(path)
        if known is None:
            known = loading.extended[path] = self._read(path, at)
        root, resets = known
        services = root.get("services")
        if services is None or type(services.value) is not dict:
            shown = loading.world.shown(path)
            raise BadExtends(f"there are no services in `{shown}`", at=at.span)
        return services, resets

    def _read(self, path: str, at: Node) -> tuple[Node, Resets]:
        loading = self.loading
        if (kind := loading.world.files.kind(path)) != "file":
            shown = loading.world.shown(path)
            message = f"`{shown}` is not a regular file" if kind else f"there is no file `{shown}`"
            raise BadExtends(message, at=at.span, label="cannot be read")
        source = loading.world.source(path)
        errors: list[InputError] = []
        root = Node({}, source.span(0, 0))
        resets: Resets = []
        for document in read(source):
            if type(document.root.value) is not dict:
                raise BadYaml("the top level must be a mapping", at=document.root.span)
            if loading.options.interpolate:
                interpolation = Interpolation(self.environment.get, errors, loading.warn)
                interpolation.apply(document.root)
            forget(root, document.resets)
            resets = document.resets
            root.value = merge(root, document.root).value
            unique(root)
        stop_at(errors)
        _canonical_services(root, errors, loading)
        paths = normal.Paths(
            relative(posixpath.dirname(path), self.folder),
            loading.world.home,
            lambda path: path,
        )
        normal.absolute_paths(root, paths, errors)
        stop_at(errors)
        return root, resets


def _canonical_services(root: Node, errors: list[InputError], loading: Loading) -> None:
    """Make the services that are right canonical; the others are judged where they are used."""
    services = root.get("services")
    for name, service in list(services.mappings()) if services is not None else ():
        alone = Node({"services": Node({name: service}, service.span)}, service.span)
        if check(alone):
            lenient = not loading.options.interpolate
            canonical.canonical(alone, errors, loading.warn, lenient=lenient)
            unique(alone)
