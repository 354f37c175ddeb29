# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""Real processes over networks that delay, reset, stall, fall silent or trickle.

Nobody does anything about it; the sums are those of the members' own terms (``Stage.check``).
"""

import time
from collections.abc import Iterator

import pytest

from tests.proxy import Weather
from tests.stage import Stage, stage

CALM = Weather()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("weather")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDCODE_CACHE", str(folder / "cache"))
        with stage(folder, rounds=1000, proxied=True) as found:
            found.until("a first round", lambda: found.rounds() > 0)
            yield found


def during(made: Stage, weather: Weather, *, ports=("enrolment", "fleet"), seconds: float) -> float:
    """A round that is done in a weather, wholly; says how long it took."""
    for port in ports:
        made.proxies[port].weather = weather
    begun = made.rounds()
    start = time.monotonic()
    made.until(f"two rounds in {weather}", lambda: made.rounds() >= begun + 2, seconds)
    calm(made)
    return time.monotonic() - start


def after(made: Stage, weather: Weather, *, ports=("enrolment", "fleet"), lasting: float) -> None:
    """A weather that lasts for a while; then rounds go on."""
    for port in ports:
        made.proxies[port].weather = weather
    time.sleep(lasting)
    calm(made)
    goes_on(made)


def calm(made: Stage) -> None:
    for proxy in made.proxies.values():
        proxy.weather = CALM


def goes_on(made: Stage, seconds: float = 180) -> None:
    """A round more, and soon one with all members; what holds always holds now."""
    begun = made.rounds()
    made.until("a round more", lambda: made.rounds() > begun, seconds)
    made.until(
        "everybody is back",
        lambda: len(made.run.done()[-1]["survivors"]) == len(made.names),
        seconds,
    )
    made.check()


@pytest.mark.slow
def test_latency(made: Stage) -> None:
    during(made, Weather(delay=0.05), seconds=180)
    goes_on(made)


@pytest.mark.slow
def test_resets(made: Stage) -> None:
    during(made, Weather(resets=0.03), seconds=180)
    assert made.proxies["fleet"].counts["resets"] > 0
    goes_on(made)


@pytest.mark.slow
def test_a_trickle(made: Stage) -> None:
    during(made, Weather(trickle=100_000), seconds=180)
    goes_on(made)


@pytest.mark.slow
def test_a_stall(made: Stage) -> None:
    after(made, Weather(stalled=True), lasting=3)


def test_a_partition(made: Stage) -> None:
    """Connections are lost without a word, and new ones are silent."""
    for proxy in made.proxies.values():
        proxy.vanish()
    after(made, Weather(silent=True, stalled=True), lasting=3)


def test_rounds_go_on_without_the_enrolment_service(made: Stage) -> None:
    made.proxies["enrolment"].vanish()
    during(made, Weather(silent=True), ports=("enrolment",), seconds=60)
    goes_on(made)


# The same at length.


@pytest.mark.slow
def test_two_seconds_of_latency(made: Stage) -> None:
    during(made, Weather(delay=1.0), seconds=900)  # there and back
    goes_on(made)


@pytest.mark.slow
def test_every_tenth_piece_is_a_reset(made: Stage) -> None:
    during(made, Weather(resets=0.1), seconds=900)
    goes_on(made)


@pytest.mark.slow
def test_a_slow_drip(made: Stage) -> None:
    during(made, Weather(trickle=10_000), seconds=900)
    goes_on(made)


@pytest.mark.slow
@pytest.mark.parametrize("port", ["enrolment", "fleet"])
def test_a_minute_of_half_open_connections(made: Stage, port: str) -> None:
    made.proxies[port].vanish()
    after(made, Weather(silent=True), ports=(port,), lasting=60)


@pytest.mark.slow
def test_a_stall_of_a_minute(made: Stage) -> None:
    after(made, Weather(stalled=True), lasting=60)


@pytest.mark.slow
def test_a_partition_of_a_minute(made: Stage) -> None:
    for proxy in made.proxies.values():
        proxy.vanish()
    after(made, Weather(silent=True, stalled=True), lasting=60)
