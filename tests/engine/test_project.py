"""A project: several containers under one supervisor, in several networks."""

from __future__ import annotations

import pytest

from tests.engine.conftest import Library

SERVE = "while true; do echo hello from $HOSTNAME | nc -l -p 80; done"


def test_names_aliases_and_addresses_are_found_in_the_own_networks_only(library: Library) -> None:
    told = library("""
        project.ensure_network("shop_back")
        use = NetworkUse
        web = make("web", hostname="webhost")
        make("db", networks=(use("shop_back", ("db", "database")),))
        both = make("both", networks=(use("shop_default", ("both",)), use("shop_back", ("both",))))
        two = [make(f"worker{n}", networks=(use("shop_default", ("worker",)),)) for n in (1, 2)]
        def names(spec, *asked):
            found = {}
            for name in asked:
                code, text = ask(project, spec, "nslookup", "-type=a", name)
                found[name] = sorted(l.split()[1] for l in text.splitlines()[2:] if "Address" in l)
            return found
        where = {k.spec.name: {e.network: e.address for e in k.state.endpoints}
                 for k in engine.containers()}
        tell([where, names(web, "web", "WEBHOST", "shop-web-1", web.id[:12], "db", "worker",
                           "both", "both.shop_default"),
              names(both, "web", "database", "shop-db-1")])
    """)

    where, from_web, from_both = told
    web, worker = where["shop-web-1"]["shop_default"], [
        where[f"shop-worker{n}-1"]["shop_default"] for n in (1, 2)
    ]  # fmt: skip
    db = where["shop-db-1"]["shop_back"]
    assert from_web.pop("db") == []
    assert from_web.pop("worker") == sorted(worker)
    own = where["shop-both-1"]["shop_default"]
    assert from_web.pop("both") == from_web.pop("both.shop_default") == [own]
    assert set(map(tuple, from_web.values())) == {(web,)}
    assert from_both == {"web": [web], "database": [db], "shop-db-1": [db]}


def test_a_known_name_has_an_answer_for_every_type_and_addresses_have_names(
    library: Library,
) -> None:
    told = library("""
        web = make("web")
        other = make("other")
        (endpoint,) = engine.find("shop-other-1").state.endpoints
        unknown = endpoint.address.rpartition(".")[0] + ".250"
        def nslookup(*words):
            return ask(project, web, "nslookup", *words)[1]
        tell([nslookup("-type=aaaa", "other"), nslookup("-type=mx", "other"),
              nslookup(endpoint.address), nslookup(unknown)])
    """)

    six, mail, name, unknown = told
    assert "can't find" not in six + mail
    assert "Address" not in six.partition("answer:")[2]
    assert "shop-other-1.shop_default" in name
    assert "NXDOMAIN" in unknown


def test_names_follow_the_life_of_a_container(library: Library) -> None:
    told = library("""
        web, other = make("web"), make("other")
        def found(name):
            return "Name:" in ask(project, web, "nslookup", "-type=a", name)[1]
        before = found("other")
        project.stop(other.id, seconds=0)
        stopped = found("other")
        project.start(other.id)
        tell([before, stopped, found("other")])
    """)

    assert told == [True, False, True]


def test_networks_are_apart_and_internal_ones_have_no_way_out(library: Library) -> None:
    told = library(f"""
        project.ensure_network("shop_back")
        project.ensure_network("shop_closed", internal=True)
        serve = {SERVE!r}
        web = make("web")
        back = make("back", "sh", "-c", serve, networks=(NetworkUse("shop_back"),))
        closed = make("closed", "sh", "-c", serve, networks=(NetworkUse("shop_closed"),))
        inner = make("inner", networks=(NetworkUse("shop_closed"),))
        both = make("both", networks=(NetworkUse("shop_default"), NetworkUse("shop_closed")))
        def at(name):
            (endpoint,) = engine.find(f"shop-{{name}}-1").state.endpoints
            return endpoint
        def reaches(spec, address):
            for _ in range(50):
                code, text = ask(project, spec, "sh", "-c", f"nc -w 1 {{address}} 80 </dev/null")
                if "refused" not in text:  # it may not listen yet
                    break
                time.sleep(0.1)
            return "hello from" in text
        routes = ask(project, inner, "ip", "route")[1]
        tell({{
            "same network": reaches(inner, at("closed").address),
            "both": reaches(both, at("closed").address),
            "other network": reaches(web, at("back").address),
            "into internal": reaches(web, at("closed").address),
            "out of internal": reaches(inner, at("back").address),
            "ping": ask(project, web, "ping", "-c1", "-W1", at("back").address)[0],
            "ping gateway": ask(project, web, "ping", "-c1", "-W1", at("web").gateway)[0],
            "ping foreign gateway": ask(project, web, "ping", "-c1", "-W1", at("back").gateway)[0],
            "default route": "default" in routes,
            "asks others": "SERVFAIL" in ask(project, inner, "nslookup", "example.org")[1],
        }})
    """)

    assert told == {
        "same network": True,
        "both": True,
        "other network": False,
        "into internal": False,
        "out of internal": False,
        "ping": 1,
        "ping gateway": 0,
        "ping foreign gateway": 1,
        "default route": False,
        "asks others": True,
    }


@pytest.mark.network
def test_the_world_is_reached_by_name(library: Library) -> None:
    told = library("""
        web = make("web")
        tell(ask(project, web, "wget", "-q", "-O", "/dev/null",
                 "http://deb.debian.org/debian/dists/bookworm/Release"))
    """)

    assert told == [0, ""]


def test_a_published_port_leads_to_its_container_through_restarts(library: Library) -> None:
    told = library(f"""
        def says(number):
            for _ in range(100):
                try:
                    with socket.create_connection(("127.0.0.1", number), timeout=5) as connection:
                        if data := connection.recv(100):
                            return data.decode()
                except ConnectionError:
                    pass
                time.sleep(0.05)
        specs = [make(name, "sh", "-c", {SERVE!r}, hostname=name, ports=parse("127.0.0.1:0:80"))
                 for name in ("one", "two")]
        def port(spec):
            return engine.find(spec.id).state.ports[0].host_port
        before = [says(port(spec)) for spec in specs]
        project.restart(specs[0].id, seconds=0)
        after = [says(port(spec)) for spec in specs]
        gone = port(specs[1])
        project.stop(specs[1].id, seconds=0)
        try:
            socket.create_connection(("127.0.0.1", gone), timeout=5)
        except ConnectionRefusedError:
            tell([before, after])
    """)

    assert told == [["hello from one\n", "hello from two\n"]] * 2


def test_a_crashing_container_keeps_its_address_and_its_port(library: Library) -> None:
    told = library("""
        spec = make("crash", "sh", "-c", "sleep 0.1; exit 1", ports=parse("127.0.0.1:0:80"),
                    restart=RestartPolicy("on-failure", 3))
        seen = set()
        while (known := engine.find(spec.id)).running:
            seen.add((known.state.endpoints, known.state.ports))
            time.sleep(0.02)
        tell([len(seen), known.state.restarts, known.state.status, known.state.exit_code])
    """)

    assert told == [1, 3, "exited", 1]


def test_twenty_start_at_once_and_stop_at_once(library: Library) -> None:
    told = library("""
        with ThreadPoolExecutor(8) as pool:
            specs = list(pool.map(lambda n: make(f"n{n}"), range(20)))
            addresses = {e.address for k in engine.containers() for e in k.state.endpoints}
            running = sum(known.running for known in engine.containers())
            codes = list(pool.map(lambda s: project.stop(s.id, seconds=0), specs))
            list(pool.map(lambda s: project.remove(s.id), specs))
        tell([len(addresses), running, codes, len(engine.containers())])
    """)

    assert told == [20, 20, [137] * 20, 0]


def test_waiting_is_told_and_a_restart_is_no_end(library: Library) -> None:
    told = library("""
        job = make("job", "sh", "-c", "sleep 0.3; exit 5")
        again = make("again", "sh", "-c", "exit 6", restart=RestartPolicy("on-failure", 2))
        with ThreadPoolExecutor(3) as pool:
            both = pool.map(lambda spec: project.wait(spec.id), (job, again))
            tell([*both, project.wait(job.id), engine.find(again.id).state.restarts])
    """)

    assert told == [5, 6, 5, 2]


def test_events_are_told_as_they_come_and_are_kept(library: Library) -> None:
    told = library("""
        from buildkit_py.engine import events
        first = make("first")
        connection = project.events()
        assert connection.receive()[0] == {"watching": True}
        job = make("job", "sh", "-c", "exit 5")
        seen = []
        while "die" not in seen:
            seen.append(connection.receive()[0]["event"]["event"])
        connection.close()
        kept = [(each["event"], each["name"]) for each in events.read(place[0], "shop")]
        tell([seen, kept[-3:]])
    """)

    seen, kept = told
    assert seen == ["start", "die"]
    assert kept == [["start", "shop-first-1"], ["start", "shop-job-1"], ["die", "shop-job-1"]]


def test_events_go_with_the_last_container_of_their_project(library: Library) -> None:
    told = library("""
        from buildkit_py.engine import events
        first, second = make("first", "true"), make("second", "true")
        [project.wait(each.id) for each in (first, second)]
        project.remove(first.id)
        kept = [each["event"] for each in events.read(place[0], "shop")]
        project.remove(second.id)
        after = os.listdir(os.path.join(place[0], "events"))
        brief = project.create(request("brief", "true", auto_remove=True))
        connection = project.watch()
        assert connection.receive()[0] == {"watching": True}
        project.start(brief.id)
        seen = []
        while "destroy" not in seen:
            seen.append(connection.receive()[0]["event"]["event"])
        connection.close()
        with project.watch() as again:
            again.receive()  # who answers is done with what it told
        tell([sorted(kept), after, seen, os.listdir(os.path.join(place[0], "events"))])
    """)

    assert told == [["die", "die", "start", "start"], [], ["start", "die", "destroy"], []]


def test_everything_a_service_asks_for_arrives(library: Library) -> None:
    told = library("""
        spec = make(
            "all", "sh", "-c", "sleep 600",
            env=("A=1",), workdir="/work", user="1000:1000", groups=("2000",), hostname="named",
            hosts=(("other", "192.0.2.7"),), read_only=True, init=True,
            tmpfs=(Tmpfs("/scratch"),), cap_drop=("ALL",), cap_add=("CHOWN",),
            files=(FileRequest("/run/secrets/key", "hush", 0o400, 1000, 1000),),
            limits=Limits(pids=64), rlimits={"nofile": (64, 64)},
            sysctls={"net.core.somaxconn": "99"},
        )
        def sh(script):
            return ask(project, spec, "sh", "-c", script)[1].split()
        tell([
            sh("echo $A $HOSTNAME; pwd; id -u; id -G; hostname; grep other /etc/hosts"),
            sh("touch /x 2>&1 | grep -c Read-only; touch /scratch/x && echo yes"),
            sh("cat /run/secrets/key; echo; ls -ln /run/secrets/key | cut -c1-10"),
            sh("grep CapBnd /proc/self/status; ulimit -n; cat /proc/sys/net/core/somaxconn"),
            sh("cat /proc/1/comm /proc/2/comm"),
        ])
    """)

    first, files, secret, rights, processes = told
    assert first == ["1", "named", "/work", "1000", "1000", "2000", "named", "192.0.2.7", "other"]
    assert files == ["1", "yes"]
    assert secret == ["hush", "-r--------"]
    assert rights == ["CapBnd:", "0000000000000001", "64", "99"]
    assert processes[1] == "sleep"


def test_files_arrive_byte_for_byte(library: Library) -> None:
    told = library("""
        raw = bytes(range(256)) + b"\\r\\n\\n"
        escaped = raw.decode("utf-8", "surrogateescape")
        spec = make("files", files=(FileRequest("/raw", raw), FileRequest("/escaped", escaped)))
        import hashlib
        wanted = hashlib.sha256(raw).hexdigest()
        sums = ask(project, spec, "sha256sum", "/raw", "/escaped")[1].split()[::2]
        tell([sums == [wanted] * 2, sums])
    """)

    assert told[0], told[1]


def test_modes_without_networks(library: Library) -> None:
    told = library("""
        alone = make("alone", network_mode="none", networks=())
        on_host = make("host", network_mode="host", networks=())
        tell([
            ask(project, alone, "ip", "-o", "link")[1].count("\\n"),
            os.readlink("/proc/self/ns/net") ==
                os.readlink(f"/proc/{engine.find(on_host.id).state.pid}/ns/net"),
        ])
    """)

    assert told == [1, True]


def test_a_network_of_another_owner_is_refused_by_name(library: Library) -> None:
    told = library("""
        engine.project("other").ensure_network("other_default")
        try:
            make("web", networks=(NetworkUse("other_default"),))
        except BuildkitError as error:
            tell([error.code, error.message])
    """)

    assert told[0] == "engine/foreign-network"
    assert "`other_default` belongs to `other`" in told[1]


def test_fixed_subnets_and_addresses(library: Library) -> None:
    told = library("""
        project.ensure_network("shop_fixed", subnet="10.199.3.0/24", gateway="10.199.3.99")
        use = NetworkUse
        one = make("one", networks=(use("shop_fixed", address="10.199.3.7"),))
        try:
            make("two", networks=(use("shop_fixed", address="10.199.3.7"),))
        except BuildkitError as error:
            (endpoint,) = engine.find(one.id).state.endpoints
            tell([endpoint.address, endpoint.gateway, error.code])
    """)

    assert told == ["10.199.3.7", "10.199.3.99", "network/address-taken"]


def test_waiting_for_health_is_by_events_and_ends_with_the_supervisor(library: Library) -> None:
    told = library("""
        from buildkit_py.oci.image import Healthcheck
        check = Healthcheck(("CMD", "test", "-e", "/ok"), interval=50_000_000, retries=1000)
        spec = make("web", "sh", "-c", "sleep 0.4; touch /ok; sleep 600", healthcheck=check)
        def healthy():
            state = engine.find(spec.id).state
            return state.health is not None and state.health.status == "healthy"
        soon = project.until(healthy, seconds=0.05)
        later = project.until(healthy, seconds=20)
        threading.Timer(0.3, lambda: project.stop(spec.id, seconds=0)).start()
        ended = project.until(lambda: not engine.find(spec.id).running, seconds=20)
        tell([soon, later, ended])
    """)

    assert told == [False, True, True]


def test_the_processes_of_a_container_are_known(library: Library) -> None:
    told = library("""
        spec = make("web", "sh", "-c", "sleep 601 & sleep 602")
        rows = []
        while sorted(row["args"] for row in rows) != ["sleep 601", "sleep 602"]:
            rows = project.processes(spec.id)
            time.sleep(0.02)
        tell([rows[1]["ppid"] == rows[0]["pid"] == engine.find(spec.id).state.pid, rows[0]["uid"]])
    """)

    assert told == [True, 0]


def test_a_container_is_run_with_streams_of_ours(library: Library) -> None:
    told = library("""
        from buildkit_py.engine.attached import run
        make("db")
        spec = project.create(request("job", "sh", "-c", "ping -c1 -W2 db >/dev/null; cat; exit 3"))
        read, write = os.pipe()
        os.write(write, b"from outside\\n"), os.close(write)
        saved = os.dup(0), os.dup(1)
        out_read, out_write = os.pipe()
        os.dup2(read, 0), os.dup2(out_write, 1)
        end = run(project, spec.id, interactive=True)
        os.dup2(saved[0], 0), os.dup2(saved[1], 1), os.close(out_write)
        missing = project.create(request("missing", "nothing"))
        try:
            run(project, missing.id)
        except CannotStart as error:
            tell([end.code, os.read(out_read, 100).decode(), error.code_of_program,
                  len(list(engine.logs(engine.find(spec.id))))])
    """)

    assert told == [3, "from outside\n", 127, 0]


def test_an_idle_project_sleeps_and_is_small(library: Library) -> None:
    told = library("""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: make(f"n{n}", ports=parse("127.0.0.1:0:80")), range(10)))
        with project.engine.project("shop")._connect_or_start() as connection:
            supervisor = connection.ask("hold")["pid"]
        def read(pid, file, word):
            with open(f"/proc/{pid}/{file}") as lines:
                return sum(int(line.split()[1]) for line in lines if line.startswith(word))
        def children(pid):
            with open(f"/proc/{pid}/task/{pid}/children") as file:
                return [int(each) for each in file.read().split()]
        def is_python(pid):
            return b"python" in open(f"/proc/{pid}/cmdline", "rb").read()
        (zygote,) = children(supervisor)
        ours = [supervisor, zygote, *(pid for pid in children(zygote) if is_python(pid))]
        switches = lambda: [read(pid, "status", "voluntary_ctxt_switches") for pid in ours]
        time.sleep(0.5)
        before = switches()
        time.sleep(1.5)
        tell([len(ours), before == switches(),
              sum(read(pid, "smaps_rollup", "Pss:") for pid in ours)])
    """)

    count, slept, kibibytes = told
    assert count == 3  # with the proxy of published ports
    assert slept
    assert kibibytes < 60 << 10


def test_a_network_goes_and_comes_while_its_project_runs(library: Library) -> None:
    told = library("""
        make("stays")
        seen = []
        for number in range(3):
            project.ensure_network("shop_extra")
            spec = make(f"x{number}", networks=(NetworkUse("shop_extra"),))
            seen.append(ask(project, spec, "ping", "-c1", "-W1", f"shop-x{number}-1")[0])
            project.remove(spec.id, force=True)
            engine.remove_network("shop_extra")
        tell([seen, engine.find("shop-stays-1").state.status])
    """)

    assert told == [[0, 0, 0], "running"]


def test_volumes_without_a_name_go_on_in_the_next_container_and_then_away(
    library: Library,
) -> None:
    told = library("""
        from buildkit_py.engine.mounts import VolumeRequest
        first = make("db", "sh", "-c", "echo kept >/data/file",
                     volumes=(VolumeRequest("anonymous", "", "/data"),))
        project.wait(first.id)
        project.remove(first.id)
        (name,) = first.anonymous
        second = make("db", "cat", "/data/file", volumes=(VolumeRequest("volume", name, "/data"),))
        project.wait(second.id)
        text = [line.text for line in engine.logs(engine.find(second.id))]
        project.remove(second.id, volumes=True)
        tell([text, second.anonymous == first.anonymous, second.volumes, len(engine.volumes())])
    """)

    assert told == [["kept\n"], True, [], 0]


def test_many_containers_need_no_higher_limit(library: Library) -> None:
    told = library("""
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))
        with ThreadPoolExecutor(8) as pool:
            specs = list(pool.map(lambda n: make(f"n{n}"), range(60)))
            limit = ask(project, specs[-1], "sh", "-c", "ulimit -n")[1]
            running = sum(known.running for known in engine.containers())
            list(pool.map(lambda spec: project.remove(spec.id, force=True), specs))
        tell([running, limit, len(engine.containers())])
    """)

    assert told == [60, "256\n", 0]


def test_whom_an_end_wakes_reads_that_it_ended(library: Library) -> None:
    """A job of a moment, many times: the state is there before the event is told."""
    told = library("""
        ends = []
        for number in range(25):
            job = make(f"job{number}", "true")
            ended = project.until(lambda: not engine.find(job.id).running, seconds=20)
            ends.append(ended and engine.find(job.id).state.exit_code == 0)
        tell(ends)
    """)

    assert told == [True] * 25
