"""Networks: who follows whom, how news and opinions spread, and how they move beliefs."""

from popsim.network.beliefs import (
    Beliefs,
    Signal,
    agreement,
    bounded_confidence,
    degroot,
    friedkin_johnsen,
    hear,
    latest_of_source,
    prior_beliefs,
    stubbornness,
)
from popsim.network.build import build_network
from popsim.network.exchange import from_networkx, read_ties, tied, to_networkx
from popsim.network.feed import NEVER, feed
from popsim.network.hearers import assigned, attribute_weight, first_hearers, most_followed
from popsim.network.placebo import placebo_graph, rewired, shuffled
from popsim.network.spec import (
    BlockNetwork,
    FileNetwork,
    FollowNetwork,
    NetworkSpec,
    NoNetwork,
    PreferentialNetwork,
    SmallWorldNetwork,
)
from popsim.network.spread import (
    Item,
    Reached,
    cascade,
    followers,
    never_heard,
    share_probability,
    spread_items,
    spread_step,
    tellings,
    threshold_step,
)
from popsim.network.summary import clustering, summarise, tail_exponent

__all__ = [
    "NEVER",
    "Beliefs",
    "BlockNetwork",
    "FileNetwork",
    "FollowNetwork",
    "Item",
    "NetworkSpec",
    "NoNetwork",
    "PreferentialNetwork",
    "Reached",
    "Signal",
    "SmallWorldNetwork",
    "agreement",
    "assigned",
    "attribute_weight",
    "bounded_confidence",
    "build_network",
    "cascade",
    "clustering",
    "degroot",
    "feed",
    "first_hearers",
    "followers",
    "friedkin_johnsen",
    "from_networkx",
    "hear",
    "latest_of_source",
    "most_followed",
    "never_heard",
    "placebo_graph",
    "prior_beliefs",
    "read_ties",
    "rewired",
    "share_probability",
    "shuffled",
    "spread_items",
    "spread_step",
    "stubbornness",
    "summarise",
    "tail_exponent",
    "tellings",
    "threshold_step",
    "tied",
    "to_networkx",
]
