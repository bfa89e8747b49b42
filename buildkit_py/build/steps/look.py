"""That a build context stood still between the look that made a key and the copy.

A result is remembered under what was hashed. Were other bytes copied, every later build of the
first bytes would be given the second ones.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

from buildkit_py.build.content import FileDigests, content_digest, is_settled, pack_stat
from buildkit_py.build.local import LocalContext
from buildkit_py.build.steps.services import Services
from buildkit_py.build.tree import EVERYTHING, ChangedSource, Entry, Filter, find, walk
from buildkit_py.core.digest import Digest
from buildkit_py.dockerfile.glob import match
from buildkit_py.dockerfile.ignore import Patterns
from buildkit_py.graph.ops import Local
from buildkit_py.graph.vertex import Input, Vertex


class Look:
    """What the files of one input were like when they were hashed.

    started_ns: before the first of them was looked at
    sure: whether any later write is certain to be seen in the stat of its file
    """

    def __init__(self, started_ns: int) -> None:
        self.started_ns = started_ns
        self.sure = True
        self.states: dict[str, bytes] = {}

    def note(self, entry: Entry) -> None:
        """Note a file's stat. A directory's says less than the names in it, which are noted too."""
        if entry.is_directory:
            self.states[entry.rooted] = b"%o" % entry.stat.st_mode
            return
        self.states[entry.rooted] = pack_stat(entry.stat)
        self.sure = self.sure and is_settled(entry.stat, self.started_ns)

    def compare(self, later: Look) -> None:
        """Raise ChangedSource, with a name, unless the later look saw the same."""
        if self.states == later.states:
            return
        names = sorted(self.states.keys() | later.states.keys())
        changed = [each for each in names if self.states.get(each) != later.states.get(each)]
        raise _changed(changed[0])


class ContextKeys:
    """Digests of what steps read from build contexts, and whether that still stands.

    filter_of: what the ignore file of a context decides, by its name
    """

    def __init__(
        self,
        services: Services,
        contexts: Mapping[str, LocalContext],
        filter_of: Callable[[str], Filter],
    ) -> None:
        self.services = services
        self.contexts = contexts
        self.filter_of = filter_of
        self._looks: dict[tuple[int, int], tuple[Look, Digest]] = {}

    def digest(self, vertex: Vertex, source: Input) -> Digest:
        """Return the digest of one input, and remember what it was made of."""
        look = Look(time.time_ns())
        made = self._digest(source, look)
        self._looks[id(vertex), id(source)] = (look, made)
        return made

    def check(self, vertex: Vertex) -> None:
        """Raise ChangedSource if what a step has just copied is not what its key was made of."""
        for source in vertex.inputs:
            first = self._looks.pop((id(vertex), id(source)), None)
            if first is None:
                continue
            look, digest = first
            again = Look(time.time_ns())
            if look.sure:
                self._walk(source, again)
                look.compare(again)
            elif self._digest(source, again) != digest:
                look.compare(again)
                raise _changed("")

    def _digest(self, source: Input, look: Look) -> Digest:
        root, select, filter = self._parts(source)
        return content_digest(
            root,
            select,
            filter=filter,
            exclude=exclusions(source.exclude),
            owners=False,
            files=FileDigests(self.services.database, self.services.check),
            matches=match,
            note=look.note,
        )

    def _walk(self, source: Input, look: Look) -> None:
        root, select, filter = self._parts(source)
        exclude = exclusions(source.exclude)
        for each in select:
            for found in find(root, each, filter, matches=match):
                try:
                    for entry in walk(found, root, filter, exclude):
                        look.note(entry)
                finally:
                    os.close(found.fd)

    def _parts(self, source: Input) -> tuple[int, tuple[str, ...], Filter]:
        op = source.vertex.op
        assert isinstance(op, Local)
        assert source.select is not None
        return self.contexts[op.name].fd, source.select, self.filter_of(op.name)


def exclusions(patterns: Sequence[str]) -> Filter:
    """Return the filter of `--exclude`, which speaks the ignore file's dialect."""
    return Patterns.of(patterns) if patterns else EVERYTHING


def _changed(name: str) -> ChangedSource:
    return ChangedSource(
        f"`{name}` changed while it was being copied" if name else "the build context changed",
        hint="build again when nothing writes there, or exclude it in `.dockerignore`",
    )
