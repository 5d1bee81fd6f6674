"""Tables of counts: what an analyst's spreadsheet may hold, and errors that name file, line and column."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.activity.judge import judge
from pipeline.activity.tables import parse_counts, read_counts, records
from pipeline.config import ActivitySettings
from pipeline.errors import TableError

HEADER = "date,site,zone,class,value,low,high,exposure,estimator,note\n"
ROW = "2023-10-05,tumangang,yard,railcar,73,,,,,\n"


def test_a_plain_row() -> None:
    (e,) = parse_counts("date,site,zone,class,value\n2023-10-05,tumangang,yard,railcar,73\n", "t.csv")
    assert (e.value, e.exposure, e.estimator, e.zone_version) == (73.0, 1.0, "human", 1)
    assert e.time == datetime(2023, 10, 5, tzinfo=UTC)
    assert (e.low, e.high) == (pytest.approx(61.0, abs=0.1), pytest.approx(85.0, abs=0.1))  # 10 % between observers


def test_the_inter_observer_term_adds_to_a_given_interval() -> None:
    (e,) = parse_counts(HEADER + "2023-10-05,a,b,railcar,100,90,110,,,\n", "t.csv")
    assert (e.low, e.high) == (pytest.approx(80.75, abs=0.01), pytest.approx(119.25, abs=0.01))
    (e,) = parse_counts(HEADER + "2023-10-05,a,b,railcar,100,90,110,,E1,\n", "t.csv")
    assert (e.low, e.high) == (90.0, 110.0)


def test_an_empty_value_is_not_observed_and_never_zero() -> None:
    (e,) = parse_counts(HEADER + "2023-10-05,a,b,railcar,,,,,,cloud\n", "t.csv")
    assert (e.value, e.not_observed, e.exposure) == (None, "cloud", 0.0)
    (e,) = parse_counts(HEADER + "2023-10-05,a,b,railcar,5,,,0.1,,\n", "t.csv")
    assert (e.value, e.not_observed) == (None, "only 10 % of the zone could be seen")
    (e,) = parse_counts(HEADER + "2023-10-05,a,b,railcar,5,,,0.4,,\n", "t.csv")
    assert e.interval_only


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2023-10-05T02:10", datetime(2023, 10, 5, 2, 10, tzinfo=UTC)),
        ("2023-10-05T11:10:00+09:00", datetime(2023, 10, 5, 2, 10, tzinfo=UTC)),
        ("2023-10-05T02:10:00Z", datetime(2023, 10, 5, 2, 10, tzinfo=UTC)),
    ],
)
def test_times(text: str, time: datetime) -> None:
    (e,) = parse_counts(HEADER + ROW.replace("2023-10-05", text), "t.csv")
    assert e.time == time


def test_spreadsheet_habits_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + ROW + "\n,,,,,,,,,\n").replace("\n", "\r\n").encode())
    assert len(read_counts(path)) == 1
    assert len(parse_counts((HEADER + ROW).replace(",", ";"), "t.csv")) == 1
    assert parse_counts(HEADER, "t.csv") == []
    quoted = parse_counts(HEADER + '2023-10-05,a,b,railcar,5,,,,,"seen, in part"\n', "t.csv")
    assert quoted[0].note == "seen, in part"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.csv: is empty"),
        ("\n\n", r"t\.csv: is empty"),
        ("date,site,zone,value\n", "line 1: column 'class' is missing"),
        ("date,site,zone,class,value,exposre\n", "line 1: unknown column 'exposre'"),
        ("date,site,zone,class,value,value\n", "line 1: column 'value' stands twice"),
        (HEADER + "2023-10-05,a,b\n", "line 2 has 3 cells, the header 10"),
        (HEADER + ROW.replace("73", "seventy"), "line 2, column 'value': 'seventy' is not a number"),
        (HEADER + ROW.replace("73", "nan"), "line 2, column 'value': nan is out of range"),
        (HEADER + ROW.replace("73", "-4"), "line 2, column 'value': -4 is out of range"),
        (HEADER + ROW.replace("73,,,,", "73,,,1.5,"), "column 'exposure': 1.5 is out of range"),
        (HEADER + ROW.replace("73,,", "73,80,"), "column 'low': 80 is above the value 73"),
        (HEADER + ROW.replace("2023-10-05", "05/10/2023"), "line 2, column 'date': '05/10/2023' is not an ISO date"),
        (HEADER + ROW.replace("2023", "0001"), "line 2, column 'date': 0001-10-05 is out of range"),
        (HEADER + ROW.replace("2023-10-05", "0001-01-01T00:00+09:00"), "line 2, column 'date': .* is out of range"),
        (HEADER + ROW.replace("tumangang", ""), "line 2, column 'site': is empty"),
        (HEADER + ROW.replace("73,,,,", "73,,,,E9"), "column 'estimator': 'E9' is unknown"),
        (HEADER + ROW + ROW, "line 3 repeats line 2"),
    ],
)
def test_errors_name_file_line_and_column(text: str, message: str) -> None:
    with pytest.raises(TableError, match=message) as caught:
        parse_counts(text, "t.csv")
    assert "t.csv" in str(caught.value)
    assert caught.value.fix


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TableError, match=r"x\.csv: is not UTF-8"):
        read_counts(tmp_path / "x.csv")
    with pytest.raises(TableError, match="cannot be read"):
        read_counts(tmp_path / "absent.csv")


def test_the_record_has_the_published_keys() -> None:
    text = HEADER + "".join(f"2023-0{i}-01,a,b,railcar,{5 + i},,,,,\n" for i in range(1, 9))
    (found,) = records(judge(parse_counts(text, "t.csv"), ActivitySettings()))
    number = ["value", "low", "high", "exposure", "not_observed", "interval_only", "lower_bound"]
    judged = ["expected", "p", "q", "ratio_to_max", "looks", "verdict"]
    assert list(found) == ["site", "zone", "zone_version", "class", "unit", "estimator", "date", *number, *judged]
    assert (found["estimator"], found["unit"], found["not_observed"]) == ("human", "count", "")
    assert found["date"] == "2023-08-01T00:00:00+00:00"
    assert found["looks"] == 7
