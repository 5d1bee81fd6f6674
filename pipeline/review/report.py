"""One self-contained page: what a busy reader needs first, everything else below it. No request leaves the page."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from pipeline.activity.calls import ShipCall
from pipeline.activity.records import Alert, Estimate
from pipeline.activity.voyages import DWELL_DAYS, RouteVoyages
from pipeline.activity.wording import quoted
from pipeline.activity.zonal import ZoneChange
from pipeline.site import Site


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture on the page: embedded bytes, the path of the full file, words for those who cannot see it."""

    data: bytes
    mime: str
    link: str
    alt: str

    @property
    def uri(self) -> str:
        """The embedded bytes as a data URI."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True, slots=True)
class PairView:
    """A compared pair on the page."""

    title: str
    before: Picture
    after: Picture
    full: str
    alignment: str
    counts: Mapping[str, Mapping[str, int]]
    zones: Sequence[ZoneChange]


@dataclass(frozen=True, slots=True)
class SiteView:
    """One site on the page."""

    site: Site
    alerts: Sequence[Alert]
    charts: Mapping[str, str]
    permanent: Mapping[str, int]
    calls: Sequence[ShipCall]
    latest: Picture | None
    looks: Sequence[tuple[Picture, Sequence[Estimate]]]
    pairs: Sequence[PairView]


@dataclass(frozen=True, slots=True)
class ReportContext:
    """Everything the page shows; plain values."""

    name: str
    sites: Sequence[SiteView]
    routes: Sequence[RouteVoyages]
    skipped: Sequence[tuple[str, str]]
    heads: Sequence[tuple[str, str, str]]
    settings: Mapping[str, Any]
    version: str
    credits: Sequence[str]
    objects: bool


def build_report(context: ReportContext) -> str:
    """The page as HTML; every value is escaped except the charts, which are made here."""
    loader = jinja2.PackageLoader("pipeline.review", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["quoted"] = quoted
    alerts = [a for s in context.sites for a in s.alerts]
    raised = [a for a in alerts if a.raised]
    watched = [a for a in alerts if a.verdict == "watch"]
    return environment.get_template("report.html.j2").render(c=context, raised=raised, watched=watched, alerts=alerts, dwell=DWELL_DAYS)
