"""Action of `prunebench bisect`."""

from __future__ import annotations

import signal
import sys

from prunebench.cli.shell import say
from prunebench.errors import HistoryError, SkippedCommitError
from prunebench.history.bisect import Search, figure_between
from prunebench.history.worktrees import Evaluator, commits_between, subject
from prunebench.records import RunRecord
from prunebench.report.history import wrapped
from prunebench.storage.files import check_writable


def bisect(good: str, bad: str, command: tuple[str, ...], figure: str | None, images: int | None, alpha: float) -> None:
    """Find the commit after GOOD, up to BAD, at which a figure fell."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the worktree of the moment is removed
    asks = any("{images}" in part for part in command)
    if asks != (images is not None):
        raise HistoryError("{images} in COMMAND and --images belong together: the number of all test images")
    commits = commits_between(good, bad)
    evaluate = Evaluator.of(command)
    check_writable(evaluate.kept)
    before, after = (_end(evaluate, commit, images) for commit in (commits[0], commits[-1]))
    looked_for = figure_between(before, after, figure, alpha=alpha)
    change = looked_for.change(before, after)
    _tell(f"{looked_for.name} from GOOD to BAD, {len(commits) - 1} commits: {change.said}")
    search = Search(commits=commits, evaluate=evaluate, figure=looked_for, alpha=alpha, images=images, tell=_tell).run()
    _show(search, all_of_it=change.amount)
    sys.exit(0 if search.is_found else 3)


def _tell(line: str) -> None:
    say(*wrapped(line))


def _end(evaluate: Evaluator, commit: str, images: int | None) -> RunRecord:
    try:
        return evaluate(commit, images)
    except SkippedCommitError as error:
        raise HistoryError(f"cannot measure {commit[:9]}, which GOOD or BAD names: {error}") from error


def _show(search: Search, *, all_of_it: float) -> None:
    fall, name = search.fall, search.figure.name
    first, last = search.commits[search.low + 1], search.commits[search.high]
    verb = "fell" if search.figure.sign > 0 else "rose"
    if search.is_found:
        lead = f"{last} ({subject(last)}) is the commit: there {name} {verb}"
    else:
        lead = f"a range of {search.high - search.low} commits, {first[:9]} to {last[:9]}: in it {name} {verb}"
    _tell(
        f"{lead} by {fall.amount:.2f} points of {all_of_it:.2f} ({fall.said}, p = {fall.p:.2g}); the chance that it is "
        f"another is about {search.alpha:g} at most"
    )
