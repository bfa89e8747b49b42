"""`intelRdt`: what is written where in resctrl. A tree of files stands in for the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.core.errors import HostError, InputError
from buildkit_py.oci.runtime_config import IntelRdt
from buildkit_py.runtime.bundle.resctrl import MOUNT, Group
from tests.runtime.bundle.conftest import Bundle

LINES = ("L3:0=7f0;1=1f", "MB:0=20;1=70")


class Tree:
    """A folder that looks like resctrl; files of groups appear as the kernel makes them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files(path)

    def files(self, folder: Path) -> None:
        (folder / "mon_groups").mkdir(parents=True)
        (folder / "schemata").write_text("    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n")
        (folder / "tasks").touch()

    def group(self, config: IntelRdt) -> Group:
        return Group(config, "box", str(self.path))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "resctrl")


def test_without_resctrl_it_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="intelRdt cannot be carried out") as caught:
        Group(IntelRdt(), "box", str(tmp_path)).create()

    assert caught.value.hint is not None
    assert "mount -t resctrl" in caught.value.hint


def test_a_group_of_the_containers_own_goes_with_it(tree: Tree) -> None:
    group = tree.group(IntelRdt())
    group.create()
    assert (tree.path / "box").is_dir()

    group.remove()
    group.remove()
    assert not (tree.path / "box").exists()


def test_the_first_process_is_put_there(tree: Tree) -> None:
    tree.files(tree.path / "gold")
    group = tree.group(IntelRdt(closid="gold", enable_monitoring=True))
    group.create()
    (tree.path / "gold" / "mon_groups" / "box" / "tasks").touch()
    group.add(77)

    assert (tree.path / "gold" / "tasks").read_text() == "77"
    tasks = tree.path / "gold" / "mon_groups" / "box" / "tasks"
    assert tasks.read_text() == "77"
    tasks.unlink()
    group.remove()
    assert not tasks.parent.exists()
    assert (tree.path / "gold").exists()


def test_the_root_is_a_group(tree: Tree) -> None:
    group = tree.group(IntelRdt(closid="/"))
    group.create()
    group.add(77)
    group.remove()

    assert (tree.path / "tasks").read_text() == "77"


def test_a_group_without_schemata_must_be_there(tree: Tree) -> None:
    with pytest.raises(InputError, match="there is no group `gold`"):
        tree.group(IntelRdt(closid="gold")).create()


@pytest.mark.parametrize(
    ("lines", "fits"),
    [
        (("L3:0=7ff",), True),
        (("L3:1=7FF;0=07ff", "MB:0=100"), True),
        (("L3:0=7f0",), False),
        (("L2:0=ff",), False),
        (("MB:0=10",), False),
    ],
)
def test_a_group_that_is_there_must_have_the_schemata(
    tree: Tree, lines: tuple[str, ...], fits: bool
) -> None:
    tree.files(tree.path / "gold")
    group = tree.group(IntelRdt(closid="gold", schemata=lines))
    if fits:
        group.create()
    else:
        with pytest.raises(InputError, match="the group `gold` is there, without"):
            group.create()


def test_what_the_kernel_refuses_is_told_in_its_words_and_leaves_no_group(tree: Tree) -> None:
    (tree.path / "info").mkdir()
    (tree.path / "info" / "last_cmd_status").write_text("Mask out of range\n")

    # Nobody makes the file `schemata` of a new group here: so its write fails.
    with pytest.raises(HostError, match="schemata`: No such file or directory: Mask out of range"):
        tree.group(IntelRdt(closid="gold", schemata=LINES)).create()
    assert not (tree.path / "gold").exists()


def test_what_is_no_schema_is_named(tree: Tree) -> None:
    tree.files(tree.path / "gold")
    with pytest.raises(InputError, match="`L3:0=xyz` is no schema"):
        tree.group(IntelRdt(closid="gold", schemata=("L3:0=xyz",))).create()


def test_other_schemata_are_written(tree: Tree) -> None:
    tree.files(tree.path / "box")
    tree.group(IntelRdt()).update(["L3:0=f"])
    assert (tree.path / "box" / "schemata").read_text().startswith("L3:0=f\n")

    with pytest.raises(InputError, match="`L3:0=nix` is no schema"):
        tree.group(IntelRdt()).update(["L3:0=nix"])


@pytest.mark.root
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--l3-cache-schema", "L3:0=f"), "has no `linux.intelRdt` to update"),
        (("--l3-cache-schema", "MB:0=10"), "does not start with `L3:`"),
        (("--mem-bw-schema", "L3:0=f"), "does not start with `MB:`"),
        ((), "there is nothing to update"),
    ],
)
def test_updates_that_cannot_be(bundle: Bundle, words: tuple[str, ...], said: str) -> None:
    bundle.create("true")

    assert said in bundle.fails("update", *words, bundle.id)


def test_schemata_come_last() -> None:
    made = Group(IntelRdt("a", ("L2:0=f",), "L3:0=f", "MB:0=10"), "box")

    assert made.lines == ["L3:0=f", "MB:0=10", "L2:0=f"]


@pytest.mark.root
@pytest.mark.skipif(Path(MOUNT, "schemata").exists(), reason="this machine has resctrl")
def test_a_container_is_refused_without_it_and_leaves_nothing(bundle: Bundle) -> None:
    bundle.linux["intelRdt"] = {"closID": "gold"}

    assert "`/sys/fs/resctrl` is not there" in bundle.run_fails()
    assert bundle.is_gone()
