"""`pycompose up -d` and `down`: a project becomes what its files say, and nothing more."""

from __future__ import annotations

import os
import socket

import pytest

from tests.stories.compose import SHOP, STAYS, Composer, lasting, output, project, said, started
from tests.stories.conftest import Person
from tests.stories.residue import eventually, watching

pytestmark = [pytest.mark.kernel("overlay")]


def test_services_start_in_the_order_of_their_needs_and_stop_in_reverse(anyone: Person) -> None:
    with watching() as watch, project(anyone, lasting(SHOP)) as shop:
        shop("up", "-d")

        assert shop.states() == {"db-1": "running", "job-1": "exited", "web-1": "running"}
        assert output(shop, "job") == ["migrated"]
        times = [started(shop, name) for name in ("db-1", "job-1", "web-1")]
        assert times == sorted(times)

        done = shop("down", "-v")
        stops = [line.split()[1] for line in done.stderr.splitlines() if "Stopping" in line]
        assert stops == ["app-web-1", "app-db-1"]
        assert shop.containers() == {}
        watch.check()


def test_a_second_up_does_nothing(anyone: Person) -> None:
    with project(anyone, lasting(SHOP)) as shop:
        shop("up", "-d")
        before = shop.containers()

        again = shop("up", "-d")

        lines = sorted(again.stderr.splitlines())
        assert again.stdout == ""
        assert lines == [" Container app-db-1  Running", " Container app-web-1  Running"]
        assert sorted(shop("up", "-d").stderr.splitlines()) == lines
        assert shop("--progress", "quiet", "up", "-d").stderr == ""
        assert shop.plan() == []
        after = shop.containers()
        assert {n: row["ID"] for n, row in after.items()} == {
            n: row["ID"] for n, row in before.items()
        }
        assert started(shop, "web-1") == started(shop, "web-1")


CHANGING = """\
services:
  a:
    image: busybox
    command: [sh, -c, "echo %WORD%; STAYS"]
    volumes: ["/kept", "data:/data"]
  b: {image: busybox, command: [sh, -c, "STAYS"]}
volumes: {data: }
"""


def test_a_changed_service_is_made_anew_and_keeps_its_volumes(anyone: Person) -> None:
    with project(anyone, lasting(CHANGING, WORD="one")) as app:
        app("up", "-d")
        app.engine("exec", "app-a-1", "sh", "-c", "echo mine >/kept/x; echo ours >/data/y")
        before = app.containers()
        app.write(lasting(CHANGING, WORD="two"))

        because = {action["because"] for action in app.plan() if action["action"] == "create"}
        told = app("up", "-d").stderr

        assert because == {"the configuration of `a` has changed"}
        words = [line.split()[1:] for line in told.splitlines() if "app-a-1" in line]
        assert [word for _, word in words] == ["Recreate", "Recreated", "Starting", "Started"]
        after = app.containers()
        assert set(after) == set(before)
        assert after["app-a-1"]["ID"] != before["app-a-1"]["ID"]
        assert after["app-b-1"]["ID"] == before["app-b-1"]["ID"]
        assert said(app, "a", "two")
        found = app.engine("exec", "app-a-1", "cat", "/kept/x", "/data/y").stdout
        assert found == "mine\nours\n"
        volumes = app.engine("volume", "ls", "-q").stdout.split()
        app("down", "-v")
        left = app.engine("volume", "ls", "-q").stdout.split()
        assert len(volumes) - len(left) == 2, "one volume of each kind, and both are gone"


def test_a_successor_that_cannot_be_made_leaves_the_old_one_running(anyone: Person) -> None:
    with project(anyone, lasting(CHANGING, WORD="one")) as app:
        app("up", "-d")
        before = app.id("a-1")
        app.write(lasting(CHANGING, WORD="two").replace("image: busybox\n    c",
                  "image: busybox\n    user: nobody-at-all\n    c", 1))  # fmt: skip

        failed = app("up", "-d", code=None)

        assert failed.code != 0
        assert "nobody-at-all" in failed.stderr
        assert app.id("a-1") == before
        assert app.states() == {"a-1": "running", "b-1": "running"}


GRANTED = """\
services:
  a:
    image: busybox
    command: [sh, -c, "cat /run/secrets/pw /conf; STAYS"]
    secrets: [pw]
    configs: [conf]
secrets: {pw: {file: ./pw}}
configs: {conf: {content: "hello\\n"}}
"""


def test_a_changed_secret_makes_its_services_anew(anyone: Person) -> None:
    with project(anyone, lasting(GRANTED), {"pw": "hush\n"}) as app:
        app("up", "-d")
        assert said(app, "a", "hello")
        assert output(app, "a") == ["hush", "hello"]
        assert app.plan() == []

        app.write(lasting(GRANTED), {"pw": "changed\n"})
        reasons = {action["because"] for action in app.plan()}
        app("up", "-d")

        assert "the content of its secrets or configs has changed" in reasons
        assert said(app, "a", "changed")
        assert "hush" not in app.engine("inspect", "app-a-1").stdout


FAILING = """\
services:
  web:
    image: busybox
    command: [sh, -c, "STAYS"]
    depends_on: {job: {condition: service_completed_successfully, required: %REQUIRED%}}
  job: {image: busybox, command: [sh, -c, "echo no such table; exit 3"]}
"""


def test_a_failing_job_is_told_with_its_last_lines(anyone: Person) -> None:
    with project(anyone, lasting(FAILING, REQUIRED="true")) as app:
        failed = app("up", "-d", code=1)

        assert "app-job-1" in failed.stderr
        assert "exit 3" in failed.stderr
        assert "no such table" in failed.stderr
        assert app.states() == {"job-1": "exited", "web-1": "created"}


def test_a_failing_job_that_is_optional_is_told_and_no_more(anyone: Person) -> None:
    with project(anyone, lasting(FAILING, REQUIRED="false")) as app:
        done = app("up", "-d")

        told = done.stderr.splitlines()
        why = 'optional dependency "job" failed to start'
        assert f" Container app-job-1  Skipped: {why}" in told
        assert f"warning: {why}: service `job` didn't complete successfully: exit 3" in told
        assert "Error" not in done.stderr
        assert app.states() == {"job-1": "exited", "web-1": "running"}


UNHEALTHY = """\
services:
  web:
    image: busybox
    command: [sh, -c, "STAYS"]
    depends_on: {db: {condition: service_healthy}}
  db:
    image: busybox
    command: [sh, -c, "%PROGRAM%"]
    healthcheck: {test: "echo down; false", interval: 100ms, retries: 2}
"""


@pytest.mark.parametrize(
    ("program", "why"), [(STAYS, "is unhealthy"), ("sleep 0.1; exit 5", "exited (5)")]
)
def test_a_dependency_that_is_not_healthy_stops_up(anyone: Person, program: str, why: str) -> None:
    with project(anyone, UNHEALTHY.replace("%PROGRAM%", program).replace("STAYS", STAYS)) as app:
        failed = app("up", "-d", code=1)

        assert f"container app-db-1 {why}" in failed.stderr
        assert app.states()["web-1"] == "created"


def test_a_crash_is_repaired_by_the_restart_policy(anyone: Person) -> None:
    text = (
        "services:\n  a: {image: busybox, restart: always, command: [sh, -c, 'STAYS']}\n"
        "  b: {image: busybox, restart: on-failure:2, command: [sh, -c, 'echo try; exit 4']}\n"
    )
    with project(anyone, text.replace("STAYS", STAYS.replace("'", "''"))) as app:
        app("up", "-d")
        first = app.inspect("a-1")["State"]["Pid"]
        app.engine("exec", "app-a-1", "kill", "-9", "-1", code=None)

        app.person.run(["kill", "-9", str(first)], code=None)

        def is_back() -> bool:
            state = app.inspect("a-1")["State"]
            return bool(state["Status"] == "running" and state["Pid"] != first)

        assert eventually(is_back)
        assert app.inspect("a-1")["RestartCount"] == 1
        assert eventually(lambda: app.states()["b-1"] == "exited")
        assert output(app, "b") == ["try"] * 3
        assert app.containers()["app-b-1"]["ExitCode"] == 4


SCALED = """\
services:
  a: {image: busybox, command: [sh, -c, "STAYS"], deploy: {replicas: %N%}}
  ask: {image: busybox, command: [sh, -c, "STAYS"]}
"""


def test_services_scale_up_and_down(anyone: Person) -> None:
    with project(anyone, lasting(SCALED, N="2")) as app:
        app("up", "-d")
        assert set(app.states()) == {"a-1", "a-2", "ask-1"}
        first = app.id("a-1")

        app("up", "-d", "--scale", "a=3")
        assert set(app.states()) == {"a-1", "a-2", "a-3", "ask-1"}
        found = app.engine("exec", "app-ask-1", "nslookup", "-type=a", "a").stdout
        addresses = [line for line in found.splitlines() if line.startswith("Address")]
        assert len(addresses) == 4, "three, and the nameserver's"

        app.write(lasting(SCALED, N="1"))
        app("up", "-d")
        assert set(app.states()) == {"a-1", "ask-1"}
        assert app.id("a-1") == first

        app.write(lasting(SCALED, N="0"))
        app("up", "-d")
        assert set(app.states()) == {"ask-1"}


NEIGHBOUR = """\
services:
  web: {image: busybox, command: [sh, -c, "STAYS"]}
  %OTHER%: {image: busybox, command: [sh, -c, "STAYS"]}
"""


def test_two_projects_side_by_side_do_not_know_each_other(anyone: Person) -> None:
    one = project(anyone, lasting(NEIGHBOUR, OTHER="left"), name="one")
    two = project(anyone, lasting(NEIGHBOUR, OTHER="right"), name="two")
    with one as first, two as second:
        first("up", "-d")
        second("up", "-d")

        def finds(app: Composer, name: str) -> int:
            return app.engine("exec", f"{app.name}-web-1", "nslookup", name, code=None).code

        assert (finds(first, "left"), finds(second, "right")) == (0, 0)
        assert finds(first, "right") != 0
        assert finds(second, "left") != 0
        address = second.inspect("web-1")["NetworkSettings"]["Networks"]["two_default"]["IPAddress"]
        assert first.engine(
            "exec", "one-web-1", "nc", "-w", "1", "-z", address, "80", code=None
        ).code != 0  # fmt: skip

        first("down")
        assert second.states() == {"web-1": "running", "right-1": "running"}


def test_orphans_are_told_and_removed_when_asked(anyone: Person) -> None:
    with project(anyone, lasting(NEIGHBOUR, OTHER="old")) as app:
        app("up", "-d")
        app.write(lasting('services: {web: {image: busybox, command: [sh, -c, "STAYS"]}}\n'))

        told = app("up", "-d")
        assert "found orphan containers (app-old-1)" in told.stderr
        assert app.states() == {"web-1": "running", "old-1": "running"}

        app("up", "-d", "--remove-orphans")
        assert app.states() == {"web-1": "running"}


NETWORKS = """\
services:
  front: {image: busybox, command: [sh, -c, "STAYS"], networks: [outside]}
  middle:
    image: busybox
    command: [sh, -c, "STAYS"]
    networks: {outside: , inside: {aliases: [proxy]}}
  back: {image: busybox, command: [sh, -c, "STAYS"], networks: [inside]}
networks:
  outside:
  inside: {internal: true}
"""


def test_networks_keep_services_apart(anyone: Person) -> None:
    with project(anyone, lasting(NETWORKS)) as app:
        app("up", "-d")

        def sees(name: str, other: str) -> bool:
            return app.engine(
                "exec", f"app-{name}-1", "ping", "-c", "1", "-W", "1", other, code=None
            ).code == 0  # fmt: skip

        assert sees("front", "middle")
        assert sees("back", "middle")
        assert sees("back", "proxy")
        assert not sees("front", "back")
        assert not sees("front", "proxy"), "an alias is a name in its network only"
        routes = app.engine("exec", "app-back-1", "ip", "route").stdout
        assert "default" not in routes


VOLUME = """\
services:
  db: {image: busybox, command: [sh, -c, "STAYS"], volumes: ["data:/data", "./conf:/conf:ro"]}
volumes: {data: }
"""


def test_named_volumes_outlive_down_until_they_are_removed(anyone: Person) -> None:
    with project(anyone, lasting(VOLUME), {"conf/a": "b\n"}) as app:
        app("up", "-d")
        app.engine("exec", "app-db-1", "sh", "-c", "cat /conf/a >/data/x")
        assert app.engine("exec", "app-db-1", "touch", "/conf/no", code=None).code != 0
        app("down")
        app("up", "-d")
        assert app.engine("exec", "app-db-1", "cat", "/data/x").stdout == "b\n"

        app("down", "-v")
        app("up", "-d")
        assert app.engine("exec", "app-db-1", "ls", "/data").stdout == ""


BUILT = """\
services:
  a:
    build: {context: ., args: {WORD: %WORD%}, target: final}
    command: [sh, -c, "cat /word; STAYS"]
"""
DOCKERFILE = """\
FROM busybox AS final
ARG WORD
RUN echo $WORD >/word
FROM nothing-of-this-name
"""


def test_images_are_built_and_a_new_one_makes_the_service_anew(anyone: Person) -> None:
    files = {"Dockerfile": DOCKERFILE}
    with project(anyone, lasting(BUILT, WORD="one"), files) as app:
        app("up", "-d", timeout_seconds=300)
        assert said(app, "a", "one")
        first = app.id("a-1")
        app.write(lasting(BUILT, WORD="two"), files)

        app("up", "-d")
        assert app.id("a-1") == first, "without --build the image stays what it is"
        app("up", "-d", "--build", timeout_seconds=300)

        assert app.id("a-1") != first
        assert said(app, "a", "two")
        again = app("up", "-d", "--build")
        assert "Recreat" not in again.stderr
        assert "Creating" not in again.stderr


def test_a_published_port_is_reached_from_this_host(anyone: Person) -> None:
    text = (
        "services:\n  web:\n    image: busybox\n"
        "    command: [httpd, -f, -p, '80', -h, /www]\n    stop_signal: KILL\n"
        "    volumes: ['./www:/www']\n    ports: ['127.0.0.1::80']\n"
    )
    with project(anyone, text, {"www/index.html": "hello"}) as app:
        app("up", "-d")

        (published,) = app.inspect("web-1")["NetworkSettings"]["Ports"]["80/tcp"]

        def page() -> bytes:
            with socket.create_connection((published["HostIp"], int(published["HostPort"]))) as s:
                s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                data = b""
                while more := s.recv(4096):
                    data += more
            return data

        assert eventually(lambda: page().endswith(b"hello"))
        app("down")
        with pytest.raises(ConnectionRefusedError):
            page()


def test_force_and_no_recreate(anyone: Person) -> None:
    with project(anyone, lasting(CHANGING, WORD="one")) as app:
        app("up", "-d")
        before = app.id("a-1"), app.id("b-1")

        app("up", "-d", "--force-recreate", "b")
        assert app.id("a-1") == before[0]
        assert app.id("b-1") != before[1]

        app.write(lasting(CHANGING, WORD="two"))
        app("up", "-d", "--no-recreate")
        assert app.id("a-1") == before[0]


def test_a_service_restarts_with_what_it_depends_on(anyone: Person) -> None:
    text = """\
services:
  a: {image: busybox, command: [sh, -c, "echo %WORD%; STAYS"]}
  with:
    image: busybox
    command: [sh, -c, "STAYS"]
    depends_on: {a: {condition: service_started, restart: true}}
  without: {image: busybox, command: [sh, -c, "STAYS"], depends_on: [a]}
"""
    with project(anyone, lasting(text, WORD="one")) as app:
        app("up", "-d")
        before = {name: started(app, name) for name in ("a-1", "with-1", "without-1")}
        app.write(lasting(text, WORD="two"))

        app("up", "-d")

        after = {name: started(app, name) for name in before}
        assert {name for name in before if before[name] != after[name]} == {"a-1", "with-1"}
        assert after["with-1"] > after["a-1"]


def test_a_program_that_ignores_the_signal_is_killed_after_its_grace(anyone: Person) -> None:
    text = (
        "services:\n  deaf:\n    image: busybox\n    stop_grace_period: 200ms\n"
        '    command: [sh, -c, "trap : TERM; while :; do sleep 1000; done"]\n'
        "  kind:\n    image: busybox\n    stop_signal: USR1\n"
        "    command: [sh, -c, \"trap 'exit 7' USR1; while :; do sleep 1000 & wait; done\"]\n"
    )
    with project(anyone, text) as app:
        app("up", "-d")

        app("stop")

        codes = {name: row["ExitCode"] for name, row in app.containers().items()}
        assert codes == {"app-deaf-1": 137, "app-kind-1": 7}


PROCESS = """\
services:
  a:
    image: busybox
    init: true
    user: "1000:1001"
    working_dir: /work
    hostname: here
    environment: {PLAIN: "a b", EMPTY: "", FROM_HOST: }
    env_file: [./vars]
    extra_hosts: ["there:10.1.2.3"]
    read_only: true
    tmpfs: ["/tmp:size=1m"]
    cap_drop: [ALL]
    labels: {mine: "1"}
    group_add: ["77"]
    ulimits: {nofile: {soft: 100, hard: 200}}
    shm_size: 2m
    entrypoint: [sh, -c]
    command:
      - |
        id -u; id -g; id -G; pwd; hostname; echo "$$PLAIN/$$EMPTY/$$FROM_HOST/$$FROM_FILE"
        grep there /etc/hosts; touch /no 2>&1; touch /tmp/yes && echo yes
        grep CapBnd /proc/self/status; ulimit -Sn; ulimit -Hn
        cat /proc/1/comm; exit 9
"""


def test_what_is_said_of_a_process_holds_inside(anyone: Person) -> None:
    with project(anyone, PROCESS, {"vars": "FROM_FILE=f\n"}) as app:
        app.environment["FROM_HOST"] = "h"
        app("up", "-d")

        assert eventually(lambda: app.states()["a-1"] == "exited")
        lines = output(app, "a")
        assert lines[:2] == ["1000", "1001"]
        assert set(lines[2].split()) == {"1001", "77"}
        assert lines[3:6] == ["/work", "here", "a b//h/f"]
        assert lines[6].split() == ["10.1.2.3", "there"]
        assert "Read-only file system" in lines[7]
        assert lines[8] == "yes"
        assert lines[9].split() == ["CapBnd:", "0" * 16]
        assert lines[10:12] == ["100", "200"]
        assert lines[12] != "sh", "a reaper is the first process"
        assert app.containers()["app-a-1"]["ExitCode"] == 9
        assert app.inspect("a-1")["Config"]["Labels"]["mine"] == "1"


@pytest.mark.root
def test_limits_are_kept_and_what_exceeds_them_is_recorded(person: Person) -> None:
    text = """\
services:
  greedy:
    image: busybox
    mem_limit: 16m
    command: [sh, -c, "head -c 64m /dev/zero | tail >/dev/null; echo $$?; exit 5"]
  many:
    image: busybox
    pids_limit: 5
    command: [sh, -c, "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all; wait"]
  slow:
    image: busybox
    deploy: {resources: {limits: {cpus: "0.2", memory: 32m}}}
    command: [sh, -c, "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us; STAYS"]
"""
    with project(person, lasting(text)) as app:
        app("up", "-d")

        assert eventually(lambda: app.states()["greedy-1"] == "exited")
        assert app.inspect("greedy-1")["State"]["OOMKilled"]
        assert eventually(lambda: app.states()["many-1"] == "exited", seconds=30)
        assert "fork" in app("logs", "--no-log-prefix", "many").stderr
        host = app.inspect("slow-1")["HostConfig"]
        assert (host["NanoCpus"], host["Memory"]) == (200_000_000, 32 << 20)


def test_network_modes(anyone: Person) -> None:
    text = (
        "services:\n"
        "  alone: {image: busybox, network_mode: none, command: ip -o link}\n"
        "  host: {image: busybox, network_mode: host, command: [readlink, /proc/self/ns/net]}\n"
    )
    with project(anyone, text) as app:
        app("up", "-d", "--wait", code=None)

        assert eventually(lambda: set(app.states().values()) == {"exited"})
        links = output(app, "alone")
        assert len(links) == 1
        assert " lo: " in links[0]
        assert output(app, "host") == [os.readlink("/proc/self/ns/net")]


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (
            "services: {a: {image: busybox, networks: [n]}}\nnetworks:\n  n: {external: true}\n",
            "network `n` declared as external, but could not be found",
            3,
        ),
        (
            "services: {a: {image: busybox, volumes: ['v1:/v']}}\n"
            "volumes:\n  v1: {external: true}\n",
            "external volume `v1` not found",
            3,
        ),
        (
            "services:\n  a:\n    image: busybox\n    devices: ['/dev/fuse']\n",
            "`devices` is not carried out yet",
            4,
        ),
        (
            "services:\n  a:\n    image: busybox\n    secrets: [s]\nsecrets:\n  s: {file: ./no}\n",
            "cannot read",
            6,
        ),
        (
            "services:\n  a:\n    image: busybox\n    restart: often\n",
            "`often` is no restart policy",
            4,
        ),
        (
            "services:\n  a:\n    image: busybox\n    volumes:\n"
            "      - {type: bind, source: ./no, target: /t, bind: {create_host_path: false}}\n",
            "to mount",
            5,
        ),
    ],
)
def test_what_cannot_be_is_told_at_its_place_and_nothing_is_begun(
    anyone: Person, text: str, message: str, line: int
) -> None:
    with project(anyone, text) as app:
        failed = app("up", "-d", code=2)

        assert message in failed.stderr
        assert f"compose.yaml:{line}:" in failed.stderr
        assert app.containers() == {}
        assert "app_default" not in app.engine("network", "ls").stdout


def test_wait_says_what_did_not_come_up(anyone: Person) -> None:
    text = (
        "services:\n  good: {image: busybox, command: [sh, -c, 'STAYS'],"
        " healthcheck: {test: 'true', interval: 100ms}}\n"
        "  bad: {image: busybox, command: [sh, -c, 'echo cannot; exit 6']}\n"
    )
    with project(anyone, text.replace("STAYS", STAYS.replace("'", "''"))) as app:
        app("up", "-d", "--wait", "good")
        assert app.containers()["app-good-1"]["Health"] == "healthy"

        failed = app("up", "--wait", code=1)
        assert "app-bad-1" in failed.stderr


READY = """\
services:
  late:
    image: busybox
    command: [sh, -c, "STAYS"]
    healthcheck: {test: "test -e /ready", interval: 100ms, start_period: 60s}
    expose: ["53/udp", 8000-8001]
  soon:
    image: busybox
    command: [sh, -c, "STAYS"]
"""


def test_wait_tells_each_container_when_it_is_ready(anyone: Person) -> None:
    with project(anyone, lasting(READY)) as app, app.start("up", "-d", "--wait") as process:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line.decode().strip())
            if told[-1] == "Container app-soon-1  Healthy":
                break
        assert "Container app-late-1  Healthy" not in told
        app("exec", "late", "touch", "/ready")
        assert process.stderr.read().decode().strip() == "Container app-late-1  Healthy"
        assert process.wait(60) == 0

        row = app.containers()["app-late-1"]
        ports = {(each["TargetPort"], each["Protocol"]) for each in row["Publishers"]}
        assert ports == {(53, "udp"), (8000, "tcp"), (8001, "tcp")}
        assert process.stdout is not None
        assert process.stdout.read() == b""


def test_wait_has_an_end(anyone: Person) -> None:
    text = (
        "services:\n  never: {image: busybox, command: [sh, -c, 'STAYS'],"
        " healthcheck: {test: 'false', interval: 10s, start_period: 60s}}\n"
    )
    with project(anyone, text.replace("STAYS", STAYS.replace("'", "''"))) as app:
        failed = app("up", "--wait", "--wait-timeout", "1", code=1)

        assert "application not healthy after 1s" in failed.stderr


def test_one_file_may_be_two_projects(anyone: Person) -> None:
    with project(anyone, lasting(NEIGHBOUR, OTHER="b")) as app:
        app("-p", "first", "up", "-d")
        app("-p", "second", "up", "-d", "web")
        try:
            names = app.engine("ps", "--format", "{{.Names}}").stdout.split()
            ours = {name for name in names if name.startswith(("first-", "second-"))}
            assert ours == {"first-web-1", "first-b-1", "second-web-1"}
        finally:
            app("-p", "first", "down")
            app("-p", "second", "down")


def test_profiles_switch_services_on(anyone: Person) -> None:
    text = (
        'services:\n  a: {image: busybox, command: [sh, -c, "STAYS"]}\n'
        '  debug: {image: busybox, command: [sh, -c, "STAYS"], profiles: [dev]}\n'
    )
    with project(anyone, lasting(text)) as app:
        app("up", "-d")
        assert app.states() == {"a-1": "running"}

        app("--profile", "dev", "up", "-d")
        assert app.states() == {"a-1": "running", "debug-1": "running"}
        assert "orphan" not in app("up", "-d").stderr


def test_an_up_that_was_answered_from_memory_sees_every_change(anyone: Person) -> None:
    with project(anyone, lasting(CHANGING, WORD="one")) as app:
        for _ in range(3):
            app("up", "-d")
        assert list((app.person.root / "recall").glob("up-*"))
        first = app.id("a-1")

        app.engine("kill", "app-b-1")
        assert eventually(lambda: app.states()["b-1"] == "exited")
        assert "app-b-1  Started" in app("up", "-d").stderr
        app("up", "-d")
        app.engine("rm", "-f", "app-b-1")
        assert "app-b-1  Created" in app("up", "-d").stderr
        app("up", "-d")
        app.write(lasting(CHANGING, WORD="two"))
        app("up", "-d")
        assert app.id("a-1") != first
        app("up", "-d")
        app("down")
        assert "app-a-1  Started" in app("up", "-d").stderr


def test_a_start_that_fails_names_its_service(anyone: Person) -> None:
    text = (
        "services:\n  a: {image: busybox, command: [no-such-program]}\n"
        "  b:\n    image: busybox\n    user: nosuch\n"
    )
    with project(anyone, text) as app:
        missing = app("up", "-d", "a", code=1)
        unknown = app("up", "-d", "b", code=2)

        assert (
            "error[engine/cannot-start]: service `a`: `no-such-program`: executable file not found"
            " in $PATH\n" in missing.stderr
        )
        assert "error[runtime/unknown-account]: unable to find user nosuch" in unknown.stderr
        assert "compose.yaml:5:11\n" in unknown.stderr


def test_containers_know_the_image_they_are_made_of(anyone: Person) -> None:
    with project(anyone, "services: {a: {image: busybox, command: 'true'}}\n") as app:
        app("create")

        found = app.inspect("a-1")
        assert found["Config"]["Labels"]["com.docker.compose.image"] == found["Image"]
