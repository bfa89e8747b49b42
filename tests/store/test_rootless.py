"""The same steps as an unprivileged user: with subordinate ids, with a single id, with copies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.rootless import TREE, RootlessUser
from tests.store import rootless_steps

SCRIPT = str(TREE / "tests/store/rootless_steps.py")
RANGE = ["unshare", "--user", "--map-auto", "--map-root-user", "--mount"]
SINGLE = ["unshare", "--user", "--map-root-user", "--mount"]


def steps(user: RootlessUser, overlay: str, ids: str) -> dict[str, Any]:
    enter = RANGE if ids == "range" else SINGLE
    done = user.run([*enter, user.python, SCRIPT, str(user.home / "root"), overlay, ids])
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.root
@pytest.mark.rootless
@pytest.mark.kernel("overlay")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("overlay", "ids"),
    [("userxattr", "range"), ("copy", "range"), ("userxattr", "single"), ("copy", "single")],
)
def test_a_user_gets_the_layer_that_root_gets(
    rootless_user: RootlessUser, tmp_path: Path, overlay: str, ids: str
) -> None:
    as_root = rootless_steps.main(str(tmp_path / "root"), "kernel", "range")

    as_user = steps(rootless_user, overlay, ids)

    # A device node needs root; it is in a layer below and in none that is packed.
    as_root["shown"].remove("null")
    notice = "left out of the image: device `null`: only root can make device nodes"
    assert as_user == as_root | {"notices": [notice]}
    assert ["etc/shadow", 0, 42, "0o640"] in as_user["members"]
    assert as_user["capability"]
    assert as_user["pruned"] == 3
    assert as_user["left"] == []
