"""Hooks: who is told what, when, where, and what comes of a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.bundle.conftest import Bundle
from tests.stories.residue import eventually

pytestmark = pytest.mark.root

OUTSIDE = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def shell(script: str, **more: Any) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **more}


@pytest.fixture
def log(bundle: Bundle) -> Path:
    """A folder for what hooks say, at the same path on the host and in the container."""
    folder = bundle.folder / "log"
    folder.mkdir()
    bundle.mount(str(folder), "bind", str(folder), "bind")
    return folder


def all_kinds(log: Path) -> dict[str, Any]:
    """One hook of each kind that keeps the state, and where it ran."""
    return {
        kind: [
            shell(
                f"echo {kind} >> {log}/order; cat > {log}/{kind};"
                f" readlink /proc/self/ns/mnt > {log}/{kind}.ns; ls / > {log}/{kind}.root",
                env=["PATH=/bin:/usr/bin"],
            )
        ]
        for kind in KINDS
    }


def test_all_kinds_in_their_order_each_with_the_state(bundle: Bundle, log: Path) -> None:
    bundle.config["hooks"] = all_kinds(log)
    bundle.config["annotations"] = {"a": "b"}
    bundle.create(f"echo program >> {log}/order; sleep 1000")
    outer = bundle.state()["pid"]
    created = (log / "order").read_text().split()
    bundle.ok("start", bundle.id)
    assert eventually(lambda: "program" in (log / "order").read_text())
    bundle.ok("delete", "--force", bundle.id)
    order = (log / "order").read_text().split()

    assert created == list(KINDS[:3])
    assert order[:4] == list(KINDS[:4])
    assert sorted(order[4:6]) == ["poststart", "program"]
    assert order[6:] == ["poststop"]
    states = {kind: json.loads((log / kind).read_text()) for kind in KINDS}
    assert {kind: state["status"] for kind, state in states.items()} == {
        "prestart": "creating",
        "createRuntime": "creating",
        "createContainer": "creating",
        "startContainer": "created",
        "poststart": "running",
        "poststop": "stopped",
    }
    for state in states.values():
        assert (state["id"], state["bundle"]) == (bundle.id, str(bundle.folder))
        assert state["annotations"] == {"a": "b"}
        assert state["ociVersion"]
    # As their own namespace counts.
    assert [states[kind]["pid"] for kind in KINDS] == [outer, outer, 1, 1, outer, 0]


def test_each_runs_where_it_should(bundle: Bundle, log: Path) -> None:
    bundle.config["hooks"] = all_kinds(log)
    bundle.run(f"readlink /proc/self/ns/mnt > {log}/program.ns")
    host = Path("/proc/self/ns/mnt").readlink()
    where = {kind: (log / f"{kind}.ns").read_text().strip() for kind in (*KINDS, "program")}
    roots = {kind: (log / f"{kind}.root").read_text().split() for kind in KINDS}

    outside = {kind for kind, name in where.items() if name == str(host)}
    assert outside == {"prestart", "createRuntime", "poststart", "poststop"}
    assert where["createContainer"] == where["startContainer"] == where["program"]
    assert "var" in roots["createContainer"]  # before pivot_root the host's tree is there
    assert "var" in roots["startContainer"]  # the mount point of the log; nothing else is
    assert "lib" not in roots["startContainer"]


def test_those_of_one_kind_run_in_their_order(bundle: Bundle, log: Path) -> None:
    bundle.config["hooks"] = {
        "createRuntime": [shell(f"echo {number} >> {log}/order") for number in range(5)]
    }
    bundle.run("exit 0")

    assert (log / "order").read_text().split() == list("01234")


def test_the_environment_is_empty_unless_one_is_given(bundle: Bundle, log: Path) -> None:
    printer = "/usr/bin/env"
    bundle.config["hooks"] = {
        "createRuntime": [
            shell(f"{printer} > {log}/none"),
            shell(f"{printer} > {log}/some", env=["A=b=c", "B="]),
        ]
    }
    bundle.run("exit 0")

    ours = {"PWD", "SHLVL", "_", "OLDPWD"}
    none, some = (
        {line for line in (log / name).read_text().splitlines() if line.split("=")[0] not in ours}
        for name in ("none", "some")
    )
    assert none == set()
    assert some == {"A=b=c", "B="}


def test_arguments_start_with_the_programs_name(bundle: Bundle, log: Path) -> None:
    hook = {"path": "/bin/sh", "args": ["other-name", "-c", f"echo $0 > {log}/name"]}
    bundle.config["hooks"] = {"createRuntime": [hook]}
    bundle.run("exit 0")

    assert (log / "name").read_text() == "other-name\n"


def test_files_of_hooks_are_not_everybodys(bundle: Bundle, log: Path) -> None:
    """Our own umask while a container is made is 0, so that modes are as written."""
    bundle.config["hooks"] = {kind: [shell(f": > {log}/{kind}")] for kind in KINDS}
    bundle.run("exit 0")

    modes = {kind: oct((log / kind).stat().st_mode & 0o777) for kind in KINDS}
    assert set(modes.values()) == {"0o644"}, modes


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_failure_before_the_creation_leaves_nothing(bundle: Bundle, log: Path, kind: str) -> None:
    bundle.config["hooks"] = {
        kind: [shell("exit 3"), shell(f": > {log}/second")],
        "poststop": [shell(f": > {log}/stopped")],
    }
    complaint = bundle.fails(*bundle.made("create"))

    assert f"hook {kind}[0] `/bin/sh` ended with 3" in complaint
    assert not (log / "second").exists()
    assert bundle.ok("list", "-q") == ""
    assert bundle.is_gone(), bundle.leftovers()


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_a_failure_at_the_start_stops_the_container(bundle: Bundle, kind: str) -> None:
    bundle.config["hooks"] = {kind: [shell("exit 3")]}
    bundle.create("sleep 1000")
    complaint = bundle.fails("start", bundle.id)

    assert f"hook {kind}[0] `/bin/sh` ended with 3" in complaint
    ids = bundle.ok("list", "-q").split()
    assert not ids or eventually(lambda: bundle.status() == "stopped")


def test_a_failure_after_the_end_is_a_warning(bundle: Bundle, log: Path) -> None:
    bundle.config["hooks"] = {"poststop": [shell("exit 3"), shell(f": > {log}/second")]}
    bundle.script("exit 0")
    done = bundle.call(*bundle.made("run"))

    assert done.returncode == 0
    assert "warning: hook poststop[0] `/bin/sh` ended with 3" in done.stderr
    assert (log / "second").exists()  # config.md, "Poststop": the remaining ones run


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer"])
def test_a_hook_that_takes_too_long_is_killed_with_its_children(bundle: Bundle, kind: str) -> None:
    """Also one whose child keeps the streams open, for which runc waits for ever."""
    bundle.config["hooks"] = {kind: [shell("sleep 1000 & sleep 1000", timeout=1)]}
    bundle.config["hooks"][kind][0]["env"] = ["PATH=/bin:/usr/bin"]
    bundle.script("exit 0")

    assert f"hook {kind}[0] `/bin/sh` took longer than 1 seconds" in bundle.run_fails()


def test_a_hook_killed_by_a_signal(bundle: Bundle) -> None:
    bundle.config["hooks"] = {"createRuntime": [shell("kill -9 $$")]}

    assert "was killed by signal 9" in bundle.run_fails()


def test_a_hook_that_is_not_there(bundle: Bundle) -> None:
    bundle.config["hooks"] = {"createRuntime": [{"path": "/nowhere"}]}

    assert "hook createRuntime[0] `/nowhere`: No such file" in bundle.run_fails()


def test_a_hook_need_not_read(bundle: Bundle) -> None:
    bundle.config["annotations"] = {"big": "x" * 500_000}
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}]}

    assert bundle.run("echo ran") == "ran\n"


def test_hooks_of_the_runtime_see_the_namespaces_of_the_container(
    bundle: Bundle, log: Path
) -> None:
    """That is what they are for: to give it a network."""
    text = "/proc/$(sed -n 's/.*\"pid\": \\([0-9]*\\).*/\\1/p')/ns/net"
    bundle.config["hooks"] = {
        "createRuntime": [shell(f"readlink {text} > {log}/net", env=["PATH=/bin:/usr/bin"])]
    }
    inner = bundle.run("readlink /proc/self/ns/net")

    assert (log / "net").read_text() == inner
