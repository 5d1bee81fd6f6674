"""Model cards: what a weight file is, where it may be used, how well it does. One YAML file beside the weights."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from models.calibration import Calibration
from models.detector import CLASSES, GsdRange
from pipeline.errors import ModelError

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True, slots=True)
class Card:
    """One shipped or trained head.

    Attributes:
        name: name and version.
        weights: the safetensors file.
        sha256: its digest.
        classes: class names in the order of the heatmaps; none where a network finds no objects (`find_helpers`).
        subtypes: number of subtype logits.
        gsd: accepted native GSD and working GSD.
        thresholds: shipped score threshold per class.
        calibration: measured precision and recall per class and GSD bin.
        text: everything else: data, licence, figures, failures.
    """

    name: str
    weights: Path
    sha256: str
    classes: tuple[str, ...]
    subtypes: int
    gsd: GsdRange
    thresholds: dict[str, float]
    calibration: tuple[Calibration, ...]
    text: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Card":
        """Read a card.

        Raises:
            ModelError: the card is missing, malformed, or names a class that yardwatch does not know.
        """
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
            card = cls(
                name=data["name"],
                weights=path.parent / data["weights"],
                sha256=data["sha256"],
                classes=tuple(data["classes"]),
                subtypes=int(data["subtypes"]),
                gsd=GsdRange(float(data["native_gsd_m"][0]), float(data["native_gsd_m"][1]), float(data["working_gsd_m"])),
                thresholds={k: float(v) for k, v in data["thresholds"].items()},
                calibration=tuple(Calibration(**row) for row in data.get("calibration", [])),
                text={k: data[k] for k in ("data", "figures", "fails", "licence") if k in data},
            )
        except OSError as error:
            raise ModelError(f"{path}: no such model card", "A card lies beside its weights; see models/weights.") from error
        except (yaml.YAMLError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(f"{path}: the model card is malformed ({error})", "Compare it with a shipped card.") from error
        unknown = set(card.classes) - set(CLASSES)
        if unknown:
            raise ModelError(f"{path}: unknown classes {sorted(unknown)}", f"Known are {', '.join(CLASSES)}.")
        return card

    def verify(self) -> None:
        """Compare the weight file with the card.

        Raises:
            ModelError: the file is missing or is not the one the card describes.
        """
        if not self.weights.is_file():
            raise ModelError(f"{self.weights}: the weights are missing", "Restore the file or train it again.")
        found = hashlib.sha256(self.weights.read_bytes()).hexdigest()
        if found != self.sha256:
            raise ModelError(f"{self.weights}: is not the file its card describes (sha256 {found[:12]}...)", "Restore it.")


def find_tracks() -> Card:
    """The card of the network that tells occupied track (`models.occupancy`)."""
    return Card.read(WEIGHTS / "track-1.yaml")


def find_presence() -> Card:
    """The card of the network that tells what is missing in the other look (`models.presence`)."""
    return Card.read(WEIGHTS / "presence-3.yaml")


def find_helpers() -> tuple[Card, ...]:
    """The cards of the networks that find no objects themselves."""
    return find_tracks(), find_presence()


def find(name_or_path: str | Path) -> tuple[Card, ...]:
    """The cards of the detector heads behind a name: ``default`` is every shipped head, ``yard`` the one shipped of all ``yard-N``.

    Raises:
        ModelError: nothing of that name ships, or the file has no card.
    """
    path = Path(name_or_path)
    if path.suffix == ".safetensors":
        return (Card.read(path.with_suffix(".yaml")),)
    heads = {card.name: card for card in map(Card.read, sorted(WEIGHTS.glob("*.yaml"))) if card.classes}
    if name_or_path == "default":
        if not heads:
            raise ModelError(f"{WEIGHTS}: no weights are installed", "Train some with `make train`.")
        return tuple(heads.values())
    known = {name.rpartition("-")[0]: card for name, card in heads.items()} | heads
    if str(name_or_path) not in known:
        names = ", ".join(["default", *known])
        raise ModelError(f"model '{name_or_path}' is not known", f"Shipped are {names}; or give a .safetensors file.")
    return (known[str(name_or_path)],)
