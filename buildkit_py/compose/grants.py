"""What secrets and configs hold, read once, and told apart without giving it away.

A container has a copy of each file that it is granted, so it is made anew when one changes. What
it was made of is remembered in a label as `SALT:DIGEST`, so that a short secret cannot be guessed
from a table of digests.
"""

from __future__ import annotations

import hashlib
import os
import stat

from buildkit_py.compose.errors import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from buildkit_py.compose import model
    from buildkit_py.core.errors import InputError

    Contents = Mapping[tuple[str, str], bytes]
    """By section, `secrets` or `configs`, and key."""

FILES_LABEL = "io.buildkit-py.compose.files"
MOST_FILE_BYTES = 1 << 20


def read(
    project: model.Project, look: Callable[[str], None] = lambda path: None
) -> tuple[Contents, list[InputError]]:
    """Return what the secrets and configs of all services hold, and what is wrong with them.

    look: told each file's path before it is read
    """
    contents: dict[tuple[str, str], bytes] = {}
    errors: list[InputError] = []
    for section, file in _used(project):
        if file.file is not None:
            look(file.file)
        try:
            contents[section, file.key] = _content(project, section, file)
        except BadValue as error:
            errors.append(error)
    return contents, errors


def _used(project: model.Project) -> Iterable[tuple[str, model.FileObject]]:
    seen: dict[tuple[str, str], model.FileObject] = {}
    for service in project.services.values():
        for each in service.secrets:
            seen["secrets", each.source] = project.secrets[each.source]
        for each in service.configs:
            seen["configs", each.source] = project.configs[each.source]
    return [(section, file) for (section, _), file in seen.items() if not file.external]


def _content(project: model.Project, section: str, file: model.FileObject) -> bytes:
    at = project.at(section, file.key)
    if file.content is not None:
        return file.content.encode("utf-8", "surrogateescape")
    if file.file is None:
        what = f"the variable `{file.environment}` is not set" if file.environment else "no content"
        raise BadValue(f"`{file.key}`: {what}", at=at)
    try:
        # A named pipe that nobody writes to must not hold everything up.
        fd = os.open(file.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as opened:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise BadValue(f"`{file.file}` is not a regular file", at=at)
            data = opened.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BadValue(f"cannot read `{file.file}`: {why}", at=at) from error
    if len(data) > MOST_FILE_BYTES:
        raise BadValue(f"`{file.file}` has more than 1 MiB", at=at)
    return data


def digest(service: model.Service, contents: Contents, salt: str = "") -> str:
    """Return what a container's label says of its files, "" for none of them.

    salt: of an earlier digest, to compare with it; "" makes a new one
    """
    keys = sorted(
        {("secrets", each.source) for each in service.secrets}
        | {("configs", each.source) for each in service.configs}
    )
    if not keys:
        return ""
    salt = salt or os.urandom(16).hex()
    hashed = hashlib.sha256(salt.encode())
    for section, key in keys:
        data = contents.get((section, key), b"")
        hashed.update(f"\0{section}\0{key}\0{len(data)}\0".encode())
        hashed.update(data)
    return f"{salt}:{hashed.hexdigest()}"


def is_same(service: model.Service, contents: Contents, label: str) -> bool:
    """Say whether a label is that of what the files hold now."""
    return digest(service, contents, label.partition(":")[0]) == label
