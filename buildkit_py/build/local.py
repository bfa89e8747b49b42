"""The directory a build is made from: its root, its Dockerfile, its ignore file.

Opened once, as a descriptor; everything in it is reached beneath that. A Dockerfile inside the
context may be a link, but only to something in the context; `-f` may name a file elsewhere.
Never a FIFO or a device: reading one would hang.
"""

from __future__ import annotations

import os
import stat

from buildkit_py.build.tree import EVERYTHING, Filter
from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Source
from buildkit_py.dockerfile.ignore import Patterns
from buildkit_py.runtime.kernel.paths import open_beneath

MOST_DOCKERFILE_BYTES = 16 << 20
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class NoContext(InputError):
    """The build context is no directory that can be read."""

    code = "build/no-context"


class NoDockerfile(InputError):
    """There is no Dockerfile where one was looked for."""

    code = "build/no-dockerfile"


@dataclass(slots=True)
class Text:
    """A small file as it was read. path: absolute, "" where it is no file; data: its bytes."""

    path: str
    name: str
    data: bytes

    def source(self) -> Source:
        return Source(self.name, self.data.decode("utf-8", "surrogateescape"))


class LocalContext:
    """A context directory, open. Use as a context manager.

    fd: the directory
    path: its real, absolute path
    dockerfile, ignore: what was read; ignore is None when there is no ignore file
    absent: absolute paths that were looked for before and are not there
    """

    def __init__(self, path: str, file: str | None, text: str | None = None) -> None:
        """Open a context. text: the Dockerfile where it is no file; `file` names it then."""
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except NotADirectoryError:
            raise NoContext(
                f"`{path}` is not a directory",
                hint="a tarball, a Git or an HTTP URL as context is not supported yet",
            ) from None
        except OSError as error:
            raise NoContext(f"cannot open the build context `{path}`: {error.strerror}") from None
        self.path = os.path.realpath(path)
        self.absent: list[str] = []
        try:
            if text is None:
                self.dockerfile = self._find_dockerfile(file)
            else:
                data = text.encode("utf-8", "surrogateescape")
                self.dockerfile = Text("", file or "Dockerfile", data)
            self.ignore = self._find_ignore()
        except BaseException:
            os.close(self.fd)
            raise

    def filter(self) -> Filter:
        """Return what the ignore file decides; raises InputError for a bad pattern."""
        if self.ignore is None:
            return EVERYTHING
        return Patterns.parse(self.ignore.source())

    def _find_dockerfile(self, file: str | None) -> Text:
        if file is not None:
            path = os.path.abspath(file)
            text = self._read(path, file)
            if text is None:
                raise NoDockerfile(
                    f"there is no `{file}`", hint="`-f` is relative to where you are"
                )
            return text
        for name in ("Dockerfile", "dockerfile"):
            path = os.path.join(self.path, name)
            text = self._read(path, name)
            if text is not None:
                return text
            self.absent.append(path)
        raise NoDockerfile(
            f"there is no `Dockerfile` in `{self.path}`",
            hint="name it with `-f`, or give another directory",
        )

    def _find_ignore(self) -> Text | None:
        places = [(os.path.join(self.path, ".dockerignore"), ".dockerignore")]
        dockerfile = self.dockerfile
        if dockerfile.path:
            own = (f"{dockerfile.path}.dockerignore", f"{dockerfile.name}.dockerignore")
            places.insert(0, own)
        for path, name in places:
            text = self._read(path, name)
            if text is not None:
                return text
            self.absent.append(path)
        return None

    def _read(self, path: str, name: str) -> Text | None:
        """Return a small regular file, or None when it is not there."""
        inside = path.startswith(self.path + "/")
        try:
            fd = (
                open_beneath(self.fd, path[len(self.path) :], _READ)
                if inside
                else os.open(path, _READ)
            )
        except FileNotFoundError:
            if inside and os.path.islink(path):
                raise NoDockerfile(
                    f"`{name}` is a link that leads out of the context or nowhere",
                    hint="a file of the context may only link to the context",
                ) from None
            return None
        except OSError as error:
            raise NoDockerfile(f"cannot read `{name}`: {error.strerror}") from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise NoDockerfile(f"`{name}` is not a regular file")
        with os.fdopen(fd, "rb") as file:
            data = file.read(MOST_DOCKERFILE_BYTES + 1)
        if len(data) > MOST_DOCKERFILE_BYTES:
            raise NoDockerfile(f"`{name}` is larger than {MOST_DOCKERFILE_BYTES >> 20} MiB")
        return Text(path, name, data)

    def __enter__(self) -> LocalContext:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self.fd)
