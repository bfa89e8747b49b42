"""ADD of a local archive: its contents, not the file.

What counts is the content, not the name: a tar, plain or compressed, with at least one member.
Anything else is copied as it is. The archive is unpacked by the store's code for layers, which
holds it beneath a directory of its own, and merged into the destination by COPY's rules.
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO, cast

from buildkit_py.build.steps.copy import Copier, Owner, Tree
from buildkit_py.build.steps.services import Services
from buildkit_py.build.tree import Entry
from buildkit_py.core.errors import BuildkitError, HostError, InputError
from buildkit_py.dockerfile.glob import match
from buildkit_py.store.layers.errors import BadLayer
from buildkit_py.store.layers.streams import opened
from buildkit_py.store.layers.tar_read import TarReader
from buildkit_py.store.layers.unpack import Rules, unpack_layer


class BadArchive(InputError):
    """A file that begins as an archive turned out to be a damaged one."""

    code = "build/bad-archive"


def is_archive(file: BinaryIO, name: str) -> bool:
    """Tell whether a file is a tar, compressed or not; the file is read from its start.

    Raises HostError for one that is compressed with zstd where nothing here can read that.
    """
    file.seek(0)
    try:
        stream = io.BufferedReader(cast(io.RawIOBase, opened(file)))
        return next(iter(TarReader(stream)), None) is not None
    except HostError as error:
        # It may well be one, but nothing here can tell. To copy it as it is would be a guess.
        raise HostError(
            f"`{name}` is compressed with zstd: that needs Python 3.14 or the package `zstandard`",
            code=error.code,
            hint="`pip install zstandard`, or `ADD --unpack=false` to copy it as it is",
        ) from None
    except BuildkitError:
        return False
    finally:
        file.seek(0)


def unpack_archive(
    services: Services, entry: Entry, root: int, dest: str, owner: Owner | None, *, given: bool
) -> bool:
    """Unpack a regular file into the directory `dest` if it is an archive; tell whether it was.

    owner, given: with `--chown` everything gets that owner, else the archive's own are kept
    Raises BadArchive for one that is damaged or would leave its directory, and HostError.
    """
    with os.fdopen(entry.open(), "rb") as file:
        if not is_archive(file, entry.rooted):
            return False
        with services.temporary("add-") as folder:
            os.mkdir(folder, 0o755)
            rules = Rules("copy", single_id=services.host.ids == "single")
            try:
                result = unpack_layer(file, folder, rules)
            except BadLayer as error:
                raise BadArchive(f"`{entry.rooted}`: {error.message}", hint=error.hint) from None
            if result.removed or result.opaque or result.hides_all:
                raise BadArchive(
                    f"`{entry.rooted}` has names that begin with `.wh.`",
                    hint="in an image they mean removed files; rename them in the archive",
                )
            for skipped in result.skipped:
                services.notice_once(f"`{entry.rooted}`: {skipped}")
            tree = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                copier = Copier(
                    root,
                    owner if given else None,
                    single_id=rules.single_id,
                    replace=True,
                    made_ns=services.epoch_ns,
                )
                copier.copy(Tree(tree, match), ["."], dest)
            finally:
                os.close(tree)
    return True
