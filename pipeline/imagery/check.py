"""Whether an image holds what its header promises, found out before any stage starts."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import UnreadableError
from pipeline.grid import Window
from pipeline.imagery.files import opened
from pipeline.imagery.resample import STRIP_PX
from pipeline.imagery.scene import Scene
from pipeline.imagery.tiles import read_open


def check_pixels(scene: Scene) -> None:
    """Check that a scene can be read to its end and shows something.

    Of a TIFF every block must lie inside the file; a PNG's checksums must hold, since GDAL reads a damaged one without complaint;
    other formats are decoded once. Strips are read from the middle outwards until a valid pixel is found: a good TIFF costs one.

    Raises:
        UnreadableError: truncated, damaged, or not one valid pixel.
    """
    with opened(scene.path) as source:
        if source.driver == "GTiff":
            _blocks_inside(scene.path, source)
        if source.driver == "PNG":
            _chunks_intact(scene.path)
        rows = max(1, STRIP_PX // scene.grid.width)
        starts = sorted(range(0, scene.grid.height, rows), key=lambda y: abs(y + rows / 2 - scene.grid.height / 2))
        if source.driver != "GTiff":
            starts.sort()  # decoders of whole pictures go from top to bottom only
        seen = False
        for y in starts:
            window = Window(0, y, scene.grid.width, min(y + rows, scene.grid.height))
            seen = seen or bool(np.any(read_open(source, scene, window).valid))
            if seen and source.driver == "GTiff":
                return
    if not seen:
        raise UnreadableError(f"{scene.path}: has no valid pixel", "Remove it, or correct `nodata`.")


def _blocks_inside(path: Path, source: Any) -> None:
    size = path.stat().st_size
    height, width = source.block_shapes[0]
    bands = 1 if source.interleaving and source.interleaving.name == "pixel" else source.count
    for band in range(1, bands + 1):
        for j in range(-(-source.height // height)):
            for i in range(-(-source.width // width)):
                offset = source.get_tag_item(f"BLOCK_OFFSET_{i}_{j}", "TIFF", bidx=band)
                length = source.get_tag_item(f"BLOCK_SIZE_{i}_{j}", "TIFF", bidx=band)
                if offset is not None and length is not None and int(offset) + int(length) > size:
                    raise UnreadableError(
                        f"{path}: is truncated: its blocks end at byte {int(offset) + int(length)}, the file at {size}",
                        "Fetch the file again.",
                    )


def _chunks_intact(path: Path) -> None:
    """Walk the chunks of a PNG (length, type, data, CRC-32 of type and data; ISO/IEC 15948, 5.3) to its end."""
    with path.open("rb") as stream:
        stream.seek(8)
        while True:
            head = stream.read(8)
            length = int.from_bytes(head[:4], "big")
            body = stream.read(length) if length <= path.stat().st_size else b""
            checksum = stream.read(4)
            if len(checksum) < 4 or zlib.crc32(head[4:] + body) != int.from_bytes(checksum, "big"):
                raise UnreadableError(f"{path}: is truncated or damaged: a checksum fails", "Fetch the file again.")
            if head[4:] == b"IEND":
                return
