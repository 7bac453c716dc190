"""Expected gains, beside the cards that they come from."""

import pytest
from conftest import made_card

from hrcnn_jax.networks import cards
from hrcnn_jax.scores.expectation import expected_gain
from hrcnn_jax.scores.protocol import Protocol, recorded


def test_what_was_measured_is_expected_and_between_it_a_mix() -> None:
    card = made_card("compact", {})
    assert expected_gain(card, 10) is None, "nothing was measured"
    card = recorded(
        card, Protocol("ours", "luma", "flat"), {each: {"gain": 9.0} for each in range(99)}
    )
    assert expected_gain(card, 10) is None, "nor with the usual table"
    card = recorded(card, Protocol("ours"), {10: {"gain": 2.0}, 20: {"gain": 1.0}})
    assert expected_gain(card, 10) == 2.0
    assert expected_gain(card, 20) == 1.0
    assert expected_gain(card, 13) == pytest.approx(1.7)  # 0.7 * 2 + 0.3 * 1
    assert expected_gain(card, 9) is None
    assert expected_gain(card, 21) is None
    card = recorded(card, Protocol("ours", "luma"), {each: {"gain": 3.0} for each in (10, 15, 20)})
    assert expected_gain(card, 13) == 3.0, "where more qualities were measured"


def test_released_networks_gain_what_the_readme_says() -> None:
    small = cards.released("small")
    for quality, gain in ((5, 1.51), (10, 1.44), (30, 1.47), (50, 1.48), (90, 1.05)):
        assert expected_gain(small, quality) == pytest.approx(gain, abs=0.006)
    assert expected_gain(cards.released("hrcnn-q10"), 10) == pytest.approx(1.31, abs=0.006)
    assert expected_gain(cards.released("hrcnn-q10"), 11) is None
