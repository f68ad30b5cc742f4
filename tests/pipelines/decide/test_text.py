"""The preview in a terminal: what changed stands out, and nothing in a row can disturb it."""

from potstill.pipelines.decide.preview import preview
from potstill.pipelines.decide.text import lines
from tests.pipelines.decide.runs import SAYS, finished


def shown(out, *arguments):
    return "\n".join(lines(preview(out, *arguments), out))


def test_the_text_has_counts_now_and_then_the_rows_at_the_border_and_the_overlap(tmp_path, monkeypatch):
    out = finished(tmp_path, monkeypatch, {"low": "match >= 0.5", "middle": "match < 0.6 or match > 0.75"})
    text = shown(out, ["gate.keep.low=match >= 0.4"], ["match < 0.85"], "match")
    for part in (
        f"toy in {out} (done): 10 rows; no model runs, nothing is written",
        "gate        10  3 -> 4  low 5 -> 4, middle 2",
        "also (new)  4   3       failed 0 -> 1",
        "kept: 3 now, 3 then; 1 leave, 1 come in",
        "leave, and why:\n  1  also: failed\n",
        "come in, and why they were out:\n  1  gate: low\n",
        "border of gate low: match >= 0.4\n  holds  ",
        "0004.png  match 0.4  gate: low -> kept",
        "0003.png  match 0.3  gate: low",
        "gate low     10     4      4",
        "gate low     gate middle  0          6             0.000",
        "curve of match: 10 rows from 0 to 0.9\n",
        "30%    0.7       3     1",
    ):
        assert part in text, f"{part}\n---\n{text}"


def test_rows_that_a_model_would_have_to_see_come_with_the_command():
    found = {
        "plan": "p", "state": "done", "rows": 9, "command": "potstill run P --out D 'a=1'", "stages": [],
        "kept": {"now": 1, "then": 1, "leave": 0, "come": 0}, "would_run": {"respond": 1200}, "leave": [], "come": [],
        "borders": [], "overlap": {"conditions": [], "pairs": []}, "curve": None,
    }  # fmt: skip
    text = "\n".join(lines(found, "D"))
    assert "stage respond would have to run: 1,200 rows come to it" in text
    assert "only they: potstill run P --out D 'a=1'" in text


def test_text_of_rows_and_reasons_is_made_harmless(tmp_path, monkeypatch):
    says = SAYS | {"0001.png": {"judge_reason": "\x1b[31m\nred\u202e"}}
    text = shown(finished(tmp_path, monkeypatch, says=says), ["gate.keep.low=match >= 0.3"])
    assert "␛[31m red[U+202E] 1" in text
    assert not {"\x1b", "\u202e"} & set(text)
