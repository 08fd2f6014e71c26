"""Imports in the package point one way: a layer imports only lower layers. Type-only imports count too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import clanforge_async

LAYERS = (
    {"_validation"},
    {"refs"},
    {"errors"},
    {"jobs"},
    {"images"},
    {"_logging"},
    {"_codec", "_polling"},
    {"_http"},
    {"resources"},
    {"client", "_watching"},
    {"watcher", "engine"},
    {"releases", "temporal"},
    {"__init__"},
    {"testing", "simulator"},
    {"pytest_plugin"},
    {"cli"},
    {"__main__"},
)
"""Modules and folders of the package from the bottom to the top. Those of one layer do not import each other."""

ALLOWED = {
    entry: {"__init__", "images", "jobs", "refs", "errors", "client", "watcher", "_codec"}
    for entry in ("simulator", "testing")
}
"""Entries that use the package as its users do: by its public modules, and by the JSON form of jobs."""

LEVEL = {entry: level for level, entries in enumerate(LAYERS) for entry in entries}
ROOT = Path(clanforge_async.__file__).parent
SOURCES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path.read_text()
    for path in sorted(ROOT.rglob("*.py"))
}


def imports_of(source: str) -> Iterator[str]:
    """Yield the modules of the package that a source imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in SOURCES)
        elif isinstance(node, ast.ImportFrom) and node.module in SOURCES:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in SOURCES else node.module for name in names)


def entry_of(module: str) -> str:
    """Return the top-level module or folder that a module belongs to."""
    return [*module.split("."), "__init__"][1]


def wrong_imports(module: str, source: str) -> list[str]:
    """Return the imports of a module that its layer does not allow."""
    entry = entry_of(module)
    below = {other for other, level in LEVEL.items() if level < LEVEL[entry]}
    allowed = {entry} | (below & ALLOWED.get(entry, below))
    return [imported for imported in imports_of(source) if entry_of(imported) not in allowed]


def test_each_entry_has_a_layer() -> None:
    """Every module and folder at the top of the package is in the table, and the table lists no other."""
    assert {entry_of(module) for module in SOURCES} == LEVEL.keys()


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_imports_only_lower_layers(module: str) -> None:
    """A module imports only its own folder and lower layers, by absolute names."""
    assert wrong_imports(module, SOURCES[module]) == []
    assert "from ." not in SOURCES[module]


def test_an_import_of_a_higher_layer_is_found() -> None:
    """An import of a higher layer is reported, at any depth and for types alone too."""
    source = "if TYPE_CHECKING:\n    from clanforge_async.client import ClanforgeClient\nimport clanforge_async.refs"
    assert wrong_imports("clanforge_async._http.session", source) == ["clanforge_async.client"]
    assert wrong_imports("clanforge_async.watcher", source) == []
    assert wrong_imports("clanforge_async.simulator.app", "from clanforge_async._http import session") == [
        "clanforge_async._http.session"
    ]


def test_no_modules_import_each_other() -> None:
    """There is no import cycle, not even within a folder."""
    graph = {module: set(imports_of(source)) - {module} for module, source in SOURCES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"cycle: {' -> '.join(error.args[1])}")
