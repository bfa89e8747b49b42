"""Which steps run, in what order, and which need not.

A vertex is settled once all its inputs are: its key is made of their results, memory is asked,
and only on a miss the step is carried out. Vertices that do not wait for each other run at once,
in up to `jobs` threads. The first failure stops everything that still runs.

Pure but for its two seams, `Memory` and `Steps`, and the threads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from buildkit_py.core.data import dataclass, field, replace
from buildkit_py.core.digest import Digest
from buildkit_py.core.events import Sink, StepEnded, StepStarted
from buildkit_py.core.threads import join, signals_held, start_thread
from buildkit_py.graph.keys import CacheKey, cache_key, definition
from buildkit_py.graph.ops import Base, Inline, Local, Run, Scratch
from buildkit_py.graph.vertex import Input, Vertex


@dataclass(frozen=True, slots=True)
class Result:
    """What a step made.

    identity: what later keys are built on
    snapshot: the file system, or None for the empty one and for what is not one
    created: when it was made, RFC 3339
    """

    identity: str
    snapshot: str | None = None
    created: str = ""


class Memory(Protocol):
    """Results of earlier builds, by key. Finds only what still exists."""

    def find(self, key: CacheKey) -> Result | None: ...

    def remember(
        self, keys: Sequence[CacheKey], result: Result, *, replace: bool = False
    ) -> Result:
        """Keep a result under all the keys; return the one that another process kept first.

        replace: the step ran again on purpose, so this result wins
        """
        ...


class Steps(Protocol):
    """How steps are carried out."""

    def content(self, vertex: Vertex, source: Input, result: Result) -> Digest:
        """Return the digest of the files that `source.select`, an input of `vertex`, names."""
        ...

    def execute(self, vertex: Vertex, inputs: Sequence[Result], number: int) -> Result:
        """Carry the step out and return what it made; its identity is the solver's to give.

        number: the step's number, for events
        """
        ...

    def ready(self, vertex: Vertex) -> Result | None:
        """Return the result of a base image whose file system is there already, else None."""
        ...

    def recalled(self, vertex: Vertex, result: Result) -> None:
        """Say again what was to be said when a remembered result was made; may refuse it."""
        ...

    def stop(self) -> None:
        """Make every running `execute` end soon."""
        ...


class Cancelled(Exception):
    """Raised by Steps when `stop` ended it."""


@dataclass(slots=True)
class _Task:
    vertex: Vertex
    waits: set[int]
    readers: list[int] = field(default_factory=list)
    result: Result | None = None
    number: int = 0
    pending_base: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class _Claim:
    """A step that is being carried out; result is None until then, and when it failed."""

    ended: threading.Event = field(default_factory=threading.Event)
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class Solution:
    """results: by vertex, for all that were asked for and all they needed
    cached: whether every step came from memory
    """

    results: dict[Vertex, Result]
    cached: bool


class Solver:
    """Settles the vertices of one build.

    jobs: steps to run at once
    no_cache: asked for each vertex; True runs it again, whatever memory has
    clock: seconds, for events only
    """

    def __init__(
        self,
        memory: Memory,
        steps: Steps,
        sink: Sink,
        *,
        jobs: int,
        clock: Callable[[], float],
        no_cache: Callable[[Vertex], bool] = lambda vertex: False,
    ) -> None:
        self.memory = memory
        self.steps = steps
        self.sink = sink
        self.jobs = max(jobs, 1)
        self.clock = clock
        self.no_cache = no_cache
        self._tasks: list[_Task] = []
        self._index: dict[int, int] = {}
        self._ready: deque[int] = deque()
        self._left = 0
        self._numbers = 0
        self._claims: dict[CacheKey, _Claim] = {}
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._cached = True

    def solve(self, targets: Sequence[Vertex], first_number: int = 1) -> Solution:
        """Settle `targets` and all they need. Raises what the first failing step raised."""
        self._numbers = first_number - 1
        for target in targets:
            self._add(target)
        self._left = len(self._tasks)
        self._ready.extend(at for at, task in enumerate(self._tasks) if not task.waits)
        workers: list[threading.Thread] = []
        try:
            # A signal must not come between the start of a thread and our knowing it.
            with signals_held():
                numbers = range(min(self.jobs, max(self._left, 1)))
                workers.extend(start_thread(self._work, f"step-{n}") for n in numbers)
            with self._changed:
                while self._left and self._failure is None:
                    self._changed.wait()
        except BaseException as interrupt:
            self._fail(interrupt)
        for worker in workers:
            try:
                join(worker)
            except BaseException as interrupt:
                self._fail(interrupt)
        if self._failure is not None:
            raise self._failure
        for task in self._tasks:
            if task.pending_base:
                self._announce(task)
                self.sink.emit(StepEnded(task.number, cached=True))
        results = {task.vertex: task.result for task in self._tasks if task.result is not None}
        return Solution(results, self._cached)

    def cancel(self) -> None:
        """Make `solve` raise Cancelled as soon as what runs has ended. From any thread."""
        self._fail(Cancelled())

    def _add(self, target: Vertex) -> int:
        """Add a vertex and what it needs, inputs first, without recursion."""
        stack: list[tuple[Vertex, int]] = [(target, 0)]
        while stack:
            vertex, at = stack.pop()
            if id(vertex) in self._index:
                continue
            if at < len(vertex.inputs):
                stack.append((vertex, at + 1))
                stack.append((vertex.inputs[at].vertex, 0))
                continue
            number = len(self._tasks)
            waits = {self._index[id(each.vertex)] for each in vertex.inputs}
            self._tasks.append(_Task(vertex, waits))
            self._index[id(vertex)] = number
            for each in waits:
                self._tasks[each].readers.append(number)
        return self._index[id(target)]

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._ready and self._left and self._failure is None:
                    self._changed.wait()
                if not self._left or self._failure is not None:
                    return
                task = self._tasks[self._ready.popleft()]
            try:
                result = self._settle(task)
            except BaseException as error:
                self._fail(error)
                return
            with self._changed:
                task.result = result
                at = self._index[id(task.vertex)]
                for reader in task.readers:
                    self._tasks[reader].waits.discard(at)
                    if not self._tasks[reader].waits:
                        self._ready.append(reader)
                self._left -= 1
                # The next one is this thread's own; the others need not wake for it.
                if not self._left or len(self._ready) > 1:
                    self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            # A step that was stopped because of the first failure is not a failure itself.
            if self._failure is None:
                self._failure = error
            self._changed.notify_all()
        self.steps.stop()

    def _settle(self, task: _Task) -> Result:
        vertex = task.vertex
        match vertex.op:
            case Scratch() | Inline():
                return Result(definition(vertex.op))
            case Local():
                return Result("")
            case Base():
                return self._settle_base(task)
            case _:
                return self._settle_step(task)

    def _settle_step(self, task: _Task) -> Result:
        vertex = task.vertex
        definition_digest = definition(vertex.op)
        inputs = [self._result(each) for each in vertex.inputs]
        keys: list[CacheKey] = []
        rerun = self.no_cache(vertex)
        if all(result.identity for result in inputs):
            keys.append(cache_key(definition_digest, [result.identity for result in inputs]))
            if not rerun and (found := self.memory.find(keys[0])) is not None:
                return self._cached_step(task, found)
        if any(each.select is not None for each in vertex.inputs):
            read = [
                result.identity if each.select is None else self._content(vertex, each)
                for each, result in zip(vertex.inputs, inputs, strict=True)
            ]
            keys.append(cache_key(definition_digest, read))
            if not rerun and (found := self.memory.find(keys[-1])) is not None:
                return self._cached_step(task, self.memory.remember(keys, found))
        with self._changed:
            claim = self._claims.get(keys[-1])
            mine = claim is None
            if claim is None:
                claim = self._claims[keys[-1]] = _Claim()
        if not mine:
            # The same step of another stage is running: its result serves both.
            claim.ended.wait()
            if claim.result is None:
                raise Cancelled
            return self._cached_step(task, claim.result)
        try:
            claim.result = self._make(task, definition_digest, keys, rerun=rerun)
            return claim.result
        finally:
            claim.ended.set()

    def _make(
        self, task: _Task, definition_digest: Digest, keys: Sequence[CacheKey], *, rerun: bool
    ) -> Result:
        """Carry a step out, and remember what it made."""
        vertex = task.vertex
        inputs = [self._materialise(each) for each in vertex.inputs]
        self._announce(task)
        self._cached = False
        made = self._execute(task, inputs)
        identity = keys[-1]
        if isinstance(vertex.op, Run):
            # What a program makes may differ each time: its readers must see that it ran again.
            identity = cache_key(definition_digest, [keys[-1], made.snapshot or ""])
        return self.memory.remember(keys, replace(made, identity=identity), replace=rerun)

    def _execute(self, task: _Task, inputs: Sequence[Result]) -> Result:
        started = self.clock()
        try:
            made = self.steps.execute(task.vertex, inputs, task.number)
        except Cancelled:
            self.sink.emit(StepEnded(task.number, cancelled=True))
            raise
        except BaseException as error:
            self.sink.emit(StepEnded(task.number, error=str(error), seconds=self.clock() - started))
            raise
        self.sink.emit(StepEnded(task.number, seconds=self.clock() - started))
        return made

    def _cached_step(self, task: _Task, found: Result) -> Result:
        self._announce(task)
        self.steps.recalled(task.vertex, found)
        self.sink.emit(StepEnded(task.number, cached=True))
        return found

    def _settle_base(self, task: _Task) -> Result:
        if (ready := self.steps.ready(task.vertex)) is not None:
            return self._cached_step(task, ready)
        task.pending_base = True
        assert isinstance(task.vertex.op, Base)
        return Result(task.vertex.op.manifest)

    def _content(self, vertex: Vertex, source: Input) -> Digest:
        return self.steps.content(vertex, source, self._materialise(source))

    def _materialise(self, source: Input) -> Result:
        """Return an input's result; unpack a base image: only now is it known to be needed."""
        task = self._tasks[self._index[id(source.vertex)]]
        with task.lock:
            if task.pending_base:
                identity = self._result(source).identity
                self._announce(task)
                task.result = replace(self._execute(task, ()), identity=identity)
                task.pending_base = False
        return self._result(source)

    def _result(self, source: Input) -> Result:
        result = self._tasks[self._index[id(source.vertex)]].result
        assert result is not None, "a vertex is settled after its inputs"
        return result

    def _announce(self, task: _Task) -> None:
        with self._changed:
            self._numbers += 1
            task.number = self._numbers
        self.sink.emit(StepStarted(task.number, task.vertex.name))
