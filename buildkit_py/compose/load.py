"""The road from files to one canonical tree, phase by phase.

For each document of each file: read, interpolate, include, forget what `!reset` names, extend,
merge into what is there, drop what later entries replace, check against the schema, make short
forms long. Then for the whole: defaults, checks of meaning, absolute paths, named variables; and
for a project (not for what it includes) names, networks and dependencies that it implies.

What the text, variables, `include`, `extends` or merging get wrong ends the load with all errors of
that phase. Errors of later phases are told together: see `blame`.
"""

from __future__ import annotations

import posixpath

from buildkit_py.compose import canonical, meaning, normal
from buildkit_py.compose.blame import Blame, several, stop_at
from buildkit_py.compose.discover import (
    Found,
    Request,
    World,
    check_name,
    discover,
    normal_name,
)
from buildkit_py.compose.errors import BadName, BadValue, BadYaml, DuplicateKey, NoFile
from buildkit_py.compose.interpolate import Interpolation
from buildkit_py.compose.merge import forget, merge
from buildkit_py.compose.reading import read
from buildkit_py.compose.schema import check, validate
from buildkit_py.compose.tree import Node
from buildkit_py.compose.unique import unique
from buildkit_py.core.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildkit_py.compose.reading import Document
    from buildkit_py.core.source import Source


class Options:
    """Phases that a command line can switch off.

    validate: without it the files are merged and no more is done with them
    """

    def __init__(
        self,
        *,
        interpolate: bool = True,
        validate: bool = True,
        normalize: bool = True,
        absolute_paths: bool = True,
    ) -> None:
        self.interpolate = interpolate
        self.validate = validate
        self.normalize = normalize
        self.absolute_paths = absolute_paths


class Loading:
    """One load: what it reads from, how, and what it has to say.

    warnings: in order, each once
    blame: what is wrong so far
    extended: files that services extend, by path; included: how many files were
    """

    def __init__(self, world: World, options: Options) -> None:
        self.world = world
        self.options = options
        self.warnings: list[str] = []
        self.blame = Blame()
        self.extended: dict[str, tuple[Node, list[tuple[str, ...]]]] = {}
        self.included = 0

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


class Tree:
    """A loaded project, before its values are read.

    root: the canonical tree
    """

    def __init__(self, root: Node, name: str, found: Found) -> None:
        self.root = root
        self.name = name
        self.found = found


def load(request: Request, loading: Loading) -> Tree:
    """Load the project that a request names. Raises ComposeError, or InputErrors of them."""
    tree = gather(request, loading)
    loading.blame.stop(sort=True)
    return tree


def gather(request: Request, loading: Loading) -> Tree:
    """Load a project; errors that do not keep later phases from their work are left in `blame`."""
    world, options = loading.world, loading.options
    found = discover(request, world, loading.warn)
    if not found.files:
        names = "`compose.yaml`, `docker-compose.yml`"
        raise NoFile(
            "no configuration file provided: not found",
            hint=f"looked for {names} and the like here and above; or name one with `-f`",
        )
    sources = [world.source(path) for path in found.files]
    documents = _documents(sources)
    name = _project_name(request, found, documents, loading)
    found.environment["COMPOSE_PROJECT_NAME"] = name
    root = loading.blame.during(
        lambda: model(
            list(zip(found.files, sources, documents, strict=True)),
            loading,
            folder=found.folder,
            paths_from=found.folder,
            environment=found.environment,
        )
    )
    if not root.value and not loading.blame.errors:
        raise BadYaml("empty compose file", at=sources[0].span(0, 0))
    if not name and options.validate:
        message, hint = "project name must not be empty", "give one with `-p`, or `name:`"
        loading.blame.add(root, [BadName(message, hint=hint)])
    if options.normalize and options.validate:
        root.set("name", name)
        normal.normalize(root, name, found.environment)
    return Tree(root, name, found)


def _documents(sources: Sequence[Source]) -> list[list[Document]]:
    """Read all files; keys that are there twice are told of all of them at once."""
    found: list[list[Document]] = []
    errors: list[InputError] = []
    for source in sources:
        try:
            found.append(read(source))
        except InputError as error:
            # Only keys that are there twice let the rest be read.
            if not all(isinstance(each, DuplicateKey) for each in several(error)):
                raise
            errors += several(error)
    stop_at(errors)
    return found


def _project_name(
    request: Request, found: Found, documents: Sequence[Sequence[Document]], loading: Loading
) -> str:
    if request.name:
        return check_name(request.name, "`--project-name`")
    if name := found.environment.get("COMPOSE_PROJECT_NAME"):
        return check_name(name, "`COMPOSE_PROJECT_NAME`")
    named = [
        node
        for each in documents
        for document in each
        if (node := document.root.get("name")) is not None
        and type(node.value) is str
        and node.value
    ]
    if named:
        errors: list[InputError] = []
        text = str(named[-1].value)
        if loading.options.interpolate:
            interpolation = Interpolation(found.environment.get, errors, loading.warn)
            text = interpolation.text(named[-1], ("name",))
        stop_at(errors)
        return normal_name(text) if loading.options.normalize else text
    folder = posixpath.basename(found.folder)
    if posixpath.basename(loading.world.files.real(found.folder)) != folder:
        loading.warn(f"the project is loaded through a symbolic link; its name is `{folder}`")
    return normal_name(folder)


def model(
    files: Sequence[tuple[str, Source, Sequence[Document]]],
    loading: Loading,
    *,
    folder: str,
    paths_from: str,
    environment: Mapping[str, str],
    chain: tuple[str, ...] = (),
) -> Node:
    """Return the merged, checked, canonical tree of some files.

    folder: where includes and extended files are looked for
    paths_from: what relative paths become relative to; below an include, that is relative itself
    chain: the files that include these
    """
    root = Node({}, files[0][1].span(0, 0))
    _interpolate(files, loading, environment)
    for path, source, documents in files:
        for document in documents:
            _add(root, path, source, document, loading, folder, environment, chain)
    options = loading.options
    if not options.validate:
        return root
    normal.defaults(root)
    errors: list[InputError] = []
    meaning.check(root, errors, lenient=not options.interpolate)
    if options.absolute_paths or chain:
        paths = normal.Paths(paths_from, loading.world.home, loading.world.files.real)
        normal.absolute_paths(root, paths, errors)
    loading.blame.add(root, errors)
    normal.references(root, environment)
    return root


def _interpolate(
    files: Sequence[tuple[str, Source, Sequence[Document]]],
    loading: Loading,
    environment: Mapping[str, str],
) -> None:
    errors: list[InputError] = []
    for _, _, documents in files:
        for document in documents:
            if type(document.root.value) is not dict:
                errors.append(
                    BadYaml("the top level must be a mapping", at=document.root.span)
                    if document.root.value is not None
                    else BadYaml("empty compose file", at=document.root.span)
                )
            elif loading.options.interpolate:
                Interpolation(environment.get, errors, loading.warn).apply(document.root)
    if not all(isinstance(error, BadValue) for error in errors) or any(
        _brings_others(document.root) for _, _, documents in files for document in documents
    ):
        # What a variable would have said is not known, nor what others take over from here.
        stop_at(errors)
    for document in (each for _, _, documents in files for each in documents):
        loading.blame.take_out(document.root, errors)
    loading.blame.errors += errors


def _add(
    root: Node,
    path: str,
    source: Source,
    document: Document,
    loading: Loading,
    folder: str,
    environment: Mapping[str, str],
    chain: tuple[str, ...],
) -> None:
    """Merge one document into the tree that is there."""
    new = document.root
    if new.get("include") is not None:
        from buildkit_py.compose.include import include

        include(new, document.resets, loading, folder, environment, (*chain, path))
    forget(root, document.resets)
    if _extends_any(new):
        from buildkit_py.compose.extends import extend

        extend(new, path, document.resets, loading, folder, environment)
    root.value = merge(root, new).value
    unique(root)
    if not loading.options.validate:
        return
    if wrong := validate(root):
        loading.blame.add(root, wrong)
        if not check(root):
            # No later phase can be sure of anything.
            loading.blame.stop()
    if root.value.pop("version", None) is not None:
        loading.warn(
            f"{source.name}: the attribute `version` is obsolete, it will be ignored,"
            " please remove it to avoid potential confusion"
        )
    errors: list[InputError] = []
    lenient = not loading.options.interpolate
    canonical.canonical(root, errors, loading.warn, lenient=lenient)
    loading.blame.add(root, errors)
    canonical.drop_empty(root)
    unique(root)


def _brings_others(root: Node) -> bool:
    return root.get("include") is not None or _extends_any(root)


def _extends_any(root: Node) -> bool:
    services = root.get("services")
    return services is not None and any("extends" in s.value for _, s in services.mappings())
