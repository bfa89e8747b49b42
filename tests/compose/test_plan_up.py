"""What `up` plans: pure, from files and from what there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.compose import carried, model, plan
from buildkit_py.compose.changes import own_labels
from buildkit_py.compose.plan import CannotPlan, Container, Need, Network, Observed, Plan, Volume
from buildkit_py.compose.plan_up import Wanted, for_run, up
from buildkit_py.compose.request import image_of
from buildkit_py.compose.typed import typed
from buildkit_py.core.data import replace
from tests.compose.conftest import loaded

IMAGE = "sha256:image"


def project(text: str) -> model.Project:
    return typed(loaded(f"name: app\n{text}"))


def wanted(made: model.Project, **fields: Any) -> Wanted:
    return Wanted({name: f"hash of {name}" for name in made.services}, **fields)


def planned(made: model.Project, observed: Observed, **fields: Any) -> Plan:
    """Plan with the images of all services there."""
    images = dict.fromkeys(made.services, IMAGE) | dict(observed.images)
    return up(made, replace(observed, images=images), wanted(made, **fields))


def container(service: str, number: int = 1, **fields: Any) -> Container:
    fields = {
        "id": f"id-{service}-{number}", "name": f"app-{service}-{number}", "status": "running",
        "hash": f"hash of {service}", "image_id": IMAGE, "networks": ("app_default",), **fields,
    }  # fmt: skip
    return Container(service=service, number=number, **fields)


DEFAULT = Network("app_default", "app")


def there(*containers: Container, **fields: Any) -> Observed:
    fields.setdefault("networks", (DEFAULT,))
    return Observed(containers, **fields)


def keys(found: Plan) -> list[str]:
    return [action.key for action in found.actions]


def reasons(found: Plan) -> dict[str, str]:
    return {action.key: action.because for action in found.actions}


def check_order(found: Plan) -> None:
    """Each action comes behind all that it is after, and those are of the plan."""
    seen: set[str] = set()
    for action in found.actions:
        assert set(action.after) <= seen, f"{action.key} comes before {action.after}"
        assert action.key not in seen
        assert action.because
        seen.add(action.key)


SHOP = project(
    "services:\n  web: {image: b, depends_on: {db: {condition: service_healthy},"
    " job: {condition: service_completed_successfully}}, volumes: ['data:/d']}\n"
    "  db: {image: b}\n  job: {image: b, depends_on: [db]}\nvolumes: {data: }\n"
)
TWO = project("services: {a: {image: b}, b: {image: b, depends_on: [a]}}\n")


def test_everything_is_made_in_the_order_of_needs() -> None:
    found = planned(SHOP, Observed())

    check_order(found)
    assert set(keys(found)) == {
        "create-network app_default", "create-volume app_data",
        "create app-db-1", "start app-db-1", "create app-job-1", "start app-job-1",
        "create app-web-1", "start app-web-1",
        "wait db service_healthy", "wait job service_completed_successfully",
    }  # fmt: skip
    after = {action.key: set(action.after) for action in found.actions}
    assert after["create app-web-1"] == {"create-network app_default", "create-volume app_data"}
    assert after["start app-job-1"] == {"create app-job-1", "start app-db-1"}
    assert after["wait db service_healthy"] == {"start app-db-1"}
    assert {"wait db service_healthy", "wait job service_completed_successfully"} <= after[
        "start app-web-1"
    ]


def test_nothing_is_done_twice() -> None:
    observed = there(
        container("web"), container("db"), container("job", status="exited"),
        volumes=(Volume("app_data", "app"),),
    )  # fmt: skip

    assert planned(SHOP, observed) == Plan("app")


@pytest.mark.parametrize(
    ("change", "fields", "why"),
    [
        ({"hash": "other"}, {}, "the configuration of `a` has changed"),
        ({"image_id": "sha256:old"}, {}, "its image has changed"),
        (
            {"files": "label"}, {"same_files": lambda service, label: label != "label"},
            "the content of its secrets or configs has changed",
        ),
        ({}, {"force_recreate": True}, "it is asked for by `--force-recreate`"),
    ],
)  # fmt: skip
def test_a_container_is_made_anew_by_its_successor(
    change: Mapping[str, Any], fields: Mapping[str, Any], why: str
) -> None:
    made = project("services: {a: {image: b}}\n")
    found = planned(made, there(container("a", **change)), **fields)

    check_order(found)
    assert keys(found) == [
        "create id-a-1_app-a-1", "stop app-a-1", "remove app-a-1", "rename id-a-1_app-a-1",
        "start app-a-1",
    ]  # fmt: skip
    assert {because.partition(": it becomes")[0] for because in reasons(found).values()} == {why}
    assert found.actions[0].replaces == "id-a-1"


def test_no_recreate_leaves_what_differs() -> None:
    observed = there(container("a", hash="other"), container("b"))

    assert keys(planned(TWO, observed, no_recreate=True)) == []


def test_force_recreate_is_for_the_services_that_are_named() -> None:
    observed = there(container("a"), container("b"))
    only = planned(TWO, observed, force_recreate=True, targets=frozenset({"b"}))
    both = planned(
        TWO, observed, force_recreate=True, recreate_dependencies=True, targets=frozenset({"b"})
    )

    assert {action.service for action in only.actions} == {"b"}
    assert {action.service for action in both.actions} == {"a", "b"}


def test_a_dependency_that_changed_is_made_anew_unless_it_is_to_be_left() -> None:
    observed = there(container("a", hash="other"), container("b"))
    targets = frozenset({"b"})

    assert "start app-a-1" in keys(planned(TWO, observed, targets=targets))
    assert keys(planned(TWO, observed, targets=targets, no_dependencies=True)) == []


@pytest.mark.parametrize(
    ("status", "code", "why"),
    [
        ("exited", 0, "it ended with exit code 0"),
        ("exited", 137, "it ended with exit code 137"),
        ("created", 0, "it was made and not started"),
    ],
)
def test_what_does_not_run_is_started(status: str, code: int, why: str) -> None:
    made = project("services: {a: {image: b}}\n")
    found = planned(made, there(container("a", status=status, exit_code=code)))

    assert reasons(found) == {"start app-a-1": why}
    assert found.actions[0].id == "id-a-1"
    assert keys(planned(made, there(container("a", status=status)), no_start=True)) == []


def test_a_job_that_was_done_runs_again_for_what_is_new() -> None:
    volumes = (Volume("app_data", "app"),)
    job = container("job", status="exited")
    failed = container("job", status="exited", exit_code=3)

    fresh = planned(SHOP, there(container("web"), job, container("db", hash="x"), volumes=volumes))
    again = planned(SHOP, there(container("web"), failed, container("db"), volumes=volumes))

    assert "start app-job-1" in keys(fresh)
    assert reasons(again) == {"start app-job-1": "it ended with exit code 3"}


SCALED = project("services: {a: {image: b, scale: 2}}\n")


@pytest.mark.parametrize(
    ("numbers", "scale", "created", "removed"),
    [
        ([], 2, [1, 2], []),
        ([1], 3, [2, 3], []),
        ([1, 2, 3], 1, [], [2, 3]),
        ([1, 2], 0, [], [1, 2]),
        ([2, 5], 3, [6], []),
    ],
)
def test_scale(numbers: list[int], scale: int, created: list[int], removed: list[int]) -> None:
    observed = there(*(container("a", number) for number in numbers))
    found = planned(SCALED, observed, scale={"a": scale})

    check_order(found)
    assert [each.number for each in found.of("create")] == created
    assert sorted(each.number for each in found.of("remove")) == removed


def test_replicas_that_share_ports_start_one_after_the_other() -> None:
    ranged = project("services: {a: {image: b, scale: 3, ports: ['8000-8002:80']}}\n")
    free = project("services: {a: {image: b, scale: 3, ports: ['80']}}\n")

    def starts(made: model.Project) -> list[set[str]]:
        found = planned(made, Observed())
        return [{key for key in each.after if "start" in key} for each in found.of("start")]

    assert starts(ranged) == [set(), {"start app-a-1"}, {"start app-a-2"}]
    assert starts(free) == [set()] * 3


def test_what_differs_goes_first() -> None:
    found = planned(SCALED, there(container("a", 1, hash="old"), container("a", 2)),
                    scale={"a": 1})  # fmt: skip

    assert keys(found) == ["stop app-a-1", "remove app-a-1"]


def test_an_interrupted_recreate_is_ended() -> None:
    made = project("services: {a: {image: b}}\n")
    successor = container("a", id="new", name="old_app-a-1", status="created")

    both = planned(made, there(container("a", hash="old"), successor))
    alone = planned(made, there(successor))

    check_order(both)
    assert keys(both) == [
        "stop app-a-1", "remove app-a-1", "rename old_app-a-1", "start app-a-1",
    ]  # fmt: skip
    assert next(action.after for action in both.of("rename")) == ("remove app-a-1",)
    assert keys(alone) == ["rename old_app-a-1", "start app-a-1"]


def test_dependants_with_restart_are_started_again() -> None:
    made = project(
        "services:\n  a: {image: b}\n"
        "  with: {image: b, depends_on: {a: {condition: service_started, restart: true}}}\n"
        "  further: {image: b, depends_on: {with: {condition: service_started, restart: true}}}\n"
        "  without: {image: b, depends_on: [a]}\n"
    )
    running = [container(name) for name in ("with", "further", "without")]
    found = planned(made, there(container("a", hash="x"), *running))

    check_order(found)
    assert {each.service for each in found.of("stop")} == {"a", "with", "further"}
    assert {each.service for each in found.of("start")} == {"a", "with", "further"}
    after = {action.key: action.after for action in found.actions}
    assert "start app-a-1" in after["start app-with-1"]


def test_optional_dependencies_may_fail() -> None:
    made = project(
        "services:\n  a: {image: b}\n"
        "  b: {image: b, depends_on: {a: {condition: service_healthy, required: false}}}\n"
    )
    (wait,) = planned(made, Observed()).of("wait")

    assert wait.optional
    assert wait.key == "wait a service_healthy if it can"


def test_orphans_stay_unless_they_are_to_go() -> None:
    observed = there(container("a"), container("b"), container("old"))
    told, gone = planned(TWO, observed), planned(TWO, observed, remove_orphans=True)

    assert (keys(told), told.orphans) == ([], ("app-old-1",))
    assert (keys(gone), gone.orphans) == (["stop app-old-1", "remove app-old-1"], ())


def test_containers_of_run_are_nobodys_business() -> None:
    observed = there(container("a"), container("b"), container("a", id="x", oneoff=True))

    assert planned(TWO, observed) == Plan("app")


def test_a_service_of_a_profile_that_is_off_is_no_orphan() -> None:
    made = project("services: {a: {image: b}, tool: {image: b, profiles: [p]}}\n")

    assert planned(made, there(container("a"), container("tool"))) == Plan("app")


NETWORKED = project(
    "services: {a: {image: b, networks: [n]}}\n"
    "networks: {n: {internal: true, ipam: {config: [{subnet: 10.9.0.0/24}]}}}\n"
)


def test_a_network_that_changed_is_made_anew_with_all_in_it() -> None:
    inside = container("a", networks=("app_n",))
    same = Network("app_n", "app", True, "10.9.0.0/24")
    assert planned(NETWORKED, there(inside, networks=(same,))) == Plan("app")

    found = planned(NETWORKED, there(inside, networks=(replace(same, internal=False),)))

    check_order(found)
    order = keys(found)
    assert order.index("remove app-a-1") < order.index("remove-network app_n")
    assert order.index("remove-network app_n") < order.index("create-network app_n")
    assert {"create id-a-1_app-a-1", "remove app-a-1"} == set(found.of("rename")[0].after)
    assert order.index("create-network app_n") < order.index("create id-a-1_app-a-1")
    assert reasons(found)["remove-network app_n"] == "its `internal` changed"


LABELLED = project(
    "services: {a: {image: b, networks: [n], volumes: ['v:/v']}}\n"
    "networks: {n: {labels: {tier: front}}}\nvolumes: {v: {labels: {kind: cache, new: y}}}\n"
)


def test_a_network_whose_labels_changed_is_made_anew() -> None:
    inside = container("a", networks=("app_n",))
    volumes = (Volume("app_v", "app", {"kind": "cache", "new": "y"}),)
    same = Network("app_n", "app", labels={"tier": "front"})
    assert planned(LABELLED, there(inside, networks=(same,), volumes=volumes)) == Plan("app")

    other = replace(same, labels={"tier": "back"})
    found = planned(LABELLED, there(inside, networks=(other,), volumes=volumes))

    assert reasons(found)["remove-network app_n"] == "its `labels` changed"


def test_a_volume_whose_labels_changed_is_used_as_it_is_and_told() -> None:
    network = Network("app_n", "app", labels={"tier": "front"})
    volume = Volume("app_v", "app", {"kind": "data", "old": "x"})

    inside = container("a", networks=("app_n",))
    found = planned(LABELLED, there(inside, networks=(network,), volumes=(volume,)))

    assert found.actions == ()
    assert found.warnings == (
        "the volume `app_v` is used as it is, though the files differ from it:"
        " its label `kind` is `data`, not `cache`, its label `new` is missing,"
        " it has the label `old`;"
        " `down -v` or `pyengine volume rm app_v` lets it be made anew, without what it holds",
    )


def test_labels_of_docker_compose_are_no_change() -> None:
    labels = {"com.docker.compose.project": "app", "com.docker.compose.version": "9", "a": "b"}

    assert own_labels(labels) == {"a": "b"}


def test_an_orphan_in_a_network_that_changed_is_not_thrown_away() -> None:
    orphan = container("old", networks=("app_n",))
    observed = there(orphan, networks=(Network("app_n", "app"),))

    with pytest.raises(CannotPlan, match="app-old-1"):
        planned(NETWORKED, observed)
    assert "remove app-old-1" in keys(planned(NETWORKED, observed, remove_orphans=True))


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        (
            "services: {a: {image: b, networks: [n]}}\nnetworks:\n  n: {external: true}\n",
            "network `n` declared as external, but could not be found", 4,
        ),
        (
            "services: {a: {image: b, volumes: ['v1:/v']}}\nvolumes:\n  v1: {external: true}\n",
            "external volume `v1` not found", 4,
        ),
        (
            "services: {a: {image: b, networks: [n]}}\nnetworks:\n  n: {name: taken}\n",
            "the network `taken` belongs to `other`", 4,
        ),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_told_at_its_place(text: str, message: str, place: int) -> None:
    observed = Observed(networks=(Network("taken", "other"),))

    with pytest.raises(CannotPlan, match=message) as raised:
        planned(project(text), observed)

    assert raised.value.at is not None
    assert raised.value.at.line == place
    assert raised.value.hint


def test_an_external_volume_of_one_letter_is_not_found() -> None:
    made = project("services: {a: {image: b, volumes: ['s:/v']}}\nvolumes: {s: {external: true}}\n")
    assert carried.check(made) == []

    with pytest.raises(CannotPlan, match="external volume `s` not found") as raised:
        planned(made, Observed())

    assert raised.value.hint == "a volume's name has two letters at the least"


def test_external_things_that_are_there_are_left_alone() -> None:
    made = project(
        "services: {a: {image: b, networks: [n], volumes: ['v1:/v']}}\n"
        "networks: {n: {external: true, name: shared}}\nvolumes: {v1: {external: true}}\n"
    )
    observed = Observed(networks=(Network("shared", "other"),), volumes=(Volume("v1"),))

    assert keys(planned(made, observed)) == ["create app-a-1", "start app-a-1"]


def test_an_external_network_brings_its_supervisor_along() -> None:
    made = project(
        "services: {a: {image: b, networks: [n, default]}}\n"
        "networks: {n: {external: true, name: shared}}\n"
    )
    shared = Network("shared", "network.shared")
    own = Network("app_default", "network.shared", project="app")
    inside = container("a", group="network.shared")

    fresh = planned(made, Observed(networks=(shared,)))
    moved = planned(made, there(container("a"), networks=(shared, DEFAULT)))

    assert fresh.supervisor == "network.shared"
    assert planned(made, there(inside, networks=(shared, own))) == replace(
        Plan("app"), supervisor="network.shared"
    )
    check_order(moved)
    assert reasons(moved)["remove-network app_default"] == "its `owner` changed"
    assert "start app-a-1" in keys(moved)


def test_external_networks_of_different_owners_cannot_be_joined_together() -> None:
    made = project(
        "services: {a: {image: b, networks: [n, m]}}\n"
        "networks:\n  n: {external: true}\n  m: {external: true}\n"
    )

    with pytest.raises(CannotPlan, match="`m` and `n` have different owners") as raised:
        planned(made, Observed(networks=(Network("n", "one"), Network("m", "two"))))
    assert raised.value.at is not None
    assert raised.value.at.line == 4


def test_a_volume_of_somebody_else_is_used_and_told() -> None:
    observed = Observed(volumes=(Volume("app_data", "other"),))

    (warning,) = planned(SHOP, observed).warnings

    assert "`app_data` was made for the project `other`" in warning


def test_one_name_for_several_containers_cannot_be() -> None:
    made = project("services: {a: {image: b, container_name: one}}\n")

    with pytest.raises(CannotPlan, match="cannot have 2 containers of one name"):
        planned(made, Observed(), scale={"a": 2})
    assert "create one" in keys(planned(made, Observed()))


@pytest.mark.parametrize(
    ("keys_of_a", "is_there", "fields", "action"),
    [
        ("image: b", False, {}, "pull b: the image is missing"),
        ("image: b", True, {}, None),
        ("image: b", False, {"pull": "never"}, None),
        ("image: b, pull_policy: never", False, {}, None),
        ("image: b, pull_policy: always", True, {}, "pull b: `pull_policy` asks for it"),
        ("image: b", True, {"pull": "always"}, "pull b: `--pull always` asks for it"),
        ("build: .", False, {}, "build a: the image is missing"),
        ("build: .", True, {}, None),
        ("build: .", True, {"build": True}, "build a: `--build` asks for it"),
        ("build: ., pull_policy: build", True, {}, "build a: `pull_policy: build` asks for it"),
        ("build: ., image: b", False, {"no_build": True}, "pull b: the image is missing"),
        ("build: ., scale: 0", False, {}, None),
    ],
)
def test_images_are_brought_first(
    keys_of_a: str, is_there: bool, fields: Mapping[str, Any], action: str | None
) -> None:
    made = project(f"services: {{a: {{{keys_of_a}}}}}\n")
    images = {"a": IMAGE} if is_there else {}
    found = up(made, Observed(images=images), wanted(made, **fields))

    check_order(found)
    brought = [f"{each.key}: {each.because}" for each in found.of("pull", "build")]
    assert brought == ([action] if action else [])
    if action:
        (create,) = found.of("create")
        assert brought[0].partition(":")[0] in create.after


def test_one_image_is_pulled_once() -> None:
    made = project("services: {a: {image: b}, c: {image: b}}\n")
    found = up(made, Observed(), wanted(made))

    assert [each.target for each in found.of("pull")] == ["b"]
    assert all("pull b" in create.after for create in found.of("create"))


def test_run_gets_all_that_a_service_needs_but_itself() -> None:
    observed = Observed(images=dict.fromkeys(SHOP.services, IMAGE))
    found = for_run(SHOP, observed, wanted(SHOP, targets=frozenset({"web"})), "web")
    alone = for_run(
        SHOP, observed, wanted(SHOP, targets=frozenset({"web"}), no_dependencies=True), "web"
    )

    check_order(found)
    assert {action.service for action in found.of("create")} == {"db", "job"}
    assert {action.key for action in found.of("wait")} == {
        "wait db service_healthy", "wait job service_completed_successfully",
    }  # fmt: skip
    assert set(keys(alone)) == {"create-network app_default", "create-volume app_data"}


# Any project, any state: a plan that was carried out leaves nothing to be done.

_NAMES = ("a", "b", "c", "d")
_IDS = ("0123", "id-a-1", "id-b-1")


@st.composite
def projects(draw: st.DrawFn) -> model.Project:
    lines = ["services:"]
    for at, name in enumerate(_NAMES[: draw(st.integers(1, 4))]):
        needs = draw(st.lists(st.sampled_from(_NAMES[:at]), unique=True)) if at else []
        conditions = [
            draw(st.sampled_from((plan.STARTED, plan.HEALTHY, plan.COMPLETED))) for _ in needs
        ]
        rest = ", ".join(
            f"{need}: {{condition: {condition}, restart: {str(draw(st.booleans())).lower()}}}"
            for need, condition in zip(needs, conditions, strict=True)
        )
        scale = draw(st.integers(0, 3))
        lines.append(f"  {name}: {{image: b, scale: {scale}, depends_on: {{{rest}}}}}")
    return project("\n".join(lines) + "\n")


@st.composite
def states(draw: st.DrawFn) -> Observed:
    containers = []
    for name in draw(st.lists(st.sampled_from((*_NAMES, "old")), unique=True)):
        for number in draw(st.lists(st.integers(1, 4), unique=True, max_size=3)):
            fields: dict[str, Any] = {
                "status": draw(st.sampled_from(("running", "exited", "created", "restarting"))),
                "exit_code": draw(st.sampled_from((0, 1))),
                "hash": draw(st.sampled_from((f"hash of {name}", "other"))),
                "image_id": draw(st.sampled_from((IMAGE, "sha256:old"))),
            }
            if draw(st.booleans()):
                # A successor has the id of the one before it in its name, never its own.
                others = [id for id in _IDS if id != f"id-{name}-{number}"]
                fields["name"] = f"{draw(st.sampled_from(others))}_app-{name}-{number}"
            containers.append(container(name, number, **fields))
    networks = draw(st.sampled_from(((), (DEFAULT,))))
    return Observed(tuple(containers), networks)


def carried_out(made: model.Project, found: Plan, before: Observed) -> Observed:
    """Return what there is when a plan was carried out; jobs have ended by then."""
    there = {each.id: each for each in before.containers}
    names = {each.name: each.id for each in before.containers}
    networks = {each.name: each for each in before.networks}
    jobs = {
        name
        for service in made.services.values()
        for name, dependency in service.depends_on.items()
        if dependency.condition == plan.COMPLETED
    }
    for action in found.actions:
        match action.kind:
            case "create-network":
                networks[action.target] = Network(action.target, "app")
            case "create":
                assert action.target not in names, "a name is free when it is given"
                new = container(action.service, action.number, id=f"new {action.target}",
                                name=action.target, status="created")  # fmt: skip
                there[new.id], names[new.name] = new, new.id
            case "remove":
                del there[action.id]
                del names[action.target]
            case "rename":
                id = names.pop(action.target)
                name = f"app-{action.service}-{action.number}"
                assert name not in names, "a name is free when it is given"
                there[id], names[name] = replace(there[id], name=name), id
            case "start":
                id = names[action.target]
                state = "exited" if action.service in jobs else "running"
                there[id] = replace(there[id], status=state, exit_code=0)
            case "stop":
                assert there[action.id].name == action.target
                there[action.id] = replace(there[action.id], status="exited")
            case "wait":
                assert action.target in made.services
            case kind:
                raise AssertionError(kind)
    return Observed(tuple(there.values()), tuple(networks.values()))


def check_names(found: Plan) -> None:
    """A name is given behind what frees it, not just later in the list."""
    behind: dict[str, set[str]] = {}
    for action in found.actions:
        behind[action.key] = set(action.after).union(*(behind[key] for key in action.after))
        given = action.target
        if action.kind == "rename":
            given = f"app-{action.service}-{action.number}"
        elif action.kind != "create":
            continue
        if f"remove {given}" in keys(found):
            assert f"remove {given}" in behind[action.key]


@settings(max_examples=300, deadline=None)
@given(projects(), states(), st.booleans())
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(
    made: model.Project, before: Observed, remove_orphans: bool
) -> None:
    first = planned(made, before, remove_orphans=remove_orphans)
    check_order(first)
    check_names(first)
    after = carried_out(made, first, before)

    for service in made.services.values():
        mine = [each for each in after.containers if each.service == service.name]
        assert len(mine) == service.scale
        assert all(each.name == f"app-{service.name}-{each.number}" for each in mine)
    assert keys(planned(made, after, remove_orphans=remove_orphans)) == []


def test_a_plan_can_be_read_and_taken_as_data() -> None:
    made = project("services: {a: {image: b}}\n")
    found = planned(made, Observed())

    assert plan.text_of(found) == (
        "create-network app_default: it is missing\n"
        "create app-a-1: it is missing\n"
        "    after create-network app_default\n"
        "start app-a-1: it is missing\n"
        "    after create app-a-1\n"
    )
    assert plan.text_of(Plan("app")) == "app: nothing to do\n"
    data: Any = plan.data_of(found)
    assert data["actions"][1] == {
        "action": "create", "target": "app-a-1", "service": "a", "because": "it is missing",
        "key": "create app-a-1", "after": ["create-network app_default"],
    }  # fmt: skip
    assert image_of("app", made.services["a"]) == "b"
    assert Need("a").condition == plan.STARTED
