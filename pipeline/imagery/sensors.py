"""What a product's name declares: the last source of GSD and radiometry, after file and run.

Names are matched whole, never by their beginning: "WorldView-3" stands for 11-bit numbers, "WorldView-3 AComp" for reflectance.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.config import SceneMetadata


@dataclass(frozen=True, slots=True)
class Profile:
    """One product.

    Attributes:
        names: how `sensor` may be written; case, spaces, hyphens and underscores do not matter.
        gsd_m: metres per pixel of its orthorectified product, None where products differ (METHOD 3).
        scale: 16-bit number to reflectance-like units, None where the name alone does not tell.
        offset_from: from this day on `offset` has to be declared too, since products differ in it.
    """

    names: tuple[str, ...]
    gsd_m: float | None
    scale: float | None
    offset_from: datetime | None = None


PROFILES = (
    Profile(("PlanetScope SR", "PlanetScope analytic_sr"), 3.0, 1e-4),  # surface reflectance x 10 000 (Planet product spec)
    Profile(("PlanetScope", "PlanetScope visual"), 3.0, None),  # 16-bit "analytic" is radiance with its own coefficients
    Profile(("SkySat SR", "SkySat analytic_sr"), 0.5, 1e-4),
    Profile(("SkySat", "SkySat visual"), 0.5, None),
    Profile(("RapidEye", "RapidEye visual"), 5.0, None),
    # Numbers x 10 000; since processing baseline 04.00 (25 January 2022) they carry +1000 unless "harmonised".
    Profile(("Sentinel-2", "Sentinel-2A", "Sentinel-2B", "Sentinel-2C"), 10.0, 1e-4, datetime(2022, 1, 25, tzinfo=UTC)),
    Profile(("WorldView-1", "WorldView-2", "WorldView-3", "WorldView-4", "GeoEye-1"), None, 1 / 2047),  # 11 bits in 16
    Profile(("Pleiades", "Pleiades-1A", "Pleiades-1B", "Pleiades Neo"), None, 1 / 4095),  # 12 bits in 16
)


def profile(sensor: str | None) -> Profile | None:
    """The profile of a product, or None for one that is not in the table."""
    wanted = _plain(sensor or "")
    return next((p for p in PROFILES if wanted in {_plain(n) for n in p.names}), None)


def declared_by_profile(sensor: str | None, dtype: str, *, georeferenced: bool) -> SceneMetadata | None:
    """GSD of an image without georeference and scale of a 16-bit one, as its product's name declares them."""
    found = profile(sensor)
    if found is None:
        return None
    return SceneMetadata(
        gsd_m=None if georeferenced else found.gsd_m,
        scale=found.scale if dtype in {"uint16", "int16"} else None,
    )


def offset_must_be_declared(sensor: str | None, acquired: datetime | None) -> bool:
    """Whether the product's numbers carry an offset in some deliveries and not in others."""
    found = profile(sensor)
    return found is not None and found.offset_from is not None and (acquired is None or acquired >= found.offset_from)


def _plain(name: str) -> str:
    return name.lower().translate(str.maketrans("é", "e", " -_"))
