"""The shape of the repository: which way imports go, what stays unloaded, how long a unit may be, where its test is."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Annotated, get_args, get_origin

import pytest

from potstill.config import Settings
from potstill.pipelines import registry
from potstill.pipelines.plan import load_plan, shipped_plans
from tests.conftest import ROOT

LEVELS = ("potstill.config", "potstill.models", "potstill.pipelines", "potstill.tune", "potstill.cli")
"""A module may import its own level and those before it."""
HEAVY = ("ray", "torch", "transformers", "open_clip", "timm", "vllm", "torchvision", "datasets")

FILTER, SCORER, SYNTHESIZER, DRIVER = 80, 120, 120, 250
BUDGETS = {"filters": FILTER, "selectors": FILTER, "condensers": FILTER, "losses": FILTER, "scorers": SCORER,
           "synthesizers": SYNTHESIZER}  # fmt: skip
EXCEPTIONS = {
    "pipelines/filters/expression.py": (180, "a language: checking and evaluating it belong side by side"),
    "pipelines/synthesizers/oasis.py": (140, "two stages of one method, which share its settings"),
    "pipelines/synthesizers/synthesizer.py": (215, "no unit: what all synthesizers share"),
    "models/losses/loss.py": (190, "no unit: the interface of all losses"),
    "models/losses/stack.py": (130, "no unit: all losses of a recipe together"),
    "models/tiny/chat_questions.py": (320, "every form of question in one list, so that a gap is seen"),
    "pipelines/runner.py": (380, "the order of a run's steps reads best in one place"),
    "pipelines/plan.py": (270, "a plan, and what must hold between its parts"),
    "pipelines/chunk.py": (330, "a chunk's identity, reading and commit must agree with each other"),
    "pipelines/worker.py": (270, "bisection and poison notes must agree with each other"),
    "pipelines/rundir.py": (275, "all of the file system, local and remote"),
}


def sources():
    """Every Python file of the product, as (path from the root, module name)."""
    files = [*(ROOT / "potstill").glob("*.py")]
    for folder in ("pipelines", "models", "tune"):
        files += (ROOT / folder).rglob("*.py")
    for file in sorted(files):
        path = file.relative_to(ROOT)
        parts = path.with_suffix("").parts
        yield path, ".".join(parts if parts[0] == "potstill" else ("potstill", *parts)).removesuffix(".__init__")


FILES = dict(sources())


def imports(tree, top_only=False):
    """Modules that a file imports, those inside functions too unless ``top_only``; typing-only imports left out."""
    nodes = list(tree.body) if top_only else list(ast.walk(tree))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in nodes:
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def level(module):
    """Place in :data:`LEVELS`; None for a module of others, and for the package itself."""
    return next((place for place, name in enumerate(LEVELS) if module == name or module.startswith(name + ".")), None)


def parsed(path):
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_one_way(path):
    mine = level(FILES[path])
    if mine is None:
        return
    for name in imports(parsed(path)):
        there = level(name)
        assert there is None or there <= mine, f"{path} imports {name}"


def test_the_settings_import_nothing_of_ours():
    assert not [name for name in imports(parsed("potstill/config.py")) if name.startswith("potstill")]


def test_only_the_stream_and_the_stages_own_adapter_know_ray_data():
    users = {
        str(path)
        for path, module in FILES.items()
        if module.startswith("potstill.pipelines")
        and any(name.split(".")[0] == "ray" for name in imports(parsed(path)))
    }
    assert users <= {"pipelines/stream.py", "pipelines/stage.py", "pipelines/errors.py"}
    called = {str(path) for path in FILES if ".map_batches(" in (ROOT / path).read_text(encoding="utf-8")}
    assert called <= {"pipelines/stage.py", "pipelines/stream.py", "models/trainers/ingest.py"}


def loaded(code):
    """Which of the heavy packages a fresh process has imported after ``code``."""
    lines = f"import sys\n{code}\nprint('\\n' + ' '.join(sorted(set({HEAVY!r}) & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[-2].split()


RUN = """
from potstill.cli import main
try:
    main({arguments!r})
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["validate", "oasis-tiny"], ["show", "oasis-tiny"], ["schema"], ["list"]], ids=" ".join
)
def test_commands_that_only_look_load_no_ray_and_no_torch(arguments):
    assert loaded(RUN.format(arguments=arguments)) == []


def test_importing_the_command_line_loads_nothing_heavy():
    assert loaded("import potstill.cli, potstill.pipelines.plan, potstill.pipelines.worker") == []


@pytest.mark.parametrize("name", sorted(shipped_plans()))
def test_every_shipped_plan_is_valid(name):
    assert load_plan(shipped_plans()[name]).stages


def units():
    """Classes of the plan's unions."""
    for union in (registry.AnySource, registry.AnyStage, registry.AnySink):
        inner = get_args(union)[0] if get_origin(union) is Annotated else union
        yield from get_args(inner) or (inner,)


@pytest.mark.parametrize("unit", list(units()), ids=lambda unit: unit.__name__)
def test_each_unit_has_settings_a_docstring_and_a_test_file_at_its_own_path(unit):
    path = Path(*unit.__module__.split(".")[1:])
    assert issubclass(unit, Settings)
    assert unit.__doc__
    assert (ROOT / "tests" / path.parent / f"test_{path.name}.py").is_file()
    undescribed = [name for name, told in unit.model_json_schema()["properties"].items() if "description" not in told]
    assert set(undescribed) <= {"kind", "name"}, "each setting is documented in a line"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_keeps_to_its_length(path):
    lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
    limit, _ = EXCEPTIONS.get(str(path), (BUDGETS.get(path.parent.name, DRIVER), ""))
    assert lines <= limit, f"{path} has {lines} lines, limit {limit}: split it or make it simpler"


def test_the_exceptions_name_files_that_are_there():
    assert all((ROOT / name).is_file() for name in EXCEPTIONS)


def test_there_is_no_module_of_ours_under_a_bare_name():
    bare = {"pipelines", "models", "tune"}
    for path in FILES:
        assert not bare & {name.split(".")[0] for name in imports(parsed(path))}, path


def test_nothing_is_printed_outside_the_command_line():
    def prints(path):
        return any(
            isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print" for node in ast.walk(parsed(path))
        )

    printing = {str(path) for path in FILES if path.parts[0] in ("pipelines", "potstill", "tune") and prints(path)}
    assert printing <= {"potstill/cli.py", "potstill/learning.py"}
