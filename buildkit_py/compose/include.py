"""`include`: other projects' files as a part of this one.

Each entry is loaded on its own, with its own folder and `.env` (variables from around win), and
its services, networks, volumes, secrets, configs and models are added. Where both have one of a
name, ours goes over theirs, and an earlier include over a later one. Source: compose-go
loader/include.go.
"""

from __future__ import annotations

import posixpath

from buildkit_py.compose.discover import env_files
from buildkit_py.compose.errors import BadInclude
from buildkit_py.compose.load import model
from buildkit_py.compose.merge import RULES, forget, merge
from buildkit_py.compose.normal import join
from buildkit_py.compose.reading import read
from buildkit_py.compose.tree import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit_py.compose.load import Loading

SECTIONS = ("services", "volumes", "networks", "secrets", "configs", "models")
MOST_FILES = 1000
"""Files included by one project, each as often as it is; files that include twice double."""

MOST_DEPTH = 30
"""Includes within includes."""

REMOTE = ("oci://", "https://", "http://", "git://", "ssh://", "git@")


def include(
    root: Node,
    resets: list[tuple[str, ...]],
    loading: Loading,
    folder: str,
    environment: Mapping[str, str],
    chain: tuple[str, ...],
) -> None:
    """Replace `include` in a document by what it names."""
    entries = root.value.pop("include")
    if type(entries.value) is not list:
        raise BadInclude("`include` must be a list", at=entries.span)
    for entry in entries.value:
        imported = _one(entry, loading, folder, environment, chain)
        for section in SECTIONS:
            _import(imported, root, section, resets)


def _texts(node: Node | None, entry: Node) -> list[str]:
    """Return a string or a list of strings."""
    if node is None or node.value is None:
        return []
    items = node.value if type(node.value) is list else [node]
    if not all(type(item.value) is str for item in items):
        raise BadInclude("an entry of `include` names files", at=entry.span)
    return [item.value for item in items]


def _one(
    entry: Node,
    loading: Loading,
    folder: str,
    environment: Mapping[str, str],
    chain: tuple[str, ...],
) -> Node:
    world = loading.world
    if type(entry.value) is dict:
        unknown = entry.value.keys() - {"path", "project_directory", "env_file"}
        if unknown:
            name = min(unknown)
            raise BadInclude(f"unknown key `{name}` in `include`", at=entry.value[name].place)
        paths = _texts(entry.get("path"), entry)
    else:
        paths = _texts(entry, entry)
    if not paths:
        raise BadInclude("an entry of `include` needs a `path`", at=entry.span)
    for path in paths:
        if path.startswith(REMOTE):
            raise BadInclude(
                f"`{path}` cannot be included: files from elsewhere are not supported yet",
                at=entry.span,
            )
    files = [path if posixpath.isabs(path) else join(folder, path) for path in paths]
    if files[0] in chain:
        shown = " → ".join(map(world.shown, (*chain[chain.index(files[0]) :], files[0])))
        raise BadInclude(f"files include each other: {shown}", at=entry.span, label="a cycle")
    loading.included += len(files)
    if loading.included > MOST_FILES or len(chain) > MOST_DEPTH:
        raise BadInclude(
            f"more than {MOST_FILES} files are included, or {MOST_DEPTH} within each other",
            at=entry.span,
        )
    named = _texts(entry.get("project_directory"), entry)
    own = join(folder, named[0]) if named and not posixpath.isabs(named[0]) else "".join(named[:1])
    own = own or posixpath.dirname(files[0])
    variables = env_files(_env_files(entry, own, folder, loading), environment, world, loading.warn)
    inner = {**variables, **environment}
    read_files = []
    for path in files:
        if (kind := world.files.kind(path)) != "file":
            shown = world.shown(path)
            message = f"`{shown}` is not a regular file" if kind else f"there is no file `{shown}`"
            raise BadInclude(message, at=entry.span)
        source = world.source(path)
        read_files.append((path, source, read(source)))
    return model(
        read_files,
        loading,
        folder=own,
        paths_from=relative(own, folder),
        environment=inner,
        chain=chain,
    )


def _env_files(entry: Node, own: str, folder: str, loading: Loading) -> list[str]:
    given = _texts(entry.get("env_file"), entry)
    if not given:
        default = join(own, ".env")
        return [default] if loading.world.files.kind(default) == "file" else []
    paths = [
        path if posixpath.isabs(path) else join(folder, path)
        for path in given
        if path != "/dev/null"
    ]
    for path in paths:
        if loading.world.files.kind(path) == "pipe":
            message = f"`{loading.world.shown(path)}` is not a regular file"
            raise BadInclude(message, at=entry.span)
    return paths


def relative(path: str, folder: str) -> str:
    """Return an absolute path as seen from a folder: paths become absolute in one last step."""
    return posixpath.relpath(path, folder)


def _import(source: Node, target: Node, section: str, resets: list[tuple[str, ...]]) -> None:
    theirs = source.get(section)
    if theirs is None or type(theirs.value) is not dict:
        return
    ours = target.get(section)
    if ours is None or type(ours.value) is not dict:
        target.value[section] = theirs
        return
    for name, node in theirs.value.items():
        own = ours.value.get(name)
        if own is None:
            ours.value[name] = node
            continue
        around = Node({section: Node({name: node}, node.span)}, node.span)
        forget(around, resets)
        rules = RULES.get(section, {}).get("*", {})
        kept = around.value[section].value.get(name)
        if kept is not None:
            merged = merge(kept, own, rules, (section, name))
            ours.value[name] = Node(merged.value, own.span, own.key)
