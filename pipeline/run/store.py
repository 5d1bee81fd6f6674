"""Content-addressed artefacts: same input, same bytes; kill it anywhere, run again, get the same files.

An artefact is a folder ``<root>/<stage>/<key>/`` whose key is a digest of everything the stage depends on. It is written
under a temporary name, renamed, and its marker file comes last, so a folder with a marker is complete and a folder
without one is rubbish from an interrupted run. Two runs may share a store: they write the same bytes, and the first one's stay.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.errors import StoreError
from pipeline.imagery.files import sha256
from pipeline.review import export

MARKER = "done.json"


def digest(value: Any) -> str:
    """SHA-256 of a JSON-able value in canonical form (sorted keys, no spaces), hexadecimal."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


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
            with TemporaryDirectory(prefix=export.part_prefix(), dir=final.parent, ignore_cleanup_errors=True) as name:
                temporary = Path(name)
                write(temporary)
                files = {p.name: sha256(p) for p in sorted(temporary.iterdir())}
                (temporary / MARKER).write_text(json.dumps({"key": key, "files": files}, indent=1), encoding="utf-8")
                if not self.has(stage, key):
                    shutil.rmtree(final, ignore_errors=True)  # no marker: rubbish of an interrupted run
                    temporary.replace(final)
        except OSError as error:
            if not self.has(stage, key):  # otherwise a twin was faster, with the same bytes
                raise StoreError(f"{final.parent}: cannot be written ({error.strerror or error})", "Choose another --out.") from error
        return final

    def files(self, stage: str, key: str) -> Mapping[str, str]:
        """Name and SHA-256 of each file of a complete artefact."""
        marker = json.loads((self.folder(stage, key) / MARKER).read_text(encoding="utf-8"))
        found: dict[str, str] = marker["files"]
        return found

    def sweep(self) -> int:
        """Remove what interrupted runs left behind, but not what another run is writing; returns the number of folders removed."""
        return export.sweep(self.root.glob(f"*/{export.PART}*"))


@dataclass(frozen=True, slots=True)
class Output:
    """The published files of one run: what was written through it, and nothing else, is listed.

    Attributes:
        root: the run's output folder.
        files: SHA-256 of every file of this publication, by its path below `root`.
    """

    root: Path
    files: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, content: bytes | str | Path | Callable[[Path], None]) -> None:
        """As `export.write`.

        Raises:
            StoreError: the file cannot be written.
        """
        self.files[name] = sha256(export.write(self.root / name, content))

    def sweep(self) -> int:
        """Remove the files that an interrupted publication left half written; returns their number."""
        return export.sweep(p for deep in ("", "*/", "*/*/") for p in self.root.glob(f"{deep}{export.PART}*"))

    def earlier(self) -> dict[str, Any]:
        """The manifest of what was published here last; empty without one."""
        try:
            found = json.loads((self.root / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def prune(self, earlier: Mapping[str, str]) -> None:
        """Remove what an earlier publication wrote and this one did not; a file that was changed since is no longer ours.

        Raises:
            StoreError: the folder cannot be written.
        """
        try:
            for name in earlier.keys() - self.files.keys():
                path = self.root / name
                inside = path.resolve().is_relative_to(self.root.resolve())
                if inside and path.is_file() and sha256(path) == earlier[name]:
                    path.unlink()
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be written ({error.strerror or error})", "Choose another --out.") from error
