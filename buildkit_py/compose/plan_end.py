"""The plans of what ends, starts and removes the containers that there are. Pure.

They need no files: which service a container needs is on its label. What ends does so in reverse:
dependants before what they need.
"""

from __future__ import annotations

from buildkit_py.compose.plan import (
    STARTED,
    Action,
    Container,
    Observed,
    Plan,
    in_order,
    sorted_actions,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


def down(
    name: str,
    observed: Observed,
    *,
    services: Collection[str] | None = None,
    targets: Collection[str] = (),
    remove_orphans: bool = False,
    volumes: Collection[str] | None = None,
    external: Collection[str] = (),
) -> Plan:
    """Plan what leaves nothing of a project.

    services: those of the files; None where there are no files, and all are the project's
    targets: only these and what depends on them, and networks that nobody is in any more
    volumes: names of those to be removed, None: none are
    external: names of networks that are not the project's, whatever their label says
    """
    there = observed.of_services()
    if targets:
        doomed = with_dependants(there, targets)
        mine = [each for each in there if each.service in doomed]
        stay: list[Container] = []
    else:
        known = None if services is None or remove_orphans else set(services)
        mine = [each for each in there if known is None or each.service in known]
        stay = [each for each in there if each not in mine]
    if remove_orphans and not targets:
        mine += [each for each in observed.containers if each.oneoff]
    actions = _ends(mine, "the project is taken down", remove=True)
    removed = tuple(key for key, action in actions.items() if action.kind == "remove")
    warnings = []
    left = [each for each in observed.containers if each not in mine]
    busy = {network: each.name for each in left for network in each.networks}
    for network in sorted(observed.networks, key=lambda one: one.name):
        if not network.is_of(name) or network.name in external:
            continue
        if network.name not in busy:
            action = Action("remove-network", network.name, "the project is taken down", removed)
            actions[action.key] = action
        elif not targets:
            warnings.append(f"the network `{network.name}` stays: `{busy[network.name]}` is in it")
    if not targets:
        for volume in sorted(observed.volumes, key=lambda one: one.name):
            if volumes is not None and volume.name in volumes:
                action = Action("remove-volume", volume.name, "`--volumes` asks for it", removed)
                actions[action.key] = action
    names = tuple(sorted(each.name for each in stay))
    return Plan(name, sorted_actions(actions), names, tuple(warnings))


def stop(
    name: str,
    observed: Observed,
    targets: Collection[str] = (),
    *,
    services: Collection[str] | None = None,
) -> Plan:
    """Plan what ends the containers of some services, or of all.

    targets, services: here and below, the services that were named; where none was, those of the
    files, or None for all that there are
    """
    mine = _chosen(observed, targets, services)
    return Plan(name, sorted_actions(_ends(mine, "`stop` asks for it", remove=False)))


def kill(
    name: str,
    observed: Observed,
    targets: Collection[str] = (),
    *,
    services: Collection[str] | None = None,
) -> Plan:
    """Plan what sends a signal to all containers at once."""
    actions = [
        Action("kill", each.name, "`kill` asks for it", (), each.service, each.number, each.id)
        for each in _chosen(observed, targets, services)
        if each.running
    ]
    return Plan(name, tuple(actions))


def start(
    name: str,
    observed: Observed,
    targets: Collection[str] = (),
    *,
    services: Collection[str] | None = None,
) -> Plan:
    """Plan what starts the containers that do not run, in the order of their needs.

    What the targets need is started too, and waited for also where it runs already, as docker
    compose does.
    """
    wanted = with_needs(observed.of_services(), targets)
    mine = _chosen(observed, wanted, services)
    actions: dict[str, Action] = {}
    _begins(mine, "`start` asks for it", actions, {})
    return Plan(name, sorted_actions(actions))


def restart(
    name: str,
    observed: Observed,
    targets: Collection[str] = (),
    *,
    services: Collection[str] | None = None,
    no_dependencies: bool = False,
) -> Plan:
    """Plan what ends and starts containers again, and those that restart with them."""
    mine = _chosen(observed, targets, services)
    if targets and not no_dependencies:
        chosen = {each.service for each in mine}
        mine += [
            each
            for each in observed.of_services()
            if each.service not in chosen
            and each.running
            and any(need.restart and need.service in chosen for need in each.needs)
        ]
    because = "`restart` asks for it"
    actions = _ends(mine, because, remove=False)
    ended = {action.id: key for key, action in actions.items() if action.kind == "stop"}
    _begins(mine, because, actions, ended)
    return Plan(name, sorted_actions(actions))


def remove(
    name: str,
    observed: Observed,
    targets: Collection[str] = (),
    *,
    services: Collection[str] | None = None,
    stop_first: bool = False,
    only: Collection[str] | None = None,
) -> Plan:
    """Plan what removes containers: those that do not run, or all with stop_first.

    Containers that `run` made are left to who runs them.
    only: ids of those that somebody agreed to; None is all
    """
    mine = [
        each
        for each in _chosen(observed, targets, services)
        if (stop_first or not each.running) and (only is None or each.id in only)
    ]
    return Plan(name, sorted_actions(_ends(mine, "`rm` asks for it", remove=True)))


def with_dependants(there: Iterable[Container], targets: Collection[str]) -> set[str]:
    """Return services and whatever needs them, from the containers' labels."""
    found = set(targets)
    containers = list(there)
    while True:
        more = {
            each.service
            for each in containers
            if each.service not in found and any(need.service in found for need in each.needs)
        }
        if not more:
            return found
        found |= more


def with_needs(there: Iterable[Container], targets: Collection[str]) -> set[str]:
    """Return services and whatever they need, from the containers' labels."""
    needs = _needs(there)
    found: set[str] = set()
    waiting = list(targets)
    while waiting:
        service = waiting.pop()
        if service not in found:
            found.add(service)
            waiting += needs.get(service, ())
    return found


def _chosen(
    observed: Observed, targets: Collection[str], services: Collection[str] | None
) -> list[Container]:
    wanted = targets or services
    return [each for each in observed.of_services() if wanted is None or each.service in wanted]


def _needs(mine: Iterable[Container]) -> dict[str, set[str]]:
    needs: dict[str, set[str]] = {}
    for each in mine:
        needs.setdefault(each.service, set()).update(need.service for need in each.needs)
    return needs


def _ends(mine: list[Container], because: str, *, remove: bool) -> dict[str, Action]:
    """Return what stops containers, and removes them, dependants first."""
    actions: dict[str, Action] = {}
    stops: dict[str, list[str]] = {}
    needs = _needs(mine)
    for service in reversed(in_order(needs)):
        dependants = sorted(
            key for other, theirs in needs.items() if service in theirs and other != service
            for key in stops.get(other, ())
        )  # fmt: skip
        for each in sorted(mine, key=lambda one: (one.number, one.name)):
            if each.service != service:
                continue
            after = tuple(dependants)
            if each.running:
                stop = Action("stop", each.name, because, after, service, each.number, each.id)
                actions[stop.key] = stop
                stops.setdefault(service, []).append(stop.key)
                after = (stop.key,)
            if remove:
                gone = Action("remove", each.name, because, after, service, each.number, each.id)
                actions[gone.key] = gone
        # What ends through a service that does not run any more still comes after its dependants.
        stops.setdefault(service, dependants)
    return actions


def _begins(
    mine: list[Container],
    because: str,
    actions: dict[str, Action],
    ended: Mapping[str, str],
) -> None:
    """Add what starts containers, each behind what it needs."""
    starts: dict[str, list[str]] = {}
    by_service: dict[str, list[Container]] = {}
    for each in mine:
        by_service.setdefault(each.service, []).append(each)
    runs = {each.service for each in mine if each.running and each.id not in ended}
    for service in in_order(_needs(mine)):
        for each in by_service[service]:
            if each.running and each.id not in ended:
                continue
            before = [ended[each.id]] if each.id in ended else []
            for need in each.needs:
                theirs = starts.get(need.service, [])
                if need.condition == STARTED or not (theirs or need.service in runs):
                    before += theirs
                    continue
                wait = Action(
                    "wait", need.service, f"`{service}` starts after it", tuple(theirs),
                    need.service, condition=need.condition,
                )  # fmt: skip
                actions[wait.key] = wait
                before.append(wait.key)
            begin = Action("start", each.name, because, tuple(dict.fromkeys(before)), service,
                           each.number, each.id)  # fmt: skip
            actions[begin.key] = begin
            starts.setdefault(service, []).append(begin.key)
