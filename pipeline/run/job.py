"""One batch job from a run file to a report: plan the tasks, make what is missing, publish the results."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from models.card import find, find_presence, find_tracks
from pipeline.config import DetectionSettings, Run
from pipeline.errors import StoreError, YardwatchError
from pipeline.imagery.catalog import build_catalog
from pipeline.imagery.place import sees
from pipeline.imagery.scene import Scene
from pipeline.run import stages
from pipeline.run.executors import open_executor, run_all
from pipeline.run.learned import do_learn
from pipeline.run.looks import grouped, shared
from pipeline.run.stages import STAGES
from pipeline.run.store import Output, Store, digest
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
        learned, estimate, judge: artefact folders.
        drawn: scene id -> folder of its overlay.
        pairs: (before, after, folder) of every compared pair.
    """

    site: Site
    looks: tuple[tuple[Scene, ...], ...]
    reference: Scene
    align: Mapping[str, Path]
    learned: Path
    estimate: Path
    judge: Path
    drawn: Mapping[str, Path]
    pairs: tuple[tuple[Scene, Scene, Path], ...]


@dataclass
class Job:
    """A run in progress.

    Attributes:
        run, progress: what to do, and who is told of it.
        cached_only: make nothing: what a finished run could not make is left out again, with its reason.
        made, reused, seconds: artefacts and time by stage.
        skipped: (name, reason) of what was left out.
        failed: key -> reason of each artefact that its own input forbids.
        scenes, sites: what it was made from; `sites` in the order of the run's.
        artefacts: stage, label, key and files of each artefact.
        folders, keys: where an artefact lies and its key, by stage and label.
    """

    run: Run
    progress: Progress
    cached_only: bool = False
    made: dict[str, int] = field(default_factory=dict)
    reused: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    scenes: Sequence[Scene] = ()
    sites: Sequence[Site] = ()
    artefacts: list[dict[str, Any]] = field(default_factory=list)
    folders: dict[tuple[str, str], Path] = field(default_factory=dict)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """Where artefacts are kept."""
        return Store(self.run.output / "store")

    @property
    def detection(self) -> DetectionSettings:
        """The run's settings with the runtime that ``auto`` is on this machine: other runtimes give other scores (law 8)."""
        from models.runtime import best_runtime

        settings = self.run.detection
        return settings if settings.runtime != "auto" else settings.model_copy(update={"runtime": best_runtime()})

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
        self.scenes, self.sites = seen, sites
        with open_executor(self.run.execution) as executor:
            self.store.sweep()
            self._make(
                "observe",
                executor,
                [self._task("observe", s.id, _facts(s), partial(stages.do_observe, s)) for s in seen],
            )
            seen = [s for s in seen if ("observe", s.id) in self.folders]
            settings = self.detection
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
        reference = next((s for s in scenes if site.reference in {s.id, None}), None)
        if reference is None:
            what = f"its reference scene '{site.reference}', in whose frame its outlines lie, is no usable image that shows it"
            self.skipped.append((site.id, f"{what}. Correct `reference` in its site file, or mend or add that image."))
            return None
        align = self._align(site, scenes, reference, executor)
        scenes = [s for s in scenes if s.id in align]
        looks = grouped(scenes, self.run.activity.look_hours)
        made = {(stage, s.id): self.folders[stage, s.id] for s in scenes for stage in ("observe", "detect")}
        made |= {("align", name): folder for name, folder in align.items()}
        facts = site.model_dump(mode="json")
        seen = [[self._keys_of(site, s) for s in look] for look in looks]
        work = partial(do_learn, site, reference, scenes, made)
        self._make("learn", None, [self._task("learn", site.id, [facts, seen], work)])
        if ("learn", site.id) not in self.folders:
            return None
        learned = self.folders["learn", site.id]
        inputs = [facts, counting, seen, self.keys["learn", site.id]]
        work = partial(stages.do_estimate, site, reference, looks, made, learned, self.run.model)
        self._make("estimate", None, [self._task("estimate", site.id, inputs, work)])
        if ("estimate", site.id) not in self.folders:
            return None
        estimate = self.folders["estimate", site.id]
        activity = self.run.activity
        inputs = [self.keys["estimate", site.id], activity.model_dump()]
        self._make("judge", None, [self._task("judge", site.id, inputs, partial(stages.do_judge, estimate, activity))])
        if ("judge", site.id) not in self.folders:
            return None
        pairs = self._compare(site, looks, reference, made, executor)
        drawn = self._draw(site, scenes, reference, made, executor)
        return SiteResult(site, looks, reference, align, learned, estimate, self.folders["judge", site.id], drawn, pairs)

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

    def _compare(
        self,
        site: Site,
        looks: Sequence[Sequence[Scene]],
        reference: Scene,
        made: Mapping[tuple[str, str], Path],
        executor: Executor | None,
    ) -> tuple[tuple[Scene, Scene, Path], ...]:
        """(before, after, folder) of consecutive looks, each by the scene that shares most of the site with the other's."""
        best = (max(product(*two), key=partial(shared, site)) for two in pairwise(looks))
        pairs = [(a, b, f"{site.id}__{a.id}__{b.id}") for a, b in best]
        settings, learned = self.run.change, self.folders["learn", site.id]
        common = [settings.model_dump(), self.keys["learn", site.id], find_presence().sha256]
        tasks = []
        for a, b, name in pairs:
            inputs = [_facts(a), _facts(b), self._keys_of(site, a), self._keys_of(site, b), *common]
            work = partial(stages.do_compare, (a, b), reference, made, learned, settings)
            tasks.append(self._task("compare", name, inputs, work))
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
        side, estimate, learned = self.run.review.max_side_px, self.folders["estimate", site.id], self.folders["learn", site.id]
        facts = site.model_dump(mode="json")
        tasks = [
            self._task(
                "draw",
                f"{site.id}__{s.id}",
                [facts, _facts(s), self._keys_of(site, s), self.keys["estimate", site.id], side],
                partial(stages.do_draw, site, s, reference, made, learned, estimate, side),
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
        started = time.monotonic()
        work: Callable[[Task], str] = self._refuse if self.cached_only else partial(_attempt, self.store)
        failed: set[str] = set()
        self.progress(STAGES[stage].does, 0, len(missing))
        for number, (task, error) in enumerate(run_all(None if self.cached_only else executor, work, missing), start=1):
            self.progress(STAGES[stage].does, number, len(missing))
            if error:
                failed.add(task.label)
                self.failed[task.key] = error
                self.skipped.append((task.label, f"{stage}: {error}"))
        for task in tasks:
            if task.label not in failed:
                self.folders[stage, task.label] = self.store.folder(stage, task.key)
                files = dict(self.store.files(stage, task.key))
                self.artefacts.append({"stage": stage, "label": task.label, "key": task.key, "files": files})
        self.made[stage] = self.made.get(stage, 0) + len(missing) - len(failed)
        self.reused[stage] = self.reused.get(stage, 0) + len(tasks) - len(missing)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started
        if len(missing) > len(failed):
            log.info("%s: %d made in %.1f s", stage, len(missing) - len(failed), time.monotonic() - started)

    def _refuse(self, task: Task) -> str:
        """Why the finished run could not make an artefact.

        Raises:
            StoreError: it never tried.
        """
        reason = Output(self.run.output).earlier().get("failed", {}).get(task.key)
        if not reason:
            raise StoreError(f"{self.run.output}: stage '{task.stage}' is not done", "Run `yardwatch run` first.")
        return str(reason)


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
