"""Which rounds stand, and the one that is next: the whole state of a campaign, read from its folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sweepkit.campaign.course import Course, Standing
from sweepkit.campaign.finale import closing
from sweepkit.errors import FrozenPlanError
from sweepkit.sweep import set_fields
from sweepkit.sweep.file import SweepFile


@dataclass(frozen=True)
class Step:
    """A round, or a sweep of the campaign's end.

    Attributes:
        name: of the round; of a closing sweep, its own.
        sweep: as it is, or is to be, frozen; None where nothing was left to try.
        extra: overrides of the command line that go with it.
        standing: what it decided; None while it has not.
    """

    name: str
    sweep: SweepFile | None
    extra: tuple[str, ...] = ()
    standing: Standing | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has yet to be decided."""
        return self.sweep is not None and self.standing is None


def walk(course: Course, find: Callable[[str], Standing | None]) -> tuple[Course, list[Step]]:
    """As far as verdicts stand; only the last step may be open, and is the one to run.

    Args:
        course: at its beginning.
        find: the name of a sweep → what it decided.

    Returns:
        The course with all that stands, and its steps.

    Raises:
        FrozenPlanError: a sweep was frozen from other files, overrides or verdicts than there are now.
    """
    steps: list[Step] = []
    for name in course.campaign.order:
        sweep = course.resolved(name)
        steps.append(_step(name, sweep, course.extra, find))
        if steps[-1].is_open:
            return course, steps
        if found := steps[-1].standing:
            course = replace(course, standings=course.standings | {name: found})
    for item in closing(course):
        steps.append(_step(item.sweep.name, item.sweep, item.extra, find))
        if steps[-1].is_open:
            break
    return course, steps


def _step(
    name: str, sweep: SweepFile | None, extra: tuple[str, ...], find: Callable[[str], Standing | None]
) -> Step:
    found = find(sweep.name) if sweep else None
    if sweep and found:
        was = replace(found.sweep, replaced_seeds={}, question=sweep.question)
        if was != sweep or _computing(found.overrides) != _computing(extra):
            raise FrozenPlanError(
                f"{found.folder} was decided on other levels, overrides or verdicts than {name} now follows "
                "from; restore the campaign's files and the command line, or take another results folder"
            )
    return Step(name, sweep, extra, found)


def _computing(overrides: Sequence[str]) -> list[str]:
    """Those that change what runs compute."""
    return [item for item in overrides if not set_fields.is_execution(item)]
