"""A workshop for tests of the runtime, in a process of its own: containers on busybox.

A test hands a few lines of Python to `conftest.inside`; they run after `prepare()`, as root or
as the unprivileged user, and print what the test asserts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from buildkit_py.runtime import userns
from buildkit_py.runtime.process import Exit
from buildkit_py.runtime.spec import Bind, Container, Directory, Overlay
from buildkit_py.runtime.zygote import Zygote

BUSYBOX = "/bin/busybox"
APPLETS = (
    "sh cat ls id ps mount umount mknod touch mkdir rm rmdir ln mv head wc grep sleep true false "
    "kill env pwd hostname stat dd chown chmod find sort seq ip nc unshare echo tty stty su"
)
FILES = {"/etc/hosts": "127.0.0.1 localhost\n", "/etc/resolv.conf": "nameserver 192.0.2.1\n"}


@dataclass(frozen=True)
class Result:
    """How a container ended and what it wrote."""

    exit: Exit
    out: str
    warnings: list[str]

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Box:
    """A zygote and a busybox image, in a folder.

    `image` may be changed between runs; `up` is the upper directory of the last run.
    """

    def __init__(self, folder: str, host: Any, zygote: Zygote) -> None:
        self.folder = folder
        self.host = host
        self.zygote = zygote
        self.image = f"{folder}/image"
        self.up = f"{folder}/up"
        self.work = f"{folder}/work"
        self.number = 0
        os.makedirs(f"{self.image}/bin")
        shutil.copy(BUSYBOX, f"{self.image}/bin/busybox")
        for name in APPLETS.split():
            os.symlink("busybox", f"{self.image}/bin/{name}")

    def container(self, *args: str, **fields: Any) -> Container:
        """Return a container on a fresh upper directory."""
        self.number += 1
        self.up, self.work = f"{self.folder}/up{self.number}", f"{self.folder}/w{self.number}"
        os.mkdir(self.up)
        os.mkdir(self.work)
        fields.setdefault("root", Overlay((self.image,), self.up, self.work))
        fields.setdefault("files", FILES)
        return Container(args=args, **fields)

    def run(self, *args: str, **fields: Any) -> Result:
        """Run a program and return how it ended and what it wrote to both outputs."""
        container = self.container(*args, **fields)
        path = f"{self.folder}/output"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        null = os.open(os.devnull, os.O_RDWR)
        try:
            with self.zygote.create(container, stdin=null, stdout=fd, stderr=fd) as process:
                process.start()
                end = process.wait()
                warnings = list(process.warnings)
        finally:
            os.close(fd)
            os.close(null)
        with open(path, errors="replace") as file:
            return Result(end, file.read(), warnings)

    def sh(self, script: str, **fields: Any) -> Result:
        """Run a shell script."""
        return self.run("/bin/sh", "-c", script, **fields)

    def layer(self) -> list[str]:
        """Return every path in the last run's upper directory."""
        return sorted(
            os.path.relpath(os.path.join(folder, name), self.up)
            for folder, folders, files in os.walk(self.up)
            for name in (*folders, *files)
        )


@contextmanager
def prepare(folder: str) -> Iterator[Box]:
    """Enter the namespaces, start the zygote, make the image; and remove all of it."""
    host = userns.enter()
    with Zygote.start(host) as zygote:
        try:
            yield Box(folder, host, zygote)
        finally:
            # What subordinate ids own can only be removed from in here.
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


__all__ = ["Bind", "Box", "Container", "Directory", "Overlay", "Result", "prepare"]
