"""Which steps run, in what order, and which need not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from buildkit_py.core.digest import Digest, sha256
from buildkit_py.core.events import Collected, StepEnded, StepStarted
from buildkit_py.graph.keys import CacheKey
from buildkit_py.graph.ops import Base, Copy, Local, Run, Scratch
from buildkit_py.graph.solve import Cancelled, Result, Solution, Solver
from buildkit_py.graph.vertex import Input, Vertex
from buildkit_py.oci.platform import Platform

LINUX = Platform("linux", "amd64")


@dataclass
class Remembered:
    rows: dict[CacheKey, Result] = field(default_factory=dict)

    def find(self, key: CacheKey) -> Result | None:
        return self.rows.get(key)

    def remember(
        self, keys: Sequence[CacheKey], result: Result, *, replace: bool = False
    ) -> Result:
        for key in keys:
            if key in self.rows and not replace:
                result = self.rows[key]
        self.rows.update(dict.fromkeys(keys, result))
        return result


@dataclass
class Scripted:
    """Steps that do nothing but note what was asked; `files` is what a content digest covers."""

    files: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    during: Callable[[Vertex], None] = lambda vertex: None
    unpacked: bool = False
    stopped: threading.Event = field(default_factory=threading.Event)
    count: int = 0

    def content(self, vertex: Vertex, source: Input, result: Result) -> Digest:
        return sha256(self.files.get(source.vertex.name, "").encode())

    def execute(self, vertex: Vertex, inputs: Sequence[Result], number: int) -> Result:
        self.during(vertex)
        self.ran.append(vertex.name)
        self.count += 1
        return Result("", f"snapshot-{id(self)}-{self.count}")

    def ready(self, vertex: Vertex) -> Result | None:
        return Result("base", "unpacked") if self.unpacked else None

    def recalled(self, vertex: Vertex, result: Result) -> None:
        """Nothing was to be said."""

    def stop(self) -> None:
        self.stopped.set()


def run(root: Vertex, command: str, name: str = "") -> Vertex:
    return Vertex(Run((command,), (), "/", ""), (Input(root),), name or command)


def copy(root: Vertex, source: Vertex, name: str = "copy") -> Vertex:
    return Vertex(Copy(("a",), "/a"), (Input(root), Input(source, ("a",))), name)


def base() -> Vertex:
    return Vertex(Base("b", Digest("sha256:" + "0" * 64), LINUX), (), "base")


def solve(
    target: Vertex,
    memory: Remembered,
    steps: Scripted,
    *,
    jobs: int = 2,
    again: frozenset[str] = frozenset(),
) -> tuple[Solution, Collected]:
    sink = Collected()
    solver = Solver(
        memory,
        steps,
        sink,
        jobs=jobs,
        clock=lambda: 0.0,
        no_cache=lambda vertex: vertex.name in again,
    )
    return solver.solve([target]), sink


def test_a_second_build_runs_nothing_and_does_not_need_the_base() -> None:
    memory, first, second = Remembered(), Scripted(), Scripted()
    solve(run(run(base(), "one"), "two"), memory, first)

    solution, sink = solve(run(run(base(), "one"), "two"), memory, second)

    assert (first.ran, second.ran) == (["base", "one", "two"], [])
    assert solution.cached
    assert all(event.cached for event in sink.events if isinstance(event, StepEnded))
    assert sorted(e.name for e in sink.events if isinstance(e, StepStarted)) == [
        "base",
        "one",
        "two",
    ]


def test_a_changed_step_runs_again_with_all_that_follows() -> None:
    memory = Remembered()
    solve(run(run(base(), "one"), "two"), memory, Scripted())
    steps = Scripted()

    solve(run(run(base(), "other"), "two"), memory, steps)

    assert steps.ran == ["base", "other", "two"]


def test_a_copy_of_unchanged_files_from_a_step_that_ran_again_is_cached() -> None:
    memory = Remembered()
    scratch = Vertex(Scratch())
    solve(copy(scratch, run(base(), "make")), memory, Scripted(files={"make": "same"}))
    steps = Scripted(files={"make -j": "same"})

    solve(copy(scratch, run(base(), "make -j")), memory, steps)

    assert steps.ran == ["base", "make -j"]


def test_a_copy_from_the_context_follows_the_content() -> None:
    memory = Remembered()
    local = Vertex(Local(), (), "context")
    scratch = Vertex(Scratch())
    solve(copy(scratch, local), memory, Scripted(files={"context": "1"}))
    same, changed = Scripted(files={"context": "1"}), Scripted(files={"context": "2"})

    solve(copy(scratch, local), memory, same)
    solve(copy(scratch, local), memory, changed)

    assert (same.ran, changed.ran) == ([], ["copy"])


def test_a_step_run_again_on_purpose_takes_its_readers_along() -> None:
    memory = Remembered()
    solve(run(run(base(), "date"), "use"), memory, Scripted())
    steps = Scripted()

    solve(run(run(base(), "date"), "use"), memory, steps, again=frozenset({"date"}))

    assert steps.ran == ["base", "date", "use"]


def test_independent_steps_run_at_once() -> None:
    both = threading.Barrier(2, timeout=20)

    def meet(vertex: Vertex) -> None:
        if vertex.name in ("left", "right"):
            both.wait()

    left, right = run(base(), "left"), run(base(), "right")
    steps = Scripted(during=meet)

    solve(copy(left, right), Remembered(), steps)

    assert set(steps.ran) >= {"left", "right", "copy"}


def test_equal_steps_of_two_stages_run_once() -> None:
    steps = Scripted()
    root = base()

    _, sink = solve(copy(run(root, "make", "one"), run(root, "make", "two")), Remembered(), steps)

    assert sorted(steps.ran) in (["base", "copy", "one"], ["base", "copy", "two"])
    assert [e.cached for e in sink.events if isinstance(e, StepEnded)].count(True) == 1


def test_one_job_at_a_time_never_runs_two() -> None:
    running = threading.Semaphore(1)

    def alone(vertex: Vertex) -> None:
        assert running.acquire(blocking=False)
        running.release()

    solve(copy(run(base(), "a"), run(base(), "b")), Remembered(), Scripted(during=alone), jobs=1)


def test_the_first_failure_stops_the_others_and_is_what_is_raised() -> None:
    steps = Scripted()
    waiting = threading.Event()

    def act(vertex: Vertex) -> None:
        if vertex.name == "fails":
            waiting.wait(20)
            raise ValueError("no")
        if vertex.name == "waits":
            waiting.set()
            steps.stopped.wait(20)
            raise Cancelled

    steps.during = act
    sink = Collected()
    solver = Solver(Remembered(), steps, sink, jobs=2, clock=lambda: 0.0)

    with pytest.raises(ValueError, match="no"):
        solver.solve([copy(run(Vertex(Scratch()), "fails"), run(Vertex(Scratch()), "waits"))])

    ended = [event for event in sink.events if isinstance(event, StepEnded)]
    assert sorted((e.error or "", e.cancelled) for e in ended) == [("", True), ("no", False)]


def test_a_failed_step_is_not_remembered() -> None:
    memory = Remembered()

    def fail(vertex: Vertex) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        solve(run(Vertex(Scratch()), "x"), memory, Scripted(during=fail))

    assert memory.rows == {}


def test_a_chain_of_thousands_of_steps_does_not_recurse() -> None:
    vertex = Vertex(Scratch())
    for number in range(3000):
        vertex = run(vertex, str(number))
    steps = Scripted()

    solve(vertex, Remembered(), steps)

    assert len(steps.ran) == 3000
