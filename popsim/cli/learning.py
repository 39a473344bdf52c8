"""Printing how far respondents moved towards what they were shown."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from popsim.cli.printing import out, print_table

if TYPE_CHECKING:
    from popsim.study import Run


def print_learning(runs: "Sequence[Run]") -> bool:
    """Print the learning rates of runs beside published ones; says whether there were any."""
    from popsim.evaluate.learning import published_learning_rates
    from popsim.study.learning import learning

    table = learning(*runs)
    if table.empty:
        return False
    for (item, signal, weighing), part in table.groupby(["item", "signal", "weighing"], sort=False):
        told = "with" if weighing else "without"
        print_table(
            part.drop(columns=["item", "signal", "weighing"]),
            f"Weight on {item} ({signal}), {told} the instruction that says how confidence weighs what was heard",
        )
    out.print(
        "rate: b1 of update = b0 + b1 shown (signal - prior) + b2 shown + b3 (signal - prior); low, high: 95 %, "
        "Monte-Carlo, given model, prompt and temperature; rule: the beliefs that move by Bayes' rule; answers: what "
        "respondents said."
    )
    if table["weighing"].all():
        out.print(
            "The prompt orders the unsure to follow others, so a rate that falls with confidence may be obedience: "
            "run the scenario with prompt: {weighing: false} as well and give both runs"
        )
    print_table(published_learning_rates(), "Published weights, each on its own signal; none is a standard")
    return True
