"""Values that are read as something else than they are written, and those that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from buildkit_py.compose.discover import Request
from buildkit_py.compose.errors import CannotMerge, ComposeError, NoService
from buildkit_py.compose.load import Loading, Options
from buildkit_py.compose.project import prepare
from tests.compose.conftest import loaded, service, world


@pytest.mark.parametrize(
    ("yaml", "key", "value"),
    [
        ("attach: 'no'", "attach", False),
        ("init: 'true'", "init", True),
        ("oom_kill_disable: 'on'", "oom_kill_disable", True),
        ("cpu_count: '2'", "cpu_count", 2),
        ("cpu_quota: 1000.0", "cpu_quota", 1000),
        ("cpus: '1.5'", "cpus", 1.5),
        ("mem_limit: 10485760.0", "mem_limit", "10485760"),
        ("mem_limit: 0", "mem_limit", None),
        ("healthcheck: {retries: 2.0}", "healthcheck", {"retries": 2}),
        ("group_add: [5, a]", "group_add", ["5", "a"]),
        ("expose: ['80', 81]", "expose", ["80", "81"]),
        ("sysctls: {a: 1, b: true}", "sysctls", {"a": "1", "b": "true"}),
        ("storage_opt: {size: 1}", "storage_opt", {"size": "1"}),
        ("logging: {options: {a: }}", "logging", {"options": {"a": ""}}),
        ("ulimits: {nofile: 0}", "ulimits", {"nofile": 0}),
        ("extra_hosts: {a: [1.1.1.1, '[::1]'], b: }", "extra_hosts", None),
        ("extra_hosts: {a: [1.1.1.1, '[::1]']}", "extra_hosts", ["a=1.1.1.1", "a=::1"]),
        ("gpus: [{count: '2', device_ids: []}]", "gpus", None),
        ("gpus: [{count: '2'}]", "gpus", [{"count": 2}]),
        ("tmpfs: [/a, '/b:size=1m']", "tmpfs", ["/a", "/b:size=1m"]),
        ("build: {context: ., sbom: true, no_cache: 'y'}", "build", ...),
        ("provider: {type: t, options: {a: [x, 1], b: true}}", "provider", ...),
        ("label_file: []\nlabels: {a: }", "labels", {"a": ""}),
        ("stop_grace_period: 0s", "stop_grace_period", "0s"),
        ("deploy: {update_config: {delay: 0s, parallelism: '0'}}", "deploy", ...),
    ],
)
def test_values_are_read_as_their_kind(yaml: str, key: str, value: Any) -> None:
    if value is None and "mem_limit" not in yaml:
        with pytest.raises(ComposeError):
            service(yaml)
        return

    found = service(yaml).get(key)

    if value is ...:
        assert found == WHOLE[key]
    else:
        assert found == value


WHOLE: dict[str, Any] = {
    "build": {
        "context": "/projects/app",
        "dockerfile": "Dockerfile",
        "sbom": "true",
        "no_cache": True,
    },
    "provider": {"type": "t", "options": {"a": ["x", "1"], "b": ["true"]}},
    "deploy": {"update_config": {"parallelism": 0}, "resources": {}, "placement": {}},
}


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("attach: maybe", "`services.s.attach`: `maybe` is no boolean"),
        ("cpu_shares: x", "`services.s.cpu_shares`: `x` is no whole number"),
        ("cpus: ' 1'", "`services.s.cpus`: ` 1` is no number"),
        ("cpus: 1_0x", "`services.s.cpus`: `1_0x` is no number"),
        ("mem_limit: 1x", "`services.s.mem_limit`: `1x` is no size"),
        ("scale: 9223372036854775808", "`services.s.scale`"),
        ("stop_grace_period: 1y", "`services.s.stop_grace_period`: `1y` is no duration"),
        ("extra_hosts: [':1.1.1.1']", "`services.s.extra_hosts`: `` is no name of a host"),
        ("extra_hosts: [a]", "`services.s.extra_hosts`: `a` has no address"),
        ("gpus: [{count: x}]", "`services.s.gpus.0.count`: `x` is no whole number"),
        (
            "volumes: [{type: tmpfs, target: /t, tmpfs: {mode: '0755'}}]",
            "`services.s.volumes.0.tmpfs.mode`: `0755` is no whole number",
        ),
        ("secrets: [{source: x, mode: '9'}]", "`services.s.secrets.0.mode`: `9` is no octal mode"),
        ("secrets: [{source: x, mode: 1.5}]", "`services.s.secrets.0.mode`: `1.5` is no mode"),
        ("ports: [{target: 0}]", "`services.s.ports.0`: `0` is no port"),
        ("ports: [{published: 80}]", "`services.s.ports.0` needs the key `target`"),
        ("ports: [{target: 80, host_ip: x}]", "`services.s.ports.0`: `x` is no IP address"),
        ("gpus: [{count: 1, device_ids: [a]}]", "`services.s`: `count` and `device_ids` exclude"),
        ("develop: {watch: [{path: '', action: rebuild}]}", "`services.s.develop.watch.0.path`"),
        ("build: {context: ., ssh: [x]}", "`services.s.build.ssh`: `x` is neither `default` nor"),
        ("build: {context: ., additional_contexts: [x]}", "`services.s.build.additional_contexts`"),
        ("environment: ['A =1']", "`services.s.environment`: the variable `A ` ends with a blank"),
    ],
)
def test_values_that_cannot_be(yaml: str, message: str) -> None:
    with pytest.raises(ComposeError) as caught:
        service(yaml)

    assert caught.value.message.startswith(message)
    assert caught.value.at is not None


def test_a_name_that_differs_from_the_old_form() -> None:
    text = "services: {s: {image: b}}\nnetworks: {n: {name: a, external: {name: %s}}}"

    assert loaded(text % "a").name == "app"
    with pytest.raises(ComposeError, match=r"`name` and `external.name` differ"):
        loaded(text % "b")


@pytest.mark.parametrize(
    ("base", "over"),
    [
        ("environment: {A: 1}", "environment: 3"),
        ("build: {context: .}", "build: [x]"),
        ("logging: {driver: x}", "logging: x"),
        ("networks: [a]", "networks: a"),
        ("extra_hosts: [a=1]", "extra_hosts: 1"),
        ("deploy: {mode: x}", "deploy: x"),
        ("labels: {a: b}", "labels: {c: {d: e}}"),
        ("extra_hosts: {a: b}", "extra_hosts: {c: [[d]]}"),
    ],
)
def test_special_keys_need_one_kind_too(base: str, over: str) -> None:
    files = {
        "compose.yaml": f"services: {{s: {{image: b, {base}}}}}\nnetworks: {{a: }}",
        "compose.override.yaml": f"services: {{s: {{{over}}}}}",
    }

    with pytest.raises(CannotMerge):
        loaded(files)


@pytest.mark.parametrize(
    "key", ["environment", "build", "logging", "networks", "extra_hosts", "depends_on", "labels"]
)
def test_nothing_over_something_keeps_it(key: str) -> None:
    values = {
        "environment": "{A: 1}", "build": "{context: .}", "logging": "{driver: x}",
        "networks": "[a]", "extra_hosts": "[a=1.1.1.1]", "depends_on": "[t]", "labels": "{a: b}",
    }  # fmt: skip
    files = {
        "compose.yaml": (
            f"services: {{s: {{image: b, {key}: {values[key]}}}, t: {{image: b}}}}\n"
            "networks: {a: }"
        ),
        "compose.override.yaml": f"services: {{s: {{{key}: }}}}",
    }

    assert loaded(files).services["s"] == loaded(files["compose.yaml"]).services["s"]


def test_a_required_dependency_must_be_on_when_selected() -> None:
    text = "services: {a: {image: b, depends_on: [c]}, c: {image: b, profiles: [p]}}"
    loading = Loading(world({"compose.yaml": text}), Options())

    from buildkit_py.compose.load import load
    from buildkit_py.compose.project import bound, select

    project = bound(load(Request(), loading), loading)
    with pytest.raises(NoService, match="no such service: c") as caught:
        select(project, ["a"])

    assert caught.value.at is not None
    assert caught.value.at.text == "c"


def test_warnings_are_told_once_each() -> None:
    text = (
        "version: '3'\nservices:\n  s: {image: b, tty: 'yes', labels: [$A, $A]}\n"
        "networks: {n: {external: {name: x}}}\n"
    )
    loading = Loading(world({"compose.yaml": text}), Options())

    prepare(Request(), loading)

    assert loading.warnings == [
        "`yes` for a boolean is not supported by YAML 1.2, please use `true`",
        "the `A` variable is not set, defaulting to a blank string",
        "compose.yaml: the attribute `version` is obsolete, it will be ignored,"
        " please remove it to avoid potential confusion",
        "`networks.n`: `external.name` is deprecated, please set `name` and `external: true`",
    ]
