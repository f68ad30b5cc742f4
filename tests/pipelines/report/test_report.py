import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from potstill.config import RequestError
from potstill.pipelines.report.report import write_report
from tests.pipelines.report import runs
from tests.toys import pictures

ELEMENTS = """
    a b bdi body code dd details div dl dt figcaption figure footer g h1 h2 h3 h4 head header html img li line link main
    meta nav p polyline pre rect section small span style summary svg table tbody td text th thead time title tr ul
"""


class Page(HTMLParser):
    """All elements, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.text = set(), [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        self.text += data if self.lasttag not in ("title", "style") else ""

    def handle_endtag(self, tag):
        self.text += " " if tag in ("td", "th", "li") else ""

    @property
    def line(self):
        return " ".join(self.text.split())


def read(directory):
    return Path(write_report(directory)).read_text()


def test_hostile_text_adds_no_element_and_no_attribute(toy_run):
    html = read(toy_run)
    page = Page(html)
    assert page.elements <= set(ELEMENTS.split())
    assert not [found for found in page.attributes if found[1].startswith("on") or found[1] == "style"]
    links = [(value, name) for _, name, value in page.attributes if name in ("src", "href")]
    assert all(value.startswith(("#", "data:")) for value, _ in links)
    assert "<script>alert(1)</script>" in page.text and "[U+202E]gnp.exe␀␛[31m {{ 7 * 7 }}" in page.text
    assert not re.search("[\x00\x1b\u202e]", html)


def test_the_policy_of_the_page_forbids_everything_but_its_own_style(toy_run):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', read(toy_run))[1]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src" not in policy


def test_the_numbers_of_the_page_are_those_of_the_run(toy_run):
    text = Page(read(toy_run)).line
    assert "intake 12 10 83.3% 0 1 1" in text
    assert "judge 10 8 80.0% 1 no_instruction 0 1" in text
    assert "gate filter 8 5 62.5% 2 unsolvable 1 unsolvable_unknown 0 0" in text
    assert "not stated 10 5 50.0%" in text and "(top) 10 5 50.0%" in text
    assert "gate: >= 3" in text and "needs solvability >= 3" in text
    assert "EmptyFile" in text and "copy.png" in text
    assert "judge_prompt_tokens 5 35 7.0 7" in text


def test_the_same_run_gives_the_same_page(toy_run):
    assert read(toy_run) == read(toy_run)


@pytest.mark.parametrize("state", ["running", "failed", "stopped"])
def test_a_run_that_has_not_ended_has_a_page_of_what_stands(toy_run, state):
    file = Path(toy_run, "run.json")
    summary = json.loads(file.read_text())
    summary = {key: summary[key] for key in summary if key not in ("rows", "content_hash")}
    file.write_text(json.dumps(summary | {"state": state, "error": "Boom: <b>why</b>"}))
    Path(toy_run, "samples/chunk-00002.parquet").unlink()
    text = Page(read(toy_run)).line
    assert {"running": "interrupted"}.get(state, state) in text and "Boom: <b>why</b>" in text
    assert "judge 10 7 70.0%" in text and "Pending" in text


def test_a_run_that_keeps_nothing_has_a_page_too(tmp_path, monkeypatch):
    runs.know_the_double(monkeypatch)
    plan = runs.make_plan(pictures(tmp_path / "in", 2), {}, {"never": "solvability >= 3"})
    text = Page(read(runs.make_run(plan, tmp_path / "out"))).text
    assert "No row has come through." in text and "never_unknown" in text


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"no run\.json"):
        write_report(str(tmp_path))


FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --enable-logging=stderr --dump-dom
"""


def browse(page, folder):
    """The page's elements in Chromium, its console, and who asked for anything: the browser is "not an origin"."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert browser, "this test needs Chromium: apt-get install chromium"
    log = folder / "net.json"
    private = [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command = [browser, *FLAGS.split(), *private, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Page(done.stdout), console, set(re.findall(r'"initiator":"([^"]*)"', log.read_text()))


def test_a_real_browser_shows_the_page_without_an_error_or_a_request(toy_run, tmp_path):
    page, console, askers = browse(Path(write_report(toy_run)), tmp_path)
    assert ("table", "class", "funnel") in page.attributes and "script" not in page.elements
    assert (console, askers - {"not an origin"}) == ([], set())


def test_the_browser_test_would_notice_a_request_and_an_error(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://host.invalid/x.png'><script>console.error('no')</script>")
    _, console, askers = browse(page, tmp_path)
    assert len(console) == 1 and askers > {"not an origin"}
