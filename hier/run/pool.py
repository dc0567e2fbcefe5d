"""Jobs side by side in processes of their own, none of which outlives the command."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from tqdm import tqdm

from hier.envs.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")

WORKERS = 2  # trainings at a time, one torch thread each: the best use of two cores


class JobsFailedError(UserError, RuntimeError):
    """Some of several jobs failed; the message names them. The others went on to their end."""


def side_by_side(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    names: Sequence[str] = (),
    workers: int = WORKERS,
    watch: Callable[[], None] | None = None,
) -> list[Result]:
    """Run jobs in processes of their own, with one torch thread each.

    A process that is killed ends its own job alone. Ctrl-C ends all: trainings save a checkpoint.

    Args:
        function: importable, from a job to its result, such as a row.
        jobs: what it is called with.
        names: of the jobs, for errors; numbers when omitted.
        workers: jobs at a time.
        watch: called about once a second.

    Returns:
        The results in the order of the jobs.

    Raises:
        JobsFailedError: after the last job, if some ended by a UserError or were killed.
    """
    waiting, results, failures = deque(range(len(jobs))), dict[int, Result](), list[str]()
    all_workers, idle = list[_Worker](), list[_Worker]()
    running: dict[Future[Result], tuple[int, _Worker]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                if not idle:
                    idle.append(_Worker())
                    all_workers.append(idle[-1])
                number, worker = waiting.popleft(), idle.pop()
                running[worker.submit(function, jobs[number])] = number, worker
            done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in done:
                number, worker = running.pop(future)
                name = names[number] if names else f"job {number}"
                try:
                    results[number] = future.result()
                except BrokenProcessPool:
                    failures.append(f"{name}: its process was killed (out of memory?)")
                    continue  # without this worker
                except UserError as error:
                    failures.append(f"{name}: {error}")
                idle.append(worker)
            if watch is not None:
                watch()
    except BaseException:  # Ctrl-C, or a bug in a job
        for worker in all_workers:
            worker.end()
        raise
    finally:
        for worker in all_workers:
            worker.pool.shutdown(cancel_futures=True)
    if failures:
        raise JobsFailedError(
            f"{len(failures)} of {len(jobs)} failed, the others' results are kept; "
            + "; ".join(failures)
        )
    return [results[number] for number in range(len(jobs))]


class _Worker:
    """A process for one job after another.

    In a pool of several, one that is killed takes the others' jobs with it.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, mp_context=context, initializer=_prepare)
        self._processes: set[Any] = set()

    def submit(self, function: Callable[[Job], Result], job: Job) -> Future[Result]:
        """Start on a job."""
        before = set(multiprocessing.active_children())
        with _interrupts_held():
            future = self.pool.submit(function, job)
        self._processes |= set(multiprocessing.active_children()) - before
        return future

    def end(self) -> None:
        """Ask the process to end; a training saves a checkpoint first."""
        for process in self._processes:
            process.terminate()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process that starts inside the block does not hear Ctrl-C; its parent hands on SIGTERM.

    A Ctrl-C that comes meanwhile is heard by this process after the block.
    """
    resource_tracker.ensure_running()  # which would undo the block below
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare() -> None:
    # From here on Ctrl-C is ignored instead; trainings listen to it nevertheless.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    import torch

    torch.set_num_threads(1)
    # By default a semaphore, which a killed process would leave behind, with a warning.
    tqdm.set_lock(threading.RLock())
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has ended, also if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    while True:  # the first may only stop a training, which saves a checkpoint
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
