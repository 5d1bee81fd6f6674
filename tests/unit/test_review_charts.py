"""Charts of counts and pictures stand on their own."""

from dataclasses import replace
from io import BytesIO
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from pipeline.activity.cases import story
from pipeline.activity.judge import judge
from pipeline.config import ActivitySettings
from pipeline.review.charts import count_chart, standalone
from pipeline.review.overlay import gif

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


def test_a_point_that_must_not_be_quoted_is_not_drawn() -> None:
    """METHOD 5: under half of the zone seen the interval may be used, the point may not."""
    *most, last = [e for e in story("tumangang") if e.value is not None]
    hardly = replace(last, value=17.0, low=11.0, high=23.0, exposure=0.4, interval_only=True)
    whole, part = (ET.fromstring(count_chart([*most, look], [], "tumangang")) for look in (last, hardly))
    dots = [len(list(root.iter(f"{SVG}circle"))) for root in (whole, part)]
    assert dots[0] == dots[1] + 1
    assert "11 to 23, 40 % seen" in "".join(part.itertext())
    assert "17" not in [e.text for e in part.iter(f"{SVG}title")][-1]


@pytest.mark.parametrize(("credit", "height"), [("", 1), ("(c) somebody | CC BY-SA 4.0", 23)])
def test_a_blink_of_a_strip_keeps_a_row_and_its_credit(credit: str, height: int) -> None:
    frames = [Image.new("RGB", (4096, 2)), Image.new("RGB", (4096, 2), (255, 255, 255))]
    with Image.open(BytesIO(gif(frames, credit))) as blink:
        assert (blink.size, getattr(blink, "n_frames", 1)) == ((900, height), 2)
        below = np.asarray(blink.convert("L"))[1:, 450:]
        assert (below.size == 0) == (credit == "")
        assert credit == "" or below.max() > below.min() + 50
