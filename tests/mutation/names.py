"""Names of mutants, as mutmut builds them: module, then function, then number."""

from __future__ import annotations

PACKAGE = "clanforge_async."


def module_of(mutant: str) -> str:
    """Return a mutant's module: ``_http.session`` for ``clanforge_async._http.session.x_f__mutmut_1``."""
    return mutant.removeprefix(PACKAGE).rpartition(".")[0]
