import os

import pytest
import torch

from popsim.errors import TuneError
from popsim.tune.team import team


def work(place):
    weight = torch.nn.Parameter(torch.zeros(2, 3))
    weight.grad = torch.full((2, 3), float(place.rank))
    still = torch.nn.Parameter(torch.zeros(4))
    place.average([still, weight])
    return weight.grad, still.grad, place.follow(10.0 + place.rank), place.least(7 - place.rank)


def vanish(place):
    place.follow(0.0)
    os._exit(3)


def test_gradients_are_averaged_and_the_first_is_followed():
    with team(3, work, ()) as place:
        mean, none, followed, least = work(place)
    assert torch.equal(mean, torch.ones(2, 3))
    assert (none, followed, least) == (None, 10.0, 5)


def test_alone_nothing_changes():
    with team(1, work, ()) as place:
        mean, _, followed, least = work(place)
    assert (mean.sum(), followed, least) == (0, 10, 7)


def go_on(size):
    with team(size, vanish, ()) as place:
        place.follow(0.0)
        place.follow(1.0)
        place.least(1)


def test_a_process_that_ends_before_its_time_is_told():
    with pytest.raises(TuneError, match=r"train\.processes: one of them was ended"):
        go_on(2)
