"""One batch job from a run file to a report: plan the tasks, make what is missing, publish the results."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from models.card import find, find_tracks
from pipeline.config import Run
from pipeline.errors import StoreError, YardwatchError
from pipeline.imagery.catalog import build_catalog
from pipeline.imagery.place import sees
from pipeline.imagery.scene import Scene
from pipeline.run import stages
from pipeline.run.executors import open_executor, run_all
from pipeline.run.stages import STAGES
from pipeline.run.store import Store, digest
from pipeline.site import Site

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Task:
    """One artefact to be: its stage, what it is called, its key, and how it is made."""

    stage: str
    label: str
    key: str
    make: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class SiteResult:
    """The artefacts of one site.

    Attributes:
        site: the site.
        looks: its scenes in order of time, grouped into looks.
        reference: the scene in whose frame its outlines lie.
        align: scene id -> folder of its alignment to that frame.
        estimate, judge: artefact folders.
        drawn: scene id -> folder of its overlay.
        pairs: (before, after, folder) of every compared pair.
    """

    site: Site
    looks: tuple[tuple[Scene, ...], ...]
    reference: Scene
    align: Mapping[str, Path]
    estimate: Path
    judge: Path
    drawn: Mapping[str, Path]
    pairs: tuple[tuple[Scene, Scene, Path], ...]


@dataclass
class Job:
    """A run in progress. `made` and `reused` count artefacts by stage; `skipped` holds what was left out, with the reason."""

    run: Run
    progress: Progress
    cached_only: bool = False
    made: dict[str, int] = field(default_factory=dict)
    reused: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    artefacts: list[dict[str, Any]] = field(default_factory=list)
    folders: dict[tuple[str, str], Path] = field(default_factory=dict)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """Where artefacts are kept."""
        return Store(self.run.output / "store")

    def perform(self) -> list[SiteResult]:
        """Do everything that is not done yet.

        Raises:
            YardwatchError: a configuration, model or folder that stops the whole job; a bad image is only skipped.
        """
        sites = self.run.load_sites()
        cards = find(self.run.model)
        heads = [(card.name, card.sha256, card.thresholds, asdict(card.gsd)) for card in cards]
        counting = [asdict(row) for card in cards for row in card.calibration], find_tracks().sha256
        catalog = build_catalog(self.run.imagery)
        self.skipped += [(s.name, s.reason) for s in catalog.skipped]
        seen = [s for s in catalog.scenes if not self._embargoed(s)]
        with open_executor(self.run.execution) as executor:
            self.store.sweep()
            self._make(
                "observe",
                executor,
                [self._task("observe", s.id, _facts(s), partial(stages.do_observe, s)) for s in seen],
            )
            seen = [s for s in seen if ("observe", s.id) in self.folders]
            settings = self.run.detection
            tasks = [
                self._task(
                    "detect",
                    s.id,
                    [_facts(s), heads, settings.model_dump()],
                    partial(stages.do_detect, s, self.run.model, settings),
                )
                for s in seen
            ]
            self._make("detect", executor, tasks)
            seen = [s for s in seen if ("detect", s.id) in self.folders]
            return [r for site in sites if (r := self._site(site, [s for s in seen if sees(site, s)], counting, executor))]

    def _embargoed(self, scene: Scene) -> bool:
        days = self.run.review.embargo_days
        if days and scene.time > datetime.now(UTC) - timedelta(days=days):
            self.skipped.append((scene.path.name, f"younger than the embargo of {days} days"))
            return True
        return False

    def _site(self, site: Site, scenes: Sequence[Scene], counting: Any, executor: Executor | None) -> SiteResult | None:
        if not scenes:
            self.skipped.append((site.id, "no usable image shows this site"))
            return None
        reference = next((s for s in scenes if s.id == site.reference), scenes[0])
        align = self._align(site, scenes, reference, executor)
        scenes = [s for s in scenes if s.id in align]
        looks = _group(scenes, self.run.activity.look_hours)
        made = {(stage, s.id): self.folders[stage, s.id] for s in scenes for stage in ("observe", "detect")}
        made |= {("align", name): folder for name, folder in align.items()}
        facts = site.model_dump(mode="json")
        inputs = [facts, counting, [[self._keys_of(site, s) for s in look] for look in looks]]
        work = partial(stages.do_estimate, site, reference, looks, made, self.run.model)
        self._make("estimate", None, [self._task("estimate", site.id, inputs, work)])
        estimate = self.folders["estimate", site.id]
        activity = self.run.activity
        inputs = [self.keys["estimate", site.id], activity.model_dump()]
        self._make("judge", None, [self._task("judge", site.id, inputs, partial(stages.do_judge, estimate, activity))])
        pairs = self._compare(looks, executor)
        drawn = self._draw(site, scenes, reference, made, executor)
        return SiteResult(site, looks, reference, align, estimate, self.folders["judge", site.id], drawn, pairs)

    def _keys_of(self, site: Site, scene: Scene) -> list[str]:
        """Keys of everything that is known of a scene for a site."""
        names = (("observe", scene.id), ("detect", scene.id), ("align", f"{site.id}__{scene.id}"))
        return [self.keys[name] for name in names]

    def _align(self, site: Site, scenes: Sequence[Scene], reference: Scene, executor: Executor | None) -> dict[str, Path]:
        """Scene id -> folder of its alignment to the site's frame."""
        change = self.run.change
        tasks = [
            self._task(
                "align",
                f"{site.id}__{s.id}",
                [_facts(s), _facts(reference), change.max_shift_m],
                partial(stages.do_align, s, reference, change),
            )
            for s in scenes
        ]
        return self._by_scene(site, scenes, "align", executor, tasks)

    def _compare(self, looks: Sequence[Sequence[Scene]], executor: Executor | None) -> tuple[tuple[Scene, Scene, Path], ...]:
        """(before, after, folder) of consecutive looks, each by its first scene."""
        pairs = [(a[0], b[0], f"{a[0].id}__{b[0].id}") for a, b in pairwise(looks)]
        settings = self.run.change
        tasks = []
        for a, b, name in pairs:
            made = {(stage, s.id): self.folders[stage, s.id] for s in (a, b) for stage in ("observe", "detect")}
            keys = [self.keys[stage, s.id] for s in (a, b) for stage in ("observe", "detect")]
            inputs = [_facts(a), _facts(b), keys, settings.model_dump()]
            tasks.append(self._task("compare", name, inputs, partial(stages.do_compare, (a, b), made, settings)))
        self._make("compare", executor, tasks)
        return tuple((a, b, self.folders["compare", name]) for a, b, name in pairs if ("compare", name) in self.folders)

    def _draw(
        self,
        site: Site,
        scenes: Sequence[Scene],
        reference: Scene,
        made: Mapping[tuple[str, str], Path],
        executor: Executor | None,
    ) -> dict[str, Path]:
        """Scene id -> folder of its overlay."""
        side, estimate = self.run.review.max_side_px, self.folders["estimate", site.id]
        facts = site.model_dump(mode="json")
        tasks = [
            self._task(
                "draw",
                f"{site.id}__{s.id}",
                [facts, _facts(s), self._keys_of(site, s), self.keys["estimate", site.id], side],
                partial(stages.do_draw, site, s, reference, made, estimate, side),
            )
            for s in scenes
        ]
        return self._by_scene(site, scenes, "draw", executor, tasks)

    def _by_scene(
        self, site: Site, scenes: Sequence[Scene], stage: str, executor: Executor | None, tasks: Sequence[Task]
    ) -> dict[str, Path]:
        self._make(stage, executor, tasks)
        labels = {s.id: (stage, f"{site.id}__{s.id}") for s in scenes}
        return {name: self.folders[label] for name, label in labels.items() if label in self.folders}

    def _task(self, stage: str, label: str, inputs: Any, make: Callable[[Path], None]) -> Task:
        key = digest({"stage": stage, "version": STAGES[stage].version, "inputs": inputs})
        self.keys[stage, label] = key
        return Task(stage, label, key, make)

    def _make(self, stage: str, executor: Executor | None, tasks: Sequence[Task]) -> None:
        """Make what is missing; a task that fails on its own input is skipped with its reason, the rest goes on."""
        missing = [t for t in tasks if not self.store.has(stage, t.key)]
        if missing and self.cached_only:
            raise StoreError(f"{self.run.output}: stage '{stage}' is not done", "Run `yardwatch run` first.")
        started = time.monotonic()
        failed: dict[str, str] = {}
        self.progress(STAGES[stage].does, 0, len(missing))
        for number, (task, error) in enumerate(run_all(executor, partial(_attempt, self.store), missing), start=1):
            self.progress(STAGES[stage].does, number, len(missing))
            if error:
                failed[task.label] = error
                self.skipped.append((task.label, f"{stage}: {error}"))
        for task in tasks:
            if task.label not in failed:
                self.folders[stage, task.label] = self.store.folder(stage, task.key)
                files = dict(self.store.files(stage, task.key))
                self.artefacts.append({"stage": stage, "label": task.label, "key": task.key, "files": files})
        self.made[stage] = self.made.get(stage, 0) + len(missing) - len(failed)
        self.reused[stage] = self.reused.get(stage, 0) + len(tasks) - len(missing)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started

    def manifest(self) -> dict[str, Any]:
        """Inputs, weights, settings and artefacts by digest; the same job gives the same manifest, so it holds no clock."""
        from pipeline.review.about import VERSION

        settings = self.run.model_dump(mode="json", exclude={"output", "sites", "imagery", "execution"})
        return {
            "name": self.run.name,
            "version": VERSION,
            "settings": settings,
            "stages": {name: stage.version for name, stage in STAGES.items()},
            "models": [{"name": card.name, "sha256": card.sha256} for card in (*find(self.run.model), find_tracks())],
            "artefacts": sorted(self.artefacts, key=lambda a: (a["stage"], a["label"])),
            "skipped": [{"name": n, "reason": r} for n, r in sorted(self.skipped)],
        }

    def log_line(self) -> str:
        """One JSON line for ``run.jsonl``: when, what was made and reused, and the seconds of each stage."""
        entry = {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "made": self.made,
            "reused": self.reused,
            "seconds": {k: round(v, 2) for k, v in self.seconds.items()},
        }
        return json.dumps(entry, sort_keys=True) + "\n"


def _attempt(store: Store, task: Task) -> str:
    """Make one artefact; returns what was wrong with its input, or nothing."""
    try:
        store.put(task.stage, task.key, task.make)
    except StoreError:
        raise
    except YardwatchError as error:
        return str(error)
    return ""


def _facts(scene: Scene) -> dict[str, Any]:
    """Everything about a scene but where its file lies: the folder may move, the results stay."""
    return {k: v for k, v in asdict(scene).items() if k not in {"path", "mask_path"}}


def _group(scenes: Sequence[Scene], hours: float) -> tuple[tuple[Scene, ...], ...]:
    """Scenes of a site in looks: a scene within `hours` of a look's first scene belongs to it."""
    looks: list[list[Scene]] = []
    for scene in scenes:
        if looks and scene.time - looks[-1][0].time < timedelta(hours=hours):
            looks[-1].append(scene)
        else:
            looks.append([scene])
    return tuple(tuple(look) for look in looks)
