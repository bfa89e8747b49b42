"""What `down`, `stop`, `start`, `restart`, `kill` and `rm` plan: pure, from labels alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.compose import plan, plan_end
from buildkit_py.compose.plan import Container, Need, Network, Observed, Plan, Volume


def container(service: str, number: int = 1, needs: tuple[Need, ...] = (), **fields: Any
              ) -> Container:  # fmt: skip
    fields = {
        "id": f"id-{service}-{number}", "name": f"app-{service}-{number}", "hash": "",
        "status": "running", "networks": ("app_default",), **fields,
    }  # fmt: skip
    return Container(service=service, number=number, needs=needs, **fields)


NETWORK = Network("app_default", "app")
SHOP = Observed(
    (
        container(
            "web", needs=(Need("db", plan.HEALTHY, restart=True), Need("job", plan.COMPLETED))
        ),
        container("job", needs=(Need("db"),), status="exited"),
        container("db"),
    ),
    (NETWORK, Network("other_default", "other")),
    (Volume("app_data", "app"), Volume("elsewhere")),
)  # fmt: skip


def keys(found: Plan) -> list[str]:
    return [action.key for action in found.actions]


def after(found: Plan) -> dict[str, set[str]]:
    return {action.key: set(action.after) for action in found.actions}


def check_order(found: Plan) -> None:
    seen: set[str] = set()
    for action in found.actions:
        assert set(action.after) <= seen
        seen.add(action.key)


def test_down_ends_dependants_first_and_leaves_nothing() -> None:
    found = plan_end.down("app", SHOP, services=["web", "job", "db"], volumes=["app_data"])

    check_order(found)
    waits = after(found)
    assert set(waits) == {
        "stop app-web-1", "remove app-web-1", "remove app-job-1", "stop app-db-1",
        "remove app-db-1", "remove-network app_default", "remove-volume app_data",
    }  # fmt: skip
    # Through the job, which does not run any more.
    assert waits["stop app-db-1"] == {"stop app-web-1"}
    removed = {"remove app-web-1", "remove app-job-1", "remove app-db-1"}
    assert waits["remove-network app_default"] == removed
    assert waits["remove-volume app_data"] == removed


def test_down_keeps_volumes_and_what_is_not_the_projects() -> None:
    found = plan_end.down("app", SHOP)

    assert "remove-network app_default" in keys(found)
    assert not [key for key in keys(found) if "volume" in key or "other" in key]


def test_down_leaves_orphans_and_the_network_that_they_are_in() -> None:
    found = plan_end.down("app", SHOP, services=["db", "job"])

    assert found.orphans == ("app-web-1",)
    assert "remove-network app_default" not in keys(found)
    assert found.warnings == ("the network `app_default` stays: `app-web-1` is in it",)
    everything = plan_end.down("app", SHOP, services=["db", "job"], remove_orphans=True)
    assert "remove app-web-1" in keys(everything)
    assert "remove-network app_default" in keys(everything)


def test_down_and_containers_of_run() -> None:
    oneoff = container("web", id="x", name="app-web-run-0123", oneoff=True, status="exited")
    observed = Observed((*SHOP.containers, oneoff), SHOP.networks)

    stays = plan_end.down("app", observed, services=["web", "job", "db"])
    goes = plan_end.down("app", observed, services=["web", "job", "db"], remove_orphans=True)

    assert stays.warnings == ("the network `app_default` stays: `app-web-run-0123` is in it",)
    assert "remove app-web-run-0123" in keys(goes)
    assert goes.warnings == ()


def test_down_of_a_service_takes_its_dependants_along() -> None:
    found = plan_end.down("app", SHOP, services=["web", "job", "db"], targets=["job"])

    assert {action.service for action in found.actions} == {"job", "web"}
    assert "remove-network app_default" not in keys(found)
    assert found.warnings == ()


def test_down_of_the_last_service_takes_its_network_along() -> None:
    found = plan_end.down("app", SHOP, services=["web", "job", "db"], targets=["db"])

    assert after(found)["remove-network app_default"] >= {"remove app-db-1"}
    assert "remove-volume app_data" not in keys(found)


def test_down_leaves_external_networks() -> None:
    found = plan_end.down("app", Observed((), (NETWORK,)), external=["app_default"])

    assert keys(found) == []


def test_stop_and_kill() -> None:
    stopped = plan_end.stop("app", SHOP)
    killed = plan_end.kill("app", SHOP, services=["db"])

    assert after(stopped) == {"stop app-web-1": set(), "stop app-db-1": {"stop app-web-1"}}
    assert after(plan_end.stop("app", SHOP, ["db"])) == {"stop app-db-1": set()}
    assert after(killed) == {"kill app-db-1": set()}
    assert set(keys(plan_end.kill("app", SHOP))) == {"kill app-web-1", "kill app-db-1"}


def test_start_waits_for_what_is_started_too() -> None:
    from buildkit_py.core.data import replace

    ended = Observed(tuple(replace(each, status="exited") for each in SHOP.containers))
    found = plan_end.start("app", ended)

    check_order(found)
    assert after(found) == {
        "start app-db-1": set(),
        "wait db service_healthy": {"start app-db-1"},
        "start app-job-1": {"start app-db-1"},
        "wait job service_completed_successfully": {"start app-job-1"},
        "start app-web-1": {
            "wait db service_healthy", "wait job service_completed_successfully",
        },
    }  # fmt: skip
    assert after(plan_end.start("app", ended, ["web"])) == after(found), "what it needs, too"
    assert keys(plan_end.start("app", ended, ["job"])) == ["start app-db-1", "start app-job-1"]
    assert keys(plan_end.start("app", SHOP, ["db"])) == []


def test_start_waits_for_what_runs_already() -> None:
    observed = Observed(
        (container("web", needs=(Need("db", plan.HEALTHY),), status="exited"), container("db"))
    )

    for targets in ([], ["web"]):
        assert after(plan_end.start("app", observed, targets)) == {
            "wait db service_healthy": set(),
            "start app-web-1": {"wait db service_healthy"},
        }


def test_orphans_are_left_unless_they_are_named() -> None:
    from buildkit_py.core.data import replace

    ended = Observed(tuple(replace(each, status="exited") for each in SHOP.containers))
    for choose, there in (
        (plan_end.stop, SHOP), (plan_end.kill, SHOP), (plan_end.restart, SHOP),
        (plan_end.start, ended), (plan_end.remove, ended),
    ):  # fmt: skip
        of_files = choose("app", there, services=["db", "job"])
        named = choose("app", there, ["web"], services=["db", "job"])
        everything = choose("app", there)

        assert "web" not in {action.service for action in of_files.actions}, choose
        assert "db" in {action.service for action in of_files.actions}, choose
        assert "web" in {action.service for action in everything.actions}, choose
        assert "web" in {action.service for action in named.actions}, choose


def test_restart_takes_along_what_restarts_with_it() -> None:
    found = plan_end.restart("app", SHOP, ["db"])
    alone = plan_end.restart("app", SHOP, ["db"], no_dependencies=True)

    check_order(found)
    waits = after(found)
    assert waits["stop app-db-1"] == {"stop app-web-1"}
    assert "stop app-db-1" in waits["start app-db-1"]
    assert {"stop app-web-1", "wait db service_healthy"} <= waits["start app-web-1"]
    assert {action.service for action in alone.actions} == {"db"}


def test_rm_removes_what_does_not_run_or_all() -> None:
    oneoffs = (
        container("web", id="x", name="app-web-run-0123", oneoff=True, status="exited"),
        container("web", id="y", name="app-web-run-4567", oneoff=True),
    )
    observed = Observed((*SHOP.containers, *oneoffs))

    assert keys(plan_end.remove("app", observed)) == ["remove app-job-1"]
    found = plan_end.remove("app", observed, stop_first=True)
    check_order(found)
    assert {action.id for action in found.actions} == {each.id for each in SHOP.containers}
    assert after(found)["remove app-db-1"] == {"stop app-db-1"}


def test_rm_removes_only_what_was_agreed_to() -> None:
    observed = Observed(
        (container("a", status="exited"), container("b", status="exited"), container("c"))
    )
    for stop_first in (False, True):
        found = plan_end.remove("app", observed, stop_first=stop_first, only={"id-a-1"})
        assert keys(found) == ["remove app-a-1"]
    assert keys(plan_end.remove("app", observed, only=())) == []


@given(st.dictionaries(st.sampled_from("abcde"), st.lists(st.sampled_from("abcde"), unique=True)))
def test_rings_in_old_labels_end_too(needs: dict[str, list[str]]) -> None:
    observed = Observed(
        tuple(container(name, needs=tuple(map(Need, rest))) for name, rest in needs.items())
    )
    for found in (
        plan_end.down("app", observed), plan_end.stop("app", observed),
        plan_end.restart("app", observed),
        plan_end.remove("app", observed, stop_first=True),
    ):  # fmt: skip
        check_order(found)
        assert len(found.of("stop")) == len(needs)
