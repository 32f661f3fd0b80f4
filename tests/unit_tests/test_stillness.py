"""How long nothing has happened."""

from langchain_sandbox.stillness import Stillness


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_counts_from_what_happened_last() -> None:
    clock = Clock()
    stillness = Stillness(clock=clock)
    clock.now += 5
    assert stillness.seconds(busy=False) == 5
    stillness.stir()
    assert stillness.seconds(busy=False) == 0
    clock.now += 3
    assert stillness.seconds(busy=False) == 3


def test_what_is_under_way_is_not_still_however_quiet_it_is() -> None:
    clock = Clock()
    stillness = Stillness(clock=clock)
    clock.now += 500
    assert stillness.seconds(busy=True) == 0
    clock.now += 2
    assert stillness.seconds(busy=False) == 2
