"""Content-addressed artefacts: same input, same bytes; kill it anywhere, run again, get the same files.

An artefact is a folder ``<root>/<stage>/<key>/`` whose key is a digest of everything the stage depends on. It is written
under a temporary name, renamed, and its marker file comes last, so a folder with a marker is complete and a folder
without one is rubbish from an interrupted run.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError

MARKER = "done.json"


def digest(value: Any) -> str:
    """SHA-256 of a JSON-able value in canonical form (sorted keys, no spaces), hexadecimal."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Store:
    """Artefacts below one folder.

    Attributes:
        root: the folder; made on first use.
    """

    root: Path

    def folder(self, stage: str, key: str) -> Path:
        """Where an artefact lies, whether it exists or not. 20 hex digits keep paths short and collisions out of reach."""
        return self.root / stage / key[:20]

    def has(self, stage: str, key: str) -> bool:
        """Whether the artefact is there and complete."""
        return (self.folder(stage, key) / MARKER).is_file()

    def put(self, stage: str, key: str, write: Callable[[Path], None]) -> Path:
        """Make an artefact: `write` fills a temporary folder, which is then renamed into place.

        Raises:
            StoreError: the folder cannot be written.
        """
        final = self.folder(stage, key)
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".part-", dir=final.parent))
        except OSError as error:
            raise StoreError(f"{final.parent}: cannot be written ({error.strerror})", "Choose another --out.") from error
        try:
            write(temporary)
            files = {p.name: file_digest(p) for p in sorted(temporary.iterdir())}
            (temporary / MARKER).write_text(json.dumps({"key": key, "files": files}, indent=1), encoding="utf-8")
            if final.exists():  # no marker: rubbish of an interrupted run; or a twin finished first, with the same bytes
                shutil.rmtree(final)
            temporary.replace(final)
        finally:  # gone already when it was renamed
            shutil.rmtree(temporary, ignore_errors=True)
        return final

    def files(self, stage: str, key: str) -> Mapping[str, str]:
        """Name and SHA-256 of each file of a complete artefact."""
        marker = json.loads((self.folder(stage, key) / MARKER).read_text(encoding="utf-8"))
        found: dict[str, str] = marker["files"]
        return found

    def sweep(self) -> int:
        """Remove what interrupted runs left behind; returns the number of folders removed."""
        rubbish = [p for p in self.root.glob("*/.part-*") if p.is_dir()]
        for folder in rubbish:
            shutil.rmtree(folder, ignore_errors=True)
        return len(rubbish)


def publish(source: Path, target: Path) -> bool:
    """Copy a file out of the store atomically; returns False when the target already has the same bytes.

    Raises:
        StoreError: the target cannot be written.
    """
    try:
        if target.is_file() and target.stat().st_size == source.stat().st_size and file_digest(target) == file_digest(source):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".part-", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        shutil.copyfile(source, temporary)
        temporary.chmod(0o644)  # mkstemp makes files private; a result is meant to be read
        temporary.replace(target)
    except OSError as error:
        raise StoreError(f"{target}: cannot be written ({error.strerror})", "Choose another --out.") from error
    return True
