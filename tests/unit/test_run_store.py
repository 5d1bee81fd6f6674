"""An artefact is there completely or not at all; what is published is listed, and only that is removed."""

import os
import subprocess
import sys
from concurrent.futures import Executor
from pathlib import Path

import pytest

from pipeline.config import Execution
from pipeline.errors import StoreError
from pipeline.imagery.files import sha256
from pipeline.review import export
from pipeline.run.executors import open_executor, run_all
from pipeline.run.store import MARKER, Output, Store, digest


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
    assert store.files("detect", "k" * 64) == {n: sha256(folder / n) for n in ("a.txt", "b.txt")}


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


def test_output_leaves_alone_what_says_the_same_and_removes_only_its_own(tmp_path: Path) -> None:
    source = tmp_path / "s.txt"
    source.write_text("one")
    first = Output(tmp_path / "out")
    for name, content in (("deep/copy.txt", source), ("text.txt", "a"), ("gone.txt", "b"), ("edited.txt", "c")):
        first.write(name, content)
    assert first.files["deep/copy.txt"] == sha256(source)
    kept = {name: (first.root / name).stat().st_mtime_ns for name in ("deep/copy.txt", "text.txt")}
    (first.root / "edited.txt").write_text("by hand")
    (first.root / "notes.txt").write_text("not ours")
    second = Output(tmp_path / "out")
    second.write("deep/copy.txt", source)
    second.write("text.txt", "a")
    second.prune(first.files | {"../s.txt": sha256(source)})
    assert {name: (first.root / name).stat().st_mtime_ns for name in kept} == kept
    left = {str(p.relative_to(second.root)) for p in second.root.rglob("*") if p.is_file()}
    assert left == {"deep/copy.txt", "text.txt", "edited.txt", "notes.txt"}
    assert source.is_file()


def test_a_file_that_fails_half_way_leaves_neither_itself_nor_a_part(tmp_path: Path) -> None:
    def fails(path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export.write(tmp_path / "a.txt", fails)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"detect: cannot be written \(No space left"):
        Store(tmp_path).put("detect", "key", full)


def test_a_twin_that_is_faster_is_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def meanwhile(folder: Path) -> None:
        write_two(folder)
        if not store.has("detect", "key"):
            store.put("detect", "key", write_two)
            inodes.append((store.folder("detect", "key")).stat().st_ino)

    inodes: list[int] = []
    assert store.put("detect", "key", meanwhile).stat().st_ino == inodes[0]


def test_what_a_living_process_is_writing_is_not_swept(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    for pid in (os.getpid(), dead.pid):
        (tmp_path / "detect" / f".part-{pid}-abc").mkdir(parents=True)
    assert Store(tmp_path).sweep() == 1
    assert [p.name for p in (tmp_path / "detect").iterdir()] == [f".part-{os.getpid()}-abc"]


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
