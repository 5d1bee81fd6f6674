"""The chart of a count stands on its own."""

from xml.etree import ElementTree as ET

from pipeline.activity.cases import story
from pipeline.activity.judge import judge
from pipeline.config import ActivitySettings
from pipeline.review.charts import count_chart, standalone

SVG = "{http://www.w3.org/2000/svg}"


def test_a_chart_in_a_file_of_its_own_brings_its_colours() -> None:
    looks = story("tumangang")
    root = ET.fromstring(standalone(count_chart(looks, judge(looks, ActivitySettings(), "all"), "tumangang")))
    style = root.findtext(f"{SVG}style") or ""
    used = {e.get("class") for e in root.iter() if e.get("class")}
    assert used
    assert all(f".{name}" in style for name in used)


def test_the_band_is_drawn_through_observed_looks_only() -> None:
    looks = story("tumangang")
    alerts = judge(looks, ActivitySettings(), "all")
    root = ET.fromstring(count_chart(looks, alerts, "tumangang"))
    middle = next(e for e in root.iter(f"{SVG}polyline") if e.get("class") == "expected")
    drawn = len((middle.get("points") or "").split())
    assert drawn == sum(a.looks >= 5 and a.estimate.value is not None for a in alerts) < sum(a.looks >= 5 for a in alerts)
