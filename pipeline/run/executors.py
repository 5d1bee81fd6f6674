"""Who does the work: any `concurrent.futures.Executor`, or nobody but this process.

Processes are spawned, never forked: GDAL and OpenMP do not survive a fork (rasterio#2979). The serial path has no pool, so
a debugger and a traceback work as they should.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

from pipeline.config import Execution
from pipeline.errors import ConfigError

_T = TypeVar("_T")
_R = TypeVar("_R")


@contextmanager
def open_executor(settings: Execution) -> Iterator[Executor | None]:
    """The executor that the settings ask for, closed afterwards; None means serial.

    Raises:
        ConfigError: ``dask`` is asked for and dask.distributed is not installed.
    """
    if settings.executor == "serial":
        yield None
    elif settings.executor == "threads":
        with ThreadPoolExecutor(settings.workers) as pool:
            yield pool
    elif settings.executor == "processes":
        with ProcessPoolExecutor(settings.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool
    else:
        with _dask_client(settings.workers) as client:
            yield client.get_executor()


def _dask_client(workers: int) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError("execution.executor: dask is not installed", "Install it with `pip install 'yardwatch[cluster]'`.") from error
    return Client(n_workers=workers, threads_per_worker=1, dashboard_address=None)


def run_all(executor: Executor | None, work: Callable[[_T], _R], items: Sequence[_T]) -> Iterator[tuple[_T, _R]]:
    """Do `work` on each item and yield (item, result) as they finish; the first error stops what has not begun."""
    if executor is None:
        for item in items:
            yield item, work(item)
        return
    futures: dict[Future[_R], _T] = {executor.submit(work, item): item for item in items}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()
