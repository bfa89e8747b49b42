"""Carries out the steps of one build: the solver's `Steps` on the real store and sandbox."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from buildkit_py.build.content import FileDigests, content_digest
from buildkit_py.build.local import LocalContext
from buildkit_py.build.steps import run as run_step
from buildkit_py.build.steps.accounts import Accounts
from buildkit_py.build.steps.cache_mounts import cache_mounts
from buildkit_py.build.steps.copy import Copier, Owner, Tree, make_directory
from buildkit_py.build.steps.look import ContextKeys, exclusions
from buildkit_py.build.steps.owner import resolve_owner
from buildkit_py.build.steps.services import Services
from buildkit_py.build.steps.unpack import unpack_archive
from buildkit_py.build.tree import EVERYTHING, Entry, Filter, MissingSource, clean
from buildkit_py.core.digest import Digest
from buildkit_py.core.errors import BuildkitError, HostError, InputError, StateError
from buildkit_py.core.events import StepStatus
from buildkit_py.core.source import Span
from buildkit_py.core.system import ImpossiblePath, of_path, of_system
from buildkit_py.core.text import did_you_mean
from buildkit_py.dockerfile.glob import match as wildcard_match
from buildkit_py.graph.keys import definition, digest_of
from buildkit_py.graph.ops import Base, Copy, Inline, Local, MakeDirectory, Mount, Run, Scratch
from buildkit_py.graph.solve import Result
from buildkit_py.graph.vertex import Input, Vertex
from buildkit_py.oci.image import ImageConfig, chain_ids
from buildkit_py.runtime.kernel.paths import open_beneath
from buildkit_py.runtime.spec import Bind, MountSpec, Tmpfs
from buildkit_py.store.snapshots import Active, SnapshotId


class UnknownOwner(InputError):
    """`--chown` names a user or group that the image does not have."""

    code = "build/unknown-owner"


class UnsupportedMount(InputError):
    code = "build/unsupported-mount"


class CarryOut:
    """The steps of one build.

    contexts: by the name in `Local`
    images: config of each base image, by manifest digest
    secrets: by id, as `--secret` gave them
    now: the time of what is made now, RFC 3339
    again: which steps run again though they are remembered
    committed: called with each new snapshot
    """

    def __init__(
        self,
        services: Services,
        *,
        contexts: Mapping[str, LocalContext],
        images: Mapping[Digest, ImageConfig],
        now: Callable[[], str],
        again: Callable[[Vertex], bool],
        committed: Callable[[Vertex, SnapshotId], None],
    ) -> None:
        self.services = services
        self.contexts = contexts
        self.images = images
        self.now = now
        self.again = again
        self.committed = committed
        self._accounts = Accounts()
        self._filters: dict[str, Filter] = {}
        self._warned: dict[Vertex, list[tuple[str, str, str | None]]] = {}
        self._keys = ContextKeys(services, contexts, self.filter_of)

    # ── what the solver asks ─────────────────────────────────────────────────────────────────

    def ready(self, vertex: Vertex) -> Result | None:
        assert isinstance(vertex.op, Base)
        chain = chain_ids(self.images[vertex.op.manifest].diff_ids)
        if not chain:
            return Result(vertex.op.manifest)
        snapshot = self.services.store.snapshots.unpacked(chain[-1])
        return None if snapshot is None else Result(vertex.op.manifest, snapshot)

    def content(self, vertex: Vertex, source: Input, result: Result) -> Digest:
        try:
            return self._content(vertex, source, result)
        except InputError as error:
            raise self._explained(error, vertex, source, result) from None
        except OSError as error:
            raise self._told(error, vertex) from error

    def _content(self, vertex: Vertex, source: Input, result: Result) -> Digest:
        op = source.vertex.op
        if isinstance(op, Inline):
            return definition(op)
        assert source.select is not None
        selection = digest_of({"select": list(source.select), "exclude": list(source.exclude)})
        if isinstance(op, Local):
            return self._keys.digest(vertex, source)
        if result.snapshot is None:
            return selection
        known = self.services.database.find_content(result.snapshot, selection)
        if known is not None:
            return Digest(known)
        with self.services.store.snapshots.view(SnapshotId(result.snapshot)) as root:
            made = content_digest(
                root,
                source.select,
                exclude=exclusions(source.exclude),
                filter=EVERYTHING,
                owners=True,
                files=FileDigests(None, self.services.check),
                matches=wildcard_match,
            )
        self.services.database.keep_content(result.snapshot, selection, made)
        return made

    def _explained(
        self, error: InputError, vertex: Vertex, source: Input, result: Result
    ) -> BuildkitError:
        """Say where a missing source was looked for, point at it, and suggest a near name."""
        if not isinstance(error, MissingSource):
            return _placed(error, vertex)
        at = _word_at(vertex.span, error.source)
        name = error.source.lstrip("/") or "/"
        op = source.vertex.op
        if isinstance(op, Local):
            place, hint = "the build context", _near(self.contexts[op.name].fd, error.source)
        else:
            place, hint = "the file system it is copied from", None
            if result.snapshot is not None:
                with self.services.store.snapshots.view(SnapshotId(result.snapshot)) as root:
                    hint = _near(root, error.source)
        if error.excluded:
            return MissingSource(
                f"`{name}` is excluded from the build context by the ignore file",
                at=at,
                source=error.source,
                hint=error.hint,
            )
        if error.link:
            return MissingSource(
                f"`{name}` leads to `{error.link}`, which is not in {place}",
                at=at,
                source=error.source,
                label="a link to nothing",
                hint="`/` at its start means the top of what is copied from"
                if error.link.startswith("/")
                else None,
            )
        return MissingSource(
            f"`{name}` is not in {place}", at=at, source=error.source, label="not found", hint=hint
        )

    def execute(self, vertex: Vertex, inputs: Sequence[Result], number: int) -> Result:
        self.services.check()
        op = vertex.op
        if isinstance(op, Base):
            return self._unpack(op, number)
        if isinstance(op, Copy) and "\0" in op.dest:
            raise _zero_byte(op.dest, vertex)
        active = self.services.store.snapshots.prepare(_snapshot(inputs[0]))
        try:
            match op:
                case Run():
                    self._run(vertex, op, active, inputs, number)
                case Copy():
                    self._copy(vertex, op, active, inputs)
                case MakeDirectory():
                    self._make_directory(op, active)
                case Scratch() | Local() | Inline():
                    raise StateError("a source is not a step", code="build/not-a-step")
            self.services.check()
            snapshot = self._accounts.commit(active)
        except InputError as error:
            active.discard()
            raise _placed(error, vertex) from None
        except OSError as error:
            active.discard()
            raise self._told(error, vertex) from error
        except BaseException:
            active.discard()
            raise
        if warned := self._warned.pop(vertex, None):
            self.services.database.keep_warnings(snapshot, warned)
        self.committed(vertex, snapshot)
        return Result("", snapshot, self.now())

    def _warn(self, vertex: Vertex, error: InputError) -> None:
        """Warn of something in a step, now and whenever its result is taken from memory."""
        self._warned.setdefault(vertex, []).append((error.code, error.message, error.hint))
        self.services.warn(error)

    def recalled(self, vertex: Vertex, result: Result) -> None:
        if isinstance(vertex.op, Base) or result.snapshot is None:
            return
        for code, message, hint in self.services.database.find_warnings(result.snapshot):
            self.services.warn(InputError(message, code=code, at=vertex.span, hint=hint))

    def _told(self, error: OSError, vertex: Vertex) -> Exception:
        """Return what to raise for an error of the system that no line of ours explained."""
        told = of_system(error) or of_path(error)
        if told is not None:
            return _placed(told, vertex)
        if error.errno == errno.EINVAL and self.services.host.rootless:
            # chown(2) to an id that the user namespace does not map.
            return HostError(
                "an owner that this step asks for is outside of your user and group ids",
                code="build/owner-not-mapped",
                at=vertex.span,
                hint="the user's range of subordinate ids is too small for this id",
            )
        return error

    def stop(self) -> None:
        self.services.stop()

    # ── each kind of step ────────────────────────────────────────────────────────────────────

    def _unpack(self, op: Base, number: int) -> Result:
        config = self.images[op.manifest]
        manifest = self.services.store.images.manifest(op.manifest)

        seen: set[int] = set()

        def progress(layer: int, count: int) -> None:
            self.services.check()
            if layer not in seen:
                seen.add(layer)
                digest = manifest.layers[layer].digest
                self.services.sink.emit(StepStatus(number, f"extracting {digest}"))

        snapshot = self.services.store.snapshots.unpack_image(manifest, config, progress)
        return Result(op.manifest, snapshot)

    def _run(
        self, vertex: Vertex, op: Run, active: Active, inputs: Sequence[Result], number: int
    ) -> None:
        with ExitStack() as stack:
            folder = ""
            if op.files or op.mounts:
                folder = stack.enter_context(self.services.temporary("run-"))
                os.mkdir(folder, 0o755)
            try:
                account = self._accounts.find(active, op.user)
            except InputError as error:
                raise _placed(error, vertex) from None
            mounts: list[MountSpec] = run_step.script_files(op, os.path.join(folder, "pipes"))
            try:
                caches = stack.enter_context(
                    cache_mounts(self.services, _caches(op, vertex), wipe=self.again(vertex))
                )
                for at, mount in enumerate(op.mounts):
                    path = os.path.join(folder, f"m{at}")
                    mounts.append(
                        caches.get(mount) or self._mount(vertex, mount, inputs, path, stack)
                    )
                self._keys.check(vertex)
                run_step.run(self.services, vertex, op, active, mounts, account, number)
            except BuildkitError as error:
                raise _placed(error, vertex) from None

    def _mount(
        self,
        vertex: Vertex,
        mount: Mount,
        inputs: Sequence[Result],
        folder: str,
        stack: ExitStack,
    ) -> MountSpec:
        match mount.type:
            case "tmpfs":
                return Tmpfs(mount.target, mount.size_bytes, read_only=mount.read_only)
            case "bind":
                assert mount.input is not None
                source = vertex.inputs[mount.input]
                path = self._bind_source(mount, source, inputs[mount.input], folder, stack)
                return Bind(path, mount.target, read_only=mount.read_only, recursive=False)
            case "secret" | "ssh" | "cache":
                raise UnsupportedMount(
                    f"`--mount=type={mount.type}` is not supported yet", at=vertex.span
                )

    def _bind_source(
        self, mount: Mount, source: Input, result: Result, folder: str, stack: ExitStack
    ) -> str:
        """Return a path of this host that shows what a bind mount asks for.

        The selected files are copied: what the ignore file hides must not be seen, and what the
        step writes is thrown away.
        """
        os.mkdir(folder, 0o755)
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, root)
        copier = Copier(root, Owner(0, 0) if isinstance(source.vertex.op, Local) else None)
        copier.single_id = self.services.host.ids == "single"
        with self._tree(source, result) as tree:
            single = mount.source.strip("/") or "."
            copier.copy(tree, [single], "/tree")
        return os.path.join(folder, "tree")

    def _copy(self, vertex: Vertex, op: Copy, active: Active, inputs: Sequence[Result]) -> None:
        try:
            with active.mount() as root:
                copier = Copier(
                    root,
                    self._owner(root, op, vertex),
                    op.chmod,
                    single_id=self.services.host.ids == "single",
                    stop=self.services.stopped,
                    made_ns=self.services.epoch_ns,
                )
                with self._tree(vertex.inputs[1], inputs[1], op, root) as tree:
                    copier.copy(tree, op.sources, op.dest)
                if op.inline:
                    with self._tree(vertex.inputs[2], inputs[2]) as tree:
                        copier.copy(tree, op.inline, op.dest)
            self._keys.check(vertex)
        except (InputError, HostError) as error:
            raise _placed(error, vertex) from None
        for notice in copier.notices:
            self._warn(vertex, InputError(notice, code="build/copy-notice", at=vertex.span))

    @contextmanager
    def _tree(
        self, source: Input, result: Result, op: Copy | None = None, into: int = -1
    ) -> Iterator[Tree]:
        """Give the tree that an input is."""
        exclude = exclusions(source.exclude)
        parents = op.parents if op else False
        unpack: Callable[[Entry, str], bool] = lambda entry, dest: False  # noqa: E731
        if op is not None and op.unpack:
            owner = self._owner(into, op, None)

            def unpack(entry: Entry, dest: str) -> bool:
                return unpack_archive(self.services, entry, into, dest, owner, given=bool(op.chown))

        with ExitStack() as stack:
            filter: Filter = EVERYTHING
            match source.vertex.op:
                case Local(name):
                    root, filter = self.contexts[name].fd, self.filter_of(name)
                case Inline(files):
                    folder = stack.enter_context(self.services.temporary("inline-"))
                    os.mkdir(folder, 0o755)
                    for file in files:
                        path = os.path.join(folder, run_step.file_name(file, source.vertex.span))
                        with open(path, "w", encoding="utf-8", errors="surrogateescape") as opened:
                            opened.write(file.content)
                            os.fchmod(opened.fileno(), file.mode)
                    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                    stack.callback(os.close, root)
                case _ if result.snapshot is None:
                    folder = stack.enter_context(self.services.temporary("empty-"))
                    os.mkdir(folder, 0o755)
                    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                    stack.callback(os.close, root)
                case _:
                    view = self.services.store.snapshots.view(SnapshotId(result.snapshot))
                    root = stack.enter_context(view)
            yield Tree(root, wildcard_match, filter, exclude, parents, unpack)

    def _owner(self, root: int, op: Copy, vertex: Vertex | None) -> Owner | None:
        """Return the owner of what is copied, None to keep the source's."""
        if not op.chown:
            return None if op.keep_owner else Owner(0, 0)
        try:
            return resolve_owner(root, op.chown)
        except InputError as error:
            if vertex is not None and isinstance(vertex.inputs[0].vertex.op, Scratch):
                raise UnknownOwner(
                    f"`--chown={op.chown}` names somebody, but `scratch` has no users",
                    at=vertex.span,
                    hint="use numbers",
                ) from None
            # BuildKit silently takes 0:0; we say so, and refuse under --strict.
            if vertex is not None:
                # Under --strict nothing is given to anybody.
                then = "" if self.services.strict else ": files are given to 0:0"
                self._warn(
                    vertex,
                    UnknownOwner(
                        f"{error.message}{then}",
                        at=vertex.span,
                        hint="create the user before, or use numbers",
                    ),
                )
            return Owner(0, 0)

    def _make_directory(self, op: MakeDirectory, active: Active) -> None:
        with active.mount() as root:
            try:
                owner = resolve_owner(root, op.user)
            except InputError:
                # An unknown USER fails at the RUN that needs it, as in BuildKit.
                owner = Owner(0, 0)
            single = self.services.host.ids == "single"
            fd, made = make_directory(root, op.path, owner, single_id=single)
            os.close(fd)
            if self.services.epoch_ns is not None:
                for path in reversed(made):
                    fd = open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
                    os.utime(fd, ns=(self.services.epoch_ns, self.services.epoch_ns))
                    os.close(fd)

    def filter_of(self, name: str) -> Filter:
        """Return what the ignore file of a context decides."""
        if name not in self._filters:
            self._filters[name] = self.contexts[name].filter()
        return self._filters[name]


def _caches(op: Run, vertex: Vertex) -> list[Mount]:
    """Return the cache mounts of a RUN; refuse what would silently be something else."""
    caches = [mount for mount in op.mounts if mount.type == "cache"]
    for mount in caches:
        if mount.input is not None or mount.source.strip("/."):
            raise UnsupportedMount(
                "a cache mount with `from` or `source` is not supported yet", at=vertex.span
            )
    return caches


def _placed(error: BuildkitError, vertex: Vertex) -> BuildkitError:
    """Give an error the place of the instruction, unless it has a better one."""
    if error.at is None:
        error.at = vertex.span
    return error


def _zero_byte(path: str, vertex: Vertex) -> InputError:
    # Only JSON can write one: `"\\u0000"`.
    return ImpossiblePath(f"`{path}`: a path cannot hold a zero byte", at=vertex.span)


def _word_at(span: Span | None, word: str) -> Span | None:
    """Return where a word stands in an instruction, or the whole instruction."""
    if span is None:
        return None
    for text in (word, word.lstrip("/")):
        at = span.text.rfind(text) if text else -1
        if at >= 0:
            return Span(span.source, span.start + at, span.start + at + len(text))
    return span


def _near(root: int, path: str) -> str | None:
    """Return a suggestion from the directory in which a source was looked for."""
    folder, _, name = clean(path).rpartition("/")
    try:
        fd = open_beneath(root, folder or ".", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        return did_you_mean(name, os.listdir(fd))
    finally:
        os.close(fd)


def _snapshot(result: Result) -> SnapshotId | None:
    return None if result.snapshot is None else SnapshotId(result.snapshot)
