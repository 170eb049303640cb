"""The tail of a log, as the gateway tells it."""

from grid.gateway.logs import tail


def test_tail_of_a_long_log_is_its_newest_whole_lines(tmp_path):
    file = tmp_path / "node.log"
    file.write_text("".join(f"{i} {'x' * 100}\n" for i in range(10_000)) + "\n" + "y" * 5_000)
    found = tail(file, 200)
    assert (len(found), len(found[0]), found[0][0]) == (200, 1_000, "y")
    assert [line.split()[0] for line in found[1:]] == [str(i) for i in range(9_999, 9_800, -1)]
    every = tail(file, 100_000)
    assert all(len(line.split()[1]) == 100 for line in every[1:])  # none is cut at its head
    assert len(every) < 1_000
    assert tail(tmp_path / "none.log", 5) == []


def test_bytes_of_a_log_that_are_no_text_are_shown_as_such(tmp_path):
    (tmp_path / "feed.log").write_bytes(b"a\xff\nb\n")
    assert tail(tmp_path / "feed.log", 5) == ["b", "a\ufffd"]
