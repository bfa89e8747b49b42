"""The typed model: every attribute the engine acts on, and nothing lost beside them."""

from __future__ import annotations

import dataclasses

import pytest

from buildkit_py.compose import model
from buildkit_py.compose.typed import typed
from tests.compose.conftest import FOLDER, loaded

TEXT = """\
x-note: mine
services:
  web:
    image: nginx
    build: {context: ./web, target: t, args: {A: 1, B: }, cache_from: [x]}
    command: nginx -g 'daemon off;'
    entrypoint: []
    environment: {A: 1, B: }
    ports: ['127.0.0.1:8080:80', '443']
    expose: [90]
    volumes: ['data:/d:ro', './c:/c', {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0o700}}]
    networks: {front: {aliases: [w], driver_opts: {a: 1}}, back: }
    depends_on: {db: {condition: service_healthy, restart: true}}
    healthcheck: {test: curl x, interval: 1m30s, retries: 3}
    restart: on-failure:3
    secrets: [{source: pw, target: short, mode: 0400, uid: '5'}]
    configs: [conf]
    mem_limit: 1g
    mem_reservation: 512m
    cpus: 0.5
    pids_limit: 100
    user: '1:2'
    init: false
    cap_add: [NET_ADMIN]
    extra_hosts: ['h:1.2.3.4']
    stop_grace_period: 1m
    deploy:
      replicas: 2
      placement: {constraints: [a]}
      resources: {limits: {cpus: '0.5', memory: 1024m, pids: 100}}
    ulimits: {nofile: 5}
    x-own: 1
  db: {image: b, network_mode: none, profiles: [p], scale: 3, healthcheck: {disable: true}}
networks:
  front: {internal: true, ipam: {driver: d, config: [{subnet: 10.0.0.0/24}]}, enable_ipv6: true}
  back: {external: true, name: real}
volumes: {data: {driver: local, driver_opts: {o: bind}, labels: {a: b}}}
secrets: {pw: {environment: PASSWORD}}
configs: {conf: {content: hello}}
"""


@pytest.fixture
def project() -> model.Project:
    from buildkit_py.compose.discover import Request

    environment = {"PASSWORD": "hush"}
    return typed(loaded(TEXT, environment=environment, request=Request(profiles=["p"])))


def test_a_service_is_typed(project: model.Project) -> None:
    web = project.services["web"]

    assert web.command == ("nginx", "-g", "daemon off;")
    assert (web.entrypoint, web.init, web.scale) == ((), False, 2)
    assert web.environment == {"A": "1", "B": None}
    assert web.ports == (
        model.Port(80, "8080", host_ip="127.0.0.1"),
        model.Port(443),
    )
    assert web.depends_on == {"db": model.Dependency("service_healthy", restart=True)}
    assert web.healthcheck == model.Healthcheck(
        ("CMD-SHELL", "curl x"), interval_ns=90 * 10**9, retries=3
    )
    assert web.limits == model.Limits(
        cpus=0.5, memory_bytes=1 << 30, memory_reservation_bytes=1 << 29, pids=100
    )
    assert web.stop_grace_period_ns == 60 * 10**9
    assert web.secrets == (model.Granted("pw", "/run/secrets/short", uid="5", mode=0o400),)
    assert web.configs == (model.Granted("conf", "/conf"),)
    assert (web.user, web.restart, web.cap_add) == ("1:2", "on-failure:3", ("NET_ADMIN",))
    assert web.extra_hosts == ("h=1.2.3.4",)


def test_parts_of_a_service_are_typed(project: model.Project) -> None:
    web = project.services["web"]

    assert web.build == model.Build(
        f"{FOLDER}/web", "Dockerfile", target="t", args={"A": "1"}, others={"cache_from": ["x"]}
    )
    assert web.mounts == (
        model.Mount("volume", "/d", "data", read_only=True),
        model.Mount("bind", "/c", f"{FOLDER}/c", create_host_path=True),
        model.Mount("tmpfs", "/t", options={"size": "1048576", "mode": 0o700}),
    )
    assert web.networks == {
        "back": model.Membership(),
        "front": model.Membership(aliases=("w",), others={"driver_opts": {"a": "1"}}),
    }


def test_what_has_no_attribute_is_kept(project: model.Project) -> None:
    assert project.others == {"x-note": "mine"}
    assert project.services["web"].others == {
        "deploy": {"placement": {"constraints": ["a"]}},
        "ulimits": {"nofile": 5},
        "x-own": 1,
    }
    assert project.services["db"].others == {}
    assert project.networks["front"].others == {"enable_ipv6": True, "ipam": {"driver": "d"}}


def test_resources_are_typed(project: model.Project) -> None:
    assert project.networks["front"].subnets == ({"subnet": "10.0.0.0/24"},)
    assert project.networks["front"].internal
    assert project.networks["back"] == model.Network("back", "real", external=True)
    assert project.volumes["data"] == model.Volume(
        "data", "app_data", "local", {"o": "bind"}, labels={"a": "b"}
    )
    assert project.secrets["pw"].content == "hush"
    assert project.configs["conf"].content == "hello"


def test_secrets_are_not_printed(project: model.Project) -> None:
    assert "hush" not in repr(project)


def test_places_are_known(project: model.Project) -> None:
    assert project.at("services", "web", "restart").place == "compose.yaml:15:5"
    assert project.at("services", "web", "nothing", "there").place == "compose.yaml:3:3"


def test_nothing_can_be_changed(project: model.Project) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        project.services["web"].image = "x"  # type: ignore[misc]
