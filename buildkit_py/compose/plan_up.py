"""The plan of `up`: what makes a project run as its files say. Pure.

A container that has to be made anew gets its successor first, under a name for the time being,
as docker compose does it: when that cannot be made, the old one still runs. Then the old one is
stopped and removed, and the new one renamed and started.
"""

from __future__ import annotations

from buildkit_py.compose.changes import of_network, of_volume
from buildkit_py.compose.plan import (
    COMPLETED,
    HEALTHY,
    Action,
    CannotPlan,
    Container,
    Observed,
    Plan,
    container_name,
    in_order,
    sorted_actions,
)
from buildkit_py.core.data import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildkit_py.compose import model


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `up` was asked for besides the files.

    hashes: of each service's configuration
    same_files: says of a service and a container's label whether its files are those of now
    scale: numbers of containers that differ from the files
    targets: the services that were named; none: all
    """

    hashes: Mapping[str, str]
    same_files: Callable[[str, str], bool] = lambda service, label: True
    scale: Mapping[str, int] = field(default_factory=dict)
    targets: frozenset[str] = frozenset()
    remove_orphans: bool = False
    force_recreate: bool = False
    recreate_dependencies: bool = False
    no_recreate: bool = False
    no_dependencies: bool = False
    no_start: bool = False
    build: bool = False
    no_build: bool = False
    pull: str = ""


def up(project: model.Project, observed: Observed, wanted: Wanted) -> Plan:
    """Plan what makes a project run. Raises CannotPlan."""
    return _Up(project, observed, wanted).plan()


def for_run(project: model.Project, observed: Observed, wanted: Wanted, name: str) -> Plan:
    """Plan what a new container of a service needs: all that `up` does, but for the service.

    Raises CannotPlan.
    """
    return _Up(project, observed, wanted).plan_run(name)


def images(project: model.Project, observed: Observed, wanted: Wanted) -> list[Action]:
    """Return what brings the services' images here: `build` and `pull`, one for each image."""
    from buildkit_py.compose.request import image_of

    actions: dict[str, Action] = {}
    for name, service in sorted(project.services.items()):
        if not wanted.scale.get(name, service.scale):
            continue
        image = image_of(project.name, service)
        there = name in observed.images
        policy = wanted.pull or service.pull_policy or ""
        if service.build is not None:
            why = ""
            if wanted.build and not wanted.no_build:
                why = "`--build` asks for it"
            elif service.pull_policy == "build" and not wanted.no_build:
                why = "`pull_policy: build` asks for it"
            elif not there and not wanted.no_build:
                why = "the image is missing"
            elif not there and wanted.no_build and policy != "never":
                actions[f"pull {image}"] = Action("pull", image, "the image is missing",
                                                  service=name)  # fmt: skip
            if why:
                # By service: two services may build one name of different contexts.
                actions[f"build {name}"] = Action("build", name, why, service=name)
        elif policy == "always":
            why = "`--pull always` asks for it" if wanted.pull else "`pull_policy` asks for it"
            actions[f"pull {image}"] = Action("pull", image, why, service=name)
        elif not there and policy != "never":
            actions[f"pull {image}"] = Action("pull", image, "the image is missing", service=name)
    return list(actions.values())


class _Up:
    """The plan while it comes to be."""

    def __init__(self, project: model.Project, observed: Observed, wanted: Wanted) -> None:
        self.project = project
        self.observed = observed
        self.wanted = wanted
        self.supervisor = supervisor_of(project, observed)
        self.actions: dict[str, Action] = {}
        self.warnings: list[str] = []
        self.kept: list[str] = []
        self.changed_networks: set[str] = set()
        self.ready_images: dict[str, str] = {}
        """The key of what brings a service's image here."""
        self.starts: dict[str, list[str]] = {}
        """The keys of each service's starts."""
        self.stops: dict[str, list[str]] = {}
        """The keys of what ends each service's containers that start again."""

    def add(self, action: Action) -> str:
        self.actions.setdefault(action.key, action)
        return action.key

    def plan_run(self, name: str) -> Plan:
        """Return the plan of everything but a service's own containers."""
        found = self.plan(without=name)
        service = self.project.services[name]
        for wait in () if self.wanted.no_dependencies else self._waits(service):
            self.add(wait)
        return self._made(found.orphans)

    def plan(self, *, without: str = "") -> Plan:
        orphans = self._orphans()
        if self.wanted.remove_orphans:
            for each in orphans:
                self._remove(each, f"the service `{each.service}` is not in the files")
        self._images()
        self._networks(orphans)
        self._volumes()
        order = in_order({n: s.depends_on for n, s in self.project.services.items()})
        for name in order:
            alone = bool(without) and self.wanted.no_dependencies
            if name != without and not alone:
                self._service(self.project.services[name])
        names = () if self.wanted.remove_orphans else tuple(sorted(each.name for each in orphans))
        return self._made(names)

    def _made(self, orphans: tuple[str, ...]) -> Plan:
        return Plan(
            self.project.name, sorted_actions(self.actions), orphans, tuple(self.warnings),
            "" if self.supervisor == self.project.name else self.supervisor, tuple(self.kept),
        )  # fmt: skip

    def _orphans(self) -> list[Container]:
        known = {*self.project.services, *self.project.disabled}
        return [each for each in self.observed.of_services() if each.service not in known]

    def _images(self) -> None:
        from buildkit_py.compose.request import image_of

        by_image: dict[str, str] = {}
        for action in images(self.project, self.observed, self.wanted):
            key = self.add(action)
            by_image[action.target if action.kind == "pull" else action.service] = key
        for name, service in self.project.services.items():
            key = by_image.get(name) or by_image.get(image_of(self.project.name, service), "")
            if key:
                self.ready_images[name] = key

    def _networks(self, orphans: list[Container]) -> None:
        there = {each.name: each for each in self.observed.networks}
        for key, network in sorted(self.project.networks.items()):
            found = there.get(network.name)
            at = self.project.at("networks", key)
            if network.external:
                if found is None:
                    raise CannotPlan(
                        f"network `{network.name}` declared as external, but could not be found",
                        at=at,
                        hint=f"`pyengine network create {network.name}` makes it",
                    )
                continue
            if found is None:
                self.add(Action("create-network", network.name, "it is missing"))
                continue
            if not found.is_of(self.project.name):
                raise CannotPlan(
                    f"the network `{network.name}` belongs to `{found.project or found.owner}`",
                    at=at,
                    hint="give the network another name with `name:`, or make it `external: true`",
                )  # fmt: skip
            changes = of_network(network, found)
            if found.owner != self.supervisor:
                changes.append("owner")
            if not changes:
                continue
            because = f"its {' and '.join(f'`{each}`' for each in changes)} changed"
            users = [each for each in self.observed.containers if network.name in each.networks]
            stay = [each.name for each in users if each in orphans]
            if stay and not self.wanted.remove_orphans:
                raise CannotPlan(
                    f"the network `{network.name}` has changed, but {', '.join(stay)}, whose"
                    " service is not in the files, is in it", at=at,
                    hint="`--remove-orphans` removes such containers",
                )  # fmt: skip
            self.changed_networks.add(network.name)
            why = f"the network `{network.name}` has changed"
            gone = tuple(self._remove(each, why) for each in users)
            removed = self.add(Action("remove-network", network.name, because, gone))
            self.add(Action("create-network", network.name, because, (removed,)))

    def _volumes(self) -> None:
        there = {each.name: each for each in self.observed.volumes}
        for key, volume in sorted(self.project.volumes.items()):
            found = there.get(volume.name)
            if volume.external:
                if found is None:
                    raise CannotPlan(
                        f"external volume `{volume.name}` not found",
                        at=self.project.at("volumes", key),
                        hint=f"`pyengine volume create {volume.name}` makes it"
                        if len(volume.name) > 1
                        else "a volume's name has two letters at the least",
                    )
            elif found is None:
                self.add(Action("create-volume", volume.name, "it is missing"))
            elif found.project != self.project.name:
                made = f"for the project `{found.project}`" if found.project else "by somebody else"
                self.warnings.append(
                    f"the volume `{volume.name}` was made {made}, and is used as it is:"
                    " `external: true` says that it is meant"
                )
            elif differs := of_volume(volume, found):
                self.warnings.append(
                    f"the volume `{volume.name}` is used as it is, though the files differ from it:"
                    f" {differs}; `down -v` or `pyengine volume rm {volume.name}` lets it be made"
                    " anew, without what it holds"
                )

    def _service(self, service: model.Service) -> None:
        count = self.wanted.scale.get(service.name, service.scale)
        if count > 1 and service.container_name:
            raise CannotPlan(
                f"`{service.name}` cannot have {count} containers of one name",
                at=self.project.at("services", service.name, "container_name"),
                hint="without `container_name` they are numbered",
            )
        mine = [each for each in self.observed.of_services() if each.service == service.name]
        reasons = {each.id: self._why_anew(service, each) for each in mine}
        self.starts.setdefault(service.name, [])
        # Excess goes: first what is not as it should be, then the highest numbers.
        mine.sort(key=lambda each: (bool(reasons[each.id]), each.number, not each.running))
        kept: list[Container] = []
        for each in mine:
            if len(kept) < count and each.number not in [one.number for one in kept]:
                kept.append(each)
            else:
                self._remove(each, self._why_excess(service, each, count, kept))
        kept.sort(key=lambda each: each.number)
        for each in kept:
            self._keep(service, each, reasons[each.id])
        # New numbers fill no gaps: docker compose goes on behind the highest.
        highest = max((each.number for each in kept), default=0)
        for number in range(highest + 1, highest + 1 + count - len(kept)):
            self._create(service, number, "it is missing")

    def _why_excess(
        self, service: model.Service, each: Container, count: int, kept: list[Container]
    ) -> str:
        if each.number in [one.number for one in kept]:
            return "another container has its place"
        containers = "container" if count == 1 else "containers"
        return f"`{service.name}` has {count} {containers}"

    def _is_dependency(self, service: model.Service) -> bool:
        return bool(self.wanted.targets) and service.name not in self.wanted.targets

    def _why_anew(self, service: model.Service, each: Container) -> str:
        """Return why a container must be made anew, "" if it may stay."""
        wanted, name = self.wanted, service.name
        if wanted.no_recreate or (wanted.no_dependencies and self._is_dependency(service)):
            return ""
        if wanted.force_recreate and (
            wanted.recreate_dependencies or not self._is_dependency(service)
        ):
            return "it is asked for by `--force-recreate`"
        if wanted.recreate_dependencies and self._is_dependency(service):
            return "it is asked for by `--always-recreate-deps`"
        if (each.group or self.project.name) != self.supervisor:
            return f"its networks are looked after by `{self.supervisor}`"
        if each.hash != wanted.hashes[name]:
            return f"the configuration of `{name}` has changed"
        if not wanted.same_files(name, each.files):
            return "the content of its secrets or configs has changed"
        image = self.observed.images.get(name)
        if image is not None and image != each.image_id:
            return "its image has changed"
        for network in each.networks:
            if network in self.changed_networks:
                return f"the network `{network}` has changed"
        return ""

    def _keep(self, service: model.Service, each: Container, reason: str) -> None:
        name = container_name(self.project.name, service, each.number)
        if reason:
            self._create(service, each.number, reason, each)
            return
        unnamed = ""
        if each.name != name:
            unnamed = "an earlier `up` was interrupted before it had its name"
        # One that runs is not renamed.
        again = self._restarted_with(service) or unnamed
        before: tuple[str, ...] = ()
        if again and each.running:
            stop = self.add(
                Action("stop", each.name, again, (), service.name, each.number, each.id)
            )
            self.stops.setdefault(service.name, []).append(stop)
            before = (stop,)
        if unnamed:
            freed = (*before, *self._freed(name))
            before = (self._rename(service, each.number, unnamed, each.name, each.id, freed),)
        if again and each.running:
            self._start(service, each.number, again, before, each.id)
        elif each.running:
            self.kept.append(each.name)
        elif not self._is_done(service, each):
            why = "it was made and not started"
            if each.status != "created":
                why = f"it ended with exit code {each.exit_code}"
            self._start(service, each.number, why, before, each.id)

    def _restarted_with(self, service: model.Service) -> str:
        """Return why a container that may stay is started again, "" if it is not."""
        for name, dependency in sorted(service.depends_on.items()):
            if dependency.restart and self.stops.get(name):
                return f"`{name}`, which it depends on with `restart: true`, starts anew"
        return ""

    def _is_done(self, service: model.Service, each: Container) -> bool:
        """Say whether a container is a job that was done, for what is still as it was then."""
        is_job = service.name in jobs(self.project)
        fresh = any(self.starts.get(name) for name in service.depends_on)
        return is_job and each.status == "exited" and each.exit_code == 0 and not fresh

    def _remove(self, each: Container, because: str, after: tuple[str, ...] = ()) -> str:
        if each.running:
            stop = Action("stop", each.name, because, after, each.service, each.number, each.id)
            after = (self.add(stop),)
        return self.add(
            Action("remove", each.name, because, after, each.service, each.number, each.id)
        )

    def _freed(self, name: str) -> tuple[str, ...]:
        """Return the key of what frees a name, where a container that has it goes."""
        key = f"remove {name}"
        return (key,) if key in self.actions else ()

    def _rename(
        self, service: model.Service, number: int, because: str, now: str, id: str,
        after: tuple[str, ...],
    ) -> str:  # fmt: skip
        name = container_name(self.project.name, service, number)
        return self.add(
            Action("rename", now, f"{because}: it becomes {name}", after, service.name, number, id)
        )

    def _create(
        self, service: model.Service, number: int, because: str, old: Container | None = None
    ) -> None:
        name = container_name(self.project.name, service, number)
        needed = [f"create-network {self.project.networks[key].name}" for key in service.networks]
        needed += [
            f"create-volume {self.project.volumes[mount.source].name}"
            for mount in service.mounts
            if mount.kind == "volume" and mount.source and mount.source in self.project.volumes
        ]
        after = [key for key in needed if key in self.actions]
        own = name if old is None else f"{old.id[:12]}_{name}"
        after += self._freed(own)
        if service.name in self.ready_images:
            after.append(self.ready_images[service.name])
        if old is None:
            action = Action("create", name, because, tuple(after), service.name, number)
            self._start(service, number, because, (self.add(action),))
            return
        create = Action("create", own, because, tuple(after), service.name, number,
                        replaces=old.id)  # fmt: skip
        created = self.add(create)
        gone = self._remove(old, because, (created,))
        self.stops.setdefault(service.name, []).append(gone)
        renamed = self._rename(service, number, because, own, "", (created, gone))
        self._start(service, number, because, (renamed,))

    def _start(
        self,
        service: model.Service,
        number: int,
        because: str,
        after: tuple[str, ...],
        id: str = "",
    ) -> None:
        if self.wanted.no_start:
            return
        name = container_name(self.project.name, service, number)
        before = list(after)
        if not self.wanted.no_dependencies:
            for needed in service.depends_on:
                before += self.starts.get(needed, ())
            before += [self.add(wait) for wait in self._waits(service)]
        if any(port.published for port in service.ports):
            # Of a range of ports the first container gets the first one.
            before += self.starts[service.name][-1:]
        start = Action("start", name, because, tuple(dict.fromkeys(before)), service.name, number,
                       id)  # fmt: skip
        self.starts[service.name].append(self.add(start))

    def _waits(self, service: model.Service) -> list[Action]:
        """Return what waits for the conditions of a service's dependencies."""
        return [
            Action(
                "wait", needed, f"`{service.name}` starts after it",
                tuple(self.starts.get(needed, ())), needed, condition=dependency.condition,
                optional=not dependency.required,
            )
            for needed, dependency in sorted(service.depends_on.items())
            if needed in self.project.services and dependency.condition in (HEALTHY, COMPLETED)
        ]  # fmt: skip


def jobs(project: model.Project) -> set[str]:
    """Return the services that others wait for to end."""
    return {
        name
        for service in project.services.values()
        for name, dependency in service.depends_on.items()
        if dependency.condition == COMPLETED
    }


def supervisor_of(project: model.Project, observed: Observed) -> str:
    """Return the group whose supervisor looks after a project: that of the external networks that
    it joins, or its own. See docs/decisions/0004. Raises CannotPlan."""
    there = {each.name: each for each in observed.networks}
    owners: dict[str, str] = {}
    for key, network in sorted(project.networks.items()):
        if not network.external or network.name not in there:
            continue
        owner = there[network.name].owner
        if owners and owner not in owners:
            other = next(iter(owners.values()))
            raise CannotPlan(
                f"the networks `{other}` and `{network.name}` have different owners, and one"
                " project cannot join both yet", at=project.at("networks", key),
                hint="let one project make both",
            )  # fmt: skip
        owners.setdefault(owner, network.name)
    return next(iter(owners), project.name)
