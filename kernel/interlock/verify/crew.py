"""The segments of a journal, shared out to processes, one for each core.

Each looks at one segment after another, ahead of the truth; here they are joined in their order, and what does not
fit is read again. The answer is that of the plain walk: see `guess` for why.
"""

import gc
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized  # noqa: TC003 - what runs alone has no use for two ways
from os import sched_getaffinity
from pathlib import Path

from . import files
from .answer import answer
from .evidence import Evidence, Inputs
from .guess import Found, look
from .joint import join
from .lines import parse
from .report import Report
from .walk import Walk

ALONE_BYTES = 2**25
"""A smaller journal is read here: to start processes would take longer."""

_POLL_S = 0.1
_AHEAD = 2
"""So many segments a process may be ahead of the truth: what was found in them is in memory."""

Progress = Callable[[int], None]
Segment = tuple[Path, int]
"""A segment's file, and how many bytes of it there were when reading began."""

_done: "Synchronized[int] | None" = None


def cores() -> int:
    """Return how many cores there are for this process."""
    return len(sched_getaffinity(0))


def verify_files(
    paths: list[Path], inputs: Inputs, *, jobs: int | None = None, progress: Progress | None = None
) -> Report:
    """Verify the segments of a journal in files.

    Args:
        paths: of its segments, in their order.
        inputs: what was handed in beside it.
        jobs: how many processes share in it; None for one a core, or none at all for a small journal.
        progress: called now and then with how many bytes of the files have been read.

    Raises:
        OSError: a file can't be read.
        ValueError: a key or a certificate that the auditor gave is none.
    """
    evidence = Evidence(inputs)
    walk = Walk(evidence)
    segments = [(path, path.stat().st_size) for path in paths]
    if jobs is None:
        jobs = cores() if sum(size for _, size in segments) > ALONE_BYTES else 1
    if jobs > 1 and len(segments) > 1:
        _share(walk, segments, min(jobs, len(segments)), progress)
    else:
        walk.progress = progress
        walk.read((path.name, files.chunks(path, size)) for path, size in segments)
    walk.finish()
    return answer(walk, evidence, inputs)


def _share(walk: Walk, segments: list[Segment], jobs: int, progress: Progress | None) -> None:
    context = get_context("spawn")  # a fork would copy the locks of whatever threads the caller has
    done = context.Value("Q", 0)
    wanted = walk.evidence.wanted if walk.evidence else []
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(done,)) as pool:
        waiting: deque[tuple[Segment, Future[Found | None]]] = deque()
        coming = iter(segments)
        remember = _remembered(segments[0][0])
        try:
            while True:
                for segment in coming:
                    waiting.append((segment, _submit(pool, segment, remember, wanted)))
                    if len(waiting) >= jobs * (1 + _AHEAD):
                        break
                if not waiting:
                    return
                (path, size), future = waiting.popleft()
                found = _result(future, done, progress)
                if not walk.enter(path.name):
                    return
                if (found is None or not join(walk, found)) and not walk.segment(files.chunks(path, size)):
                    return
                remember = walk.monitor.orders.reach
        finally:
            for _, future in waiting:
                future.cancel()


def _submit(pool: ProcessPoolExecutor, segment: Segment, remember: int, wanted: list[int]) -> "Future[Found | None]":
    try:
        return pool.submit(_look, *segment, remember, wanted)
    except BrokenProcessPool:
        nothing: Future[Found | None] = Future()
        nothing.set_result(None)
        return nothing


def _result(future: "Future[Found | None]", done: "Synchronized[int]", progress: Progress | None) -> Found | None:
    """Wait for what was found; None if the process could not tell."""
    while True:
        with suppress(NotYet):
            try:
                return future.result(_POLL_S if progress else None)
            except (BrokenProcessPool, OSError):
                return None  # whatever it was is met again here, where it can be told
        if progress:
            progress(done.value)


def _remembered(path: Path) -> int:
    """Return how many order ids the first run of a journal remembers, as far as that can be seen."""
    lines = next(files.chunks(path), b"").split(b"\n")[:-1]
    record = parse(lines[1]) if len(lines) > 1 else ""
    return 0 if isinstance(record, str) else record.get("remember", 0)


def _start(done: "Synchronized[int]") -> None:
    global _done  # noqa: PLW0603 - a process of the pool has nothing else that lasts
    _done = done
    gc.disable()  # records hold no cycles, and there are very many of them


def _look(path: Path, size: int, remember: int, wanted: list[int]) -> Found | None:
    return look(path.name, _counted(files.chunks(path, size)), remember, wanted)


def _counted(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        if _done is not None:
            with _done.get_lock():
                _done.value += len(chunk)
