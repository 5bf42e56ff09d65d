"""The work of `prunebench lint`: recompute the claims of documents."""

from __future__ import annotations

import sys

from prunebench.cli.shell import say, show
from prunebench.documented.claims import lint as lint_run
from prunebench.documented.claims import lint_documented
from prunebench.documented.tables import find_run
from prunebench.report import claims_table
from prunebench.workloads import find_workload
from prunebench.workloads.registry import architecture_of


def lint(tables: tuple[str, ...], workload: str | None) -> None:
    """Recompute what documents claim of sizes, layers and accuracies."""
    of = architecture_of(find_workload(workload)) if workload else None
    build = of.build if of else None
    found = [find_run(table, of) for table in tables]
    claims = [claim for run in found for claim in lint_run(run, build)] if tables else lint_documented()
    show(claims_table(claims))
    differing = [claim for claim in claims if claim.status == "differs"]
    slips = [claim for claim in claims if claim.status == "known slip"]
    say("", f"{len(claims)} claims: {len(differing)} differ; known slips of the document: {len(slips)}.")
    for claim in (*differing, *slips):
        say(
            f"{claim.status}: {claim.run}: {claim.what}: documented {claim.documented}, computed {claim.computed} "
            f"({claim.source})"
        )
    sys.exit(1 if differing else 0)
