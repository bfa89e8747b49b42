"""What must not end a supervisor, for all of its containers would end with it."""

from __future__ import annotations

import pytest

from tests.engine.conftest import Library


def test_a_state_that_cannot_be_written_ends_nothing_and_is_written_later(
    library: Library,
) -> None:
    told = library("""
        from buildkit_py.oci.image import Healthcheck
        check = Healthcheck(("CMD", "true"), interval=50_000_000)
        spec, other = make("web", healthcheck=check), make("other")
        folder = os.path.join(engine.root, "containers", spec.id)
        project.stop(other.id, seconds=0)
        os.rename(folder, folder + ".away")
        # As on a full disk: whatever is written there fails, such as how a probe ended.
        from buildkit_py.engine.events import read
        until = time.monotonic() + 10
        while not any("cannot be written" in e.get("text", "") for e in read(engine.root, "shop")):
            assert time.monotonic() < until
            time.sleep(0.02)
        os.rename(folder + ".away", folder)
        project.start(other.id)
        until = time.monotonic() + 10
        while (state := engine.find(spec.id).state).health.status != "healthy":
            assert time.monotonic() < until, state
            time.sleep(0.05)
        tell([state.status, engine.find(other.id).state.status])
    """)

    assert told == ["running", "running"]


def test_a_start_whose_state_cannot_be_written_is_refused(library: Library) -> None:
    told = library("""
        spec, other = project.create(request("web")), make("other")
        import resource
        from buildkit_py.engine.connection import connect
        with connect(engine.root, engine.run_dir, "shop") as connection:
            pid = connection.ask("hold")["pid"]
        # Nothing that it writes to a file succeeds, as on a full disk.
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        try:
            project.start(spec.id)
        except BuildkitError as error:
            failed = error.code
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        project.start(spec.id)
        tell([failed, engine.find(spec.id).state.status, engine.find(other.id).state.status])
    """)

    assert told == ["engine/start", "running", "running"]


@pytest.mark.parametrize("kilobytes", [140, 180, 300])
def test_a_request_that_is_too_large_is_refused_and_ends_nothing(
    library: Library, kilobytes: int
) -> None:
    told = library(f"""
        spec = make("web")
        words = ["true", *(["a" * 10_000] * {kilobytes // 10})]
        try:
            ask(project, spec, *words)
        except BuildkitError as error:
            tell([error.code, ask(project, spec, "echo", "still there")])
    """)

    assert told == ["engine/request-too-large", [0, "still there\n"]]


def test_what_is_no_request_ends_nothing(library: Library) -> None:
    told = library("""
        from buildkit_py.engine.connection import connect
        spec = make("web")
        codes = []
        for data in (b"{", b"[]", b"\\xff", b'{"do": ["x"]}'):
            with connect(engine.root, engine.run_dir, "shop") as connection:
                connection._socket.send(data)
                try:
                    connection.receive()
                except BuildkitError as error:
                    codes.append(error.code)
        tell([codes, ask(project, spec, "echo", "still there")])
    """)

    assert told == [["bug"] * 4, [0, "still there\n"]]


def test_processes_with_endless_command_lines_are_told(library: Library) -> None:
    told = library("""
        script = "for n in 1 2 3 4 5 6 7 8; do sh -c 'sleep 601; :' $0 & done; wait"
        spec = make("web", "sh", "-c", script, "a" * 60_000)
        rows = []
        while sum(row["args"].startswith("sh -c sleep 601; : aaa") for row in rows) != 8:
            rows = project.processes(spec.id)
            time.sleep(0.02)
        tell(max(len(row["args"]) for row in rows))
    """)

    assert told == 4096


def test_starts_of_one_container_at_the_same_time_are_one_start(library: Library) -> None:
    told = library("""
        from buildkit_py.engine.connection import connect
        make("other")
        spec = project.create(request("web"))
        connections = [connect(engine.root, engine.run_dir, "shop") for _ in range(3)]
        for each in connections:
            each.send("start", id=spec.id)
        answers = [each.receive()[0] for each in connections]
        tell([answers, ask(project, spec, "echo", "there"), len(project.processes(spec.id))])
    """)

    assert told == [[{"done": True}] * 3, [0, "there\n"], 1]
