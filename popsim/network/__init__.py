"""Networks: who follows whom, and how news and opinions spread."""

from popsim.network.build import build_network
from popsim.network.exchange import from_networkx, to_networkx
from popsim.network.feed import NEVER, feed
from popsim.network.spec import FollowNetwork, NetworkSpec, NoNetwork
from popsim.network.spread import Reached, first_hearers, followers, spread_step
from popsim.network.summary import summarise, tail_exponent

__all__ = [
    "NEVER",
    "FollowNetwork",
    "NetworkSpec",
    "NoNetwork",
    "Reached",
    "build_network",
    "feed",
    "first_hearers",
    "followers",
    "from_networkx",
    "spread_step",
    "summarise",
    "tail_exponent",
    "to_networkx",
]
