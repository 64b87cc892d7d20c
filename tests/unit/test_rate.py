"""How many calls were made within the last minute."""

from shared.ner.rate import CallRate


def test_calls_count_for_a_minute() -> None:
    """Each by itself."""
    times = [0.0]
    rate = CallRate(lambda: times[-1])
    assert rate.in_last_minute == 0
    for seconds in (0.0, 10.0, 59.9):
        times.append(seconds)
        rate.add()
    assert rate.in_last_minute == 3
    times.append(60.0)
    assert rate.in_last_minute == 2
    times.append(119.9)
    assert rate.in_last_minute == 0
    rate.add()
    assert rate.in_last_minute == 1
