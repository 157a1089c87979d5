"""The rhythm of the day: which phase rules when."""

from doorstream.drivers.simulated.blueprint import DOORS, GROUPS, MINUTES_A_DAY
from doorstream.drivers.simulated.rhythm import phase_at

WEEK = 7 * MINUTES_A_DAY


def test_a_workday():
    """From night to night."""
    phases = [phase_at(hour * 60)[0].name for hour in (0, 6, 8, 10, 12, 15, 17, 20, 23)]
    names = ["night", "early", "arrival", "office hours", "lunch", "office hours", "leaving", "cleaning", "night"]
    assert phases == names


def test_a_free_day():
    """Saturday and Sunday have a rhythm of their own, in every week."""
    assert phase_at(5 * MINUTES_A_DAY + 600)[0].name == "weekend"
    assert phase_at(WEEK + 6 * MINUTES_A_DAY + 600)[0].name == "weekend"
    assert phase_at(WEEK + 600)[0].name == "office hours"


def test_phases_follow_each_other_without_a_gap():
    """A phase ends later than any of its minutes, and where it ends another begins."""
    minute, ends = 0.0, []
    while minute < WEEK:
        phase, until = phase_at(minute)
        assert until > minute
        assert phase_at(until - 0.01)[0] is phase
        ends.append(until)
        minute = until
    assert ends[-1] == WEEK


def test_phases_name_what_exists():
    """Zones and groups of the blueprint, and always the entrances, on which the story relies."""
    zones, groups = {door.zone for door in DOORS}, {group.name for group in GROUPS}
    minute = 0.0
    while minute < WEEK:
        phase, minute = phase_at(minute)
        assert set(phase.zones) <= zones
        assert set(phase.groups) <= groups
        assert phase.zones["entrance"] > 0
