"""What has to be done so that a project is as its files say: the words of plans. Pure.

    observed  what there is: containers, networks, volumes and images of the project
    Plan      actions, each with its reason and the actions that come before it

`plan_up` and `plan_end` choose the actions, `carry_out` does them. An action's `key` is its kind
and what it is done to, `create shop-web-1`; `after` holds keys of the same plan.
"""

from __future__ import annotations

from buildkit_py.compose.errors import ComposeError
from buildkit_py.core.data import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from buildkit_py.compose import model

STARTED = "service_started"
COMPLETED = "service_completed_successfully"
HEALTHY = "service_healthy"


class CannotPlan(ComposeError):
    """What there is stands in the way of what is wanted."""

    code = "compose/cannot-plan"


@dataclass(frozen=True, slots=True)
class Need:
    """A service that another one needs, as the container's label remembers it."""

    service: str
    condition: str = STARTED
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """A container that there is.

    hash, image_id, files: of what it was made; files: its salted digest, see `grants`
    group: whose supervisor looks after it; "" counts as the project's own
    oneoff: made by `run`, not by `up`
    """

    id: str
    name: str
    service: str
    number: int
    hash: str
    status: str
    exit_code: int = 0
    image_id: str = ""
    files: str = ""
    networks: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    group: str = ""
    oneoff: bool = False

    @property
    def running(self) -> bool:
        return self.status in ("running", "restarting")


@dataclass(frozen=True, slots=True)
class Network:
    """A network that there is. owner: the group whose supervisor has it; project: from its label

    labels: without those of docker compose, as are a volume's
    """

    name: str
    owner: str
    internal: bool = False
    subnet: str = ""
    gateway: str = ""
    project: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def is_of(self, project: str) -> bool:
        """Say whether it is a project's own."""
        return (self.project or self.owner) == project


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume that there is. project: from its label, "" without one."""

    name: str
    project: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """What there is. images: ids of the services' images that are here, by service."""

    containers: tuple[Container, ...] = ()
    networks: tuple[Network, ...] = ()
    volumes: tuple[Volume, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)

    def of_services(self) -> list[Container]:
        """Return the containers that `up` makes, by service and number."""
        mine = (each for each in self.containers if not each.oneoff)
        return sorted(mine, key=lambda each: (each.service, each.number, each.name))


@dataclass(frozen=True, slots=True)
class Action:
    """Something to be done.

    kind: build, pull, create-network, remove-network, create-volume, remove-volume, create,
        rename, start, stop, kill, remove, wait
    target: the name of what it is done to; for `wait` the service that others wait for
    id: of a container that there is
    condition: what `wait` waits for, a condition of `depends_on`
    optional: what waits goes on when it fails
    replaces: for `create`, the id of the container whose place it takes
    """

    kind: str
    target: str
    because: str
    after: tuple[str, ...] = ()
    service: str = ""
    number: int = 0
    id: str = ""
    condition: str = ""
    optional: bool = False
    replaces: str = ""

    @property
    def key(self) -> str:
        condition = f" {self.condition}" if self.condition else ""
        return f"{self.kind} {self.target}{condition}{' if it can' if self.optional else ''}"


@dataclass(frozen=True, slots=True)
class Plan:
    """actions: in an order in which each comes behind what it is `after`."""

    project: str
    actions: tuple[Action, ...] = ()
    orphans: tuple[str, ...] = ()
    """Names of containers whose service is not in the files, and that stay."""
    warnings: tuple[str, ...] = ()
    supervisor: str = ""
    """The group whose supervisor looks after what is made; "" is the project's own."""
    kept: tuple[str, ...] = field(default=(), compare=False)
    """Names of the services' containers that run and stay as they are."""

    def of(self, *kinds: str) -> tuple[Action, ...]:
        return tuple(action for action in self.actions if action.kind in kinds)


def text_of(plan: Plan) -> str:
    """Return a plan as people read it, a line for each action."""
    if not plan.actions:
        return f"{plan.project}: nothing to do\n"
    lines = []
    for action in plan.actions:
        lines.append(f"{action.key}: {action.because}")
        if action.after:
            lines.append(f"    after {', '.join(action.after)}")
    return "".join(f"{line}\n" for line in lines)


def data_of(plan: Plan) -> dict[str, object]:
    """Return a plan as plain values."""
    return {
        "project": plan.project,
        "actions": [
            {
                "action": action.kind,
                "target": action.target,
                **({"service": action.service} if action.service else {}),
                **({"condition": action.condition} if action.condition else {}),
                **({"optional": True} if action.optional else {}),
                "because": action.because,
                "key": action.key,
                "after": list(action.after),
            }
            for action in plan.actions
        ],
        "orphans": list(plan.orphans),
        "warnings": list(plan.warnings),
    }


def container_name(project: str, service: model.Service, number: int) -> str:
    return service.container_name or f"{project}-{service.name}-{number}"


def in_order(services: Mapping[str, Iterable[str]]) -> list[str]:
    """Return names, each behind those that it needs; what is not among them does not count.

    A ring, which only old labels can have, is broken where it is met.
    """
    done: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [(name, False) for name in sorted(services, reverse=True)]
    while waiting:
        name, needs_are_done = waiting.pop()
        if needs_are_done:
            done[name] = None
        elif name in services and name not in seen:
            seen.add(name)
            waiting.append((name, True))
            waiting += [(each, False) for each in sorted(services[name], reverse=True)]
    return list(done)


def sorted_actions(actions: dict[str, Action]) -> tuple[Action, ...]:
    """Return actions by their keys, each behind those that it is after."""
    # Sorting by key would tear apart what belongs together: the order of choice decides instead.
    done: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [(key, False) for key in reversed(actions)]
    while waiting:
        key, ready = waiting.pop()
        if ready:
            done[key] = None
        elif key in actions and key not in seen:
            seen.add(key)
            waiting.append((key, True))
            waiting += [(each, False) for each in reversed(actions[key].after)]
    return tuple(actions[key] for key in done)
