"""The tables: medians and spreads, and no precision for a tool that kept nothing."""

from benchmarks.peers.environments import PEERS
from benchmarks.peers.run import HERE, report

LINE = {"tool": "A", "task": "dedup", "share": 0.01, "rows": 1000, "wall": 1.0, "status": 0, "kept": 8, "should": 8,
        "good_lost": 0, "bad_kept": 0, "recall": 1.0, "precision": 0.5}  # fmt: skip


def test_a_tool_has_one_line_per_share_with_its_median_and_spread():
    lines = [LINE | {"cpu": cpu, "repeat": number} for number, cpu in enumerate((3.0, 1.0, 2.0))]
    lines.append(LINE | {"tool": "B", "cpu": 4.0, "repeat": 0, "kept": 0, "good_lost": 8, "status": 1})
    table = report(lines).splitlines()
    assert table[-2:] == [
        "| A | 1 % | 2.0 (1.0 to 3.0) | 3 | 8 of 8 | 0 | 1.000 | 0.500 | 0 |",
        "| B | 1 % | 4.0 | 1 | 0 of 8 | 8 |  |  | 1 |",
    ]
    assert report([]) == "nothing measured yet"


def test_every_peer_has_its_driver_and_names_versions():
    for peer in PEERS:
        assert (HERE / peer.driver).is_file()
        assert "==" in peer.packages[0][0]
