"""An artefact is there completely or not at all."""

from concurrent.futures import Executor
from pathlib import Path

import pytest

from pipeline.config import Execution
from pipeline.errors import StoreError
from pipeline.run.executors import open_executor, run_all
from pipeline.run.store import MARKER, Store, digest, file_digest, publish


def write_two(folder: Path) -> None:
    (folder / "a.txt").write_text("alpha")
    (folder / "b.txt").write_text("beta")


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_an_artefact_is_found_again_with_its_digests(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.has("detect", "k" * 64)
    folder = store.put("detect", "k" * 64, write_two)
    assert store.has("detect", "k" * 64)
    assert store.files("detect", "k" * 64) == {n: file_digest(folder / n) for n in ("a.txt", "b.txt")}


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fails(folder: Path) -> None:
        (folder / "a.txt").write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.put("detect", "key", fails)
    assert list((tmp_path / "detect").iterdir()) == []
    assert not store.has("detect", "key")


def test_what_a_killed_run_left_is_swept_and_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    killed = tmp_path / "detect" / ".part-dead"
    killed.mkdir(parents=True)
    (killed / "a.txt").write_text("half")
    unmarked = store.folder("detect", "key")
    unmarked.mkdir()
    (unmarked / "a.txt").write_text("half")
    assert not store.has("detect", "key")
    assert store.sweep() == 1
    store.put("detect", "key", write_two)
    assert (unmarked / "a.txt").read_text() == "alpha"
    assert (unmarked / MARKER).is_file()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="Choose another --out"):
        Store(tmp_path / "file").put("detect", "key", write_two)


def test_publish_copies_only_what_differs(tmp_path: Path) -> None:
    source, target = tmp_path / "s.txt", tmp_path / "deep" / "t.txt"
    source.write_text("one")
    assert publish(source, target)
    before = target.stat().st_mtime_ns
    assert not publish(source, target)
    assert target.stat().st_mtime_ns == before
    source.write_text("two")
    assert publish(source, target)
    assert target.read_text() == "two"
    assert [p.name for p in target.parent.iterdir()] == ["t.txt"]


def _double(value: int) -> int:
    if value < 0:
        raise StoreError("negative")
    return 2 * value


@pytest.mark.parametrize("kind", ["serial", "threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_every_executor_gives_the_same_results_and_passes_errors_on(kind: str) -> None:
    settings = Execution.model_validate({"executor": kind, "workers": 2})
    with open_executor(settings) as executor:
        assert executor is None or isinstance(executor, Executor)
        assert dict(run_all(executor, _double, range(5))) == {i: 2 * i for i in range(5)}
        with pytest.raises(StoreError, match="negative"):
            dict(run_all(executor, _double, [1, -1]))
