"""A program for a user namespace: unpack, change, pack; prints what came out as JSON.

usage: rootless_steps.py ROOT userxattr|copy|kernel range|single
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

from buildkit_py.store.layers.pack import pack
from buildkit_py.store.store import Store
from tests.store.tars import (
    add_test_image,
    file,
    folder,
    hard_link,
    link,
    node,
    pax,
    tar,
)

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def main(root: str, overlay: Any, ids: str) -> dict[str, Any]:
    lower = tar(
        folder("etc", uid=0, gid=42), file("etc/shadow", b"secret", mode=0o640, gid=42),
        folder("home"), folder("home/user", uid=1000, gid=1000),
        file("home/user/file", b"mine", uid=1000, gid=1000),
        pax([(b"SCHILY.xattr.security.capability", CAPABILITY), (b"SCHILY.xattr.user.n", b"1")]),
        file("ping", b"ping", mode=0o755), file("su", b"su", mode=0o4755),
        hard_link("hard", "ping"), folder("gone"), file("gone/x", b"x"), link("l", "etc"),
    )  # fmt: skip
    upper = tar(
        file(".wh.gone"), folder("home/user", uid=1000, gid=1000),
        file("home/user/.wh..wh..opq"), file("home/user/new", b"new", uid=1000, gid=1000),
        node("null", b"3", 1, 3),
    )  # fmt: skip
    with Store.open(root, overlay=overlay, single_id=ids == "single") as store:
        manifest, config, _ = add_test_image(store, lower, upper)
        notices: list[str] = []
        base = store.snapshots.unpack_image(manifest, config, notice=notices.append)
        active = store.snapshots.prepare(base)
        with active.mount() as fd:
            change(Path(f"/proc/self/fd/{fd}"))
        id = active.commit()
        layer = pack(store.snapshots, store.content, id)
        with store.snapshots.view(id) as fd:
            shown = sorted(os.listdir(f"/proc/self/fd/{fd}"))
        data = gzip.decompress(Path(store.content.path(layer.descriptor.digest)).read_bytes())
        answer = {
            "shown": shown,
            "notices": notices,
            "digest": layer.descriptor.digest,
            "members": [[m.name, m.uid, m.gid, oct(m.mode)] for m in members(data)],
            "capability": CAPABILITY in data,
            "pruned": len(store.snapshots.prune([])),
        }
    answer["left"] = os.listdir(os.path.join(root, "tmp"))
    answer["mounts"] = Path("/proc/self/mountinfo").read_text().count(" overlay ")
    return answer


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        return opened.getmembers()


def change(root: Path) -> None:
    """What a step may do: write, copy up, remove, make anew."""
    with open(root / "etc/shadow", "a") as shadow:
        shadow.write("more")
    os.chmod(root / "ping", 0o711)
    shutil.rmtree(root / "home")
    (root / "home").mkdir()
    (root / "home/again").write_text("x")
    (root / "su").unlink()
    os.rename(root / "l", root / "renamed")
    for base, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(base, name)
            if name not in ("hard", "null"):
                os.utime(path, (9, 9), follow_symlinks=False)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
