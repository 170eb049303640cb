from agents.bench.report import Row, markdown, result, table


def test_result_is_one_object_with_rows_of_value_beside_baseline() -> None:
    rows = [Row.of("fanout_1", 90.0, "events/s", 100.0)]
    found = result("bus", rows)
    assert list(found) == ["bench", "machine", "commit", "rows"]
    assert found["bench"] == "bus"
    assert found["rows"] == [
        {"name": "fanout_1", "value": 90.0, "unit": "events/s", "baseline": 100.0, "ratio": 0.9}
    ]


def test_table_has_a_line_a_row() -> None:
    lines = table("bus", [Row.of("fanout_1", 1_234.5, "events/s", 2_469.0)]).splitlines()
    assert lines[2].split() == ["fanout_1", "1,234.5", "2,469.0", "0.50", "events/s"]


def test_markdown_is_the_table_of_the_docs() -> None:
    rows = [Row.of("slow_one_of_a_peer", 1.5, "steps/s", 1_000.0), Row.of("a", 2.0, "s", 1.0)]
    assert markdown(rows, ["peer 1.0"]).splitlines() == [
        "| row | value | baseline | ratio | unit |",
        "|---|---|---|---|---|",
        "| slow_one_of_a_peer | 1.5 | 1,000 | 0.0015 | steps/s |",
        "| a | 2 | 1 | 2.00 | s |",
        "",
        "peer 1.0",
    ]
    assert table("env", rows, ["peer 1.0"]).endswith("\npeer 1.0")
    assert result("env", rows, ["peer 1.0"])["notes"] == ["peer 1.0"]
