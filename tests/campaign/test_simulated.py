"""A whole campaign in made-up worlds: it keeps its error rate, and finds what is there."""

from __future__ import annotations

import numpy as np
import pytest

from sweepkit.campaign import campaign_file, simulated
from sweepkit.campaign.course import Course

WORLDS = 60


@pytest.fixture(scope="module")
def course() -> Course:
    """The six rounds on mini, by a rule that asks for no smallest effect, so that α alone holds it."""
    extra, rule = campaign_file.load("rounds").settings(["ladder=mini", "decision.min_effect=0"])
    return Course(campaign_file.load("rounds", rule), tuple(extra))


def test_six_rounds_are_seldom_wrong_where_nothing_helps(course: Course) -> None:
    found = simulated.simulate(course, 0.001, WORLDS).set_index("world")
    alpha = course.campaign.alpha
    most = alpha + 3 * np.sqrt(alpha * (1 - alpha) / WORLDS)
    assert found.loc["nothing", "changed"] <= most
    assert (found["worse"] <= most).all()
    assert found.loc["mixed", "changed"] > 0.9 and found.loc["mixed", "gain"] > 0.005
