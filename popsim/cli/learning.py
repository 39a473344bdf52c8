"""Printing how far respondents moved towards what they were shown."""

from typing import Any

from popsim.cli.printing import print_table, print_text


def print_learning(table: Any) -> None:
    """Print learning rates, from `popsim.study.learning`, beside published ones."""
    from popsim.evaluate.learning import published_learning_rates

    for (item, signal, weighing), part in table.groupby(["item", "signal", "weighing"], sort=False):
        told = "with" if weighing else "without"
        print_table(
            part.drop(columns=["item", "signal", "weighing"]),
            f"Weight on {item} ({signal}), {told} the instruction that says how confidence weighs what was heard",
        )
    paragraphs = [
        "rate: b1 of update = b0 + b1 shown (signal - prior) + b2 shown + b3 (signal - prior). low, high: 95 %, "
        "Monte-Carlo, given model, prompt and temperature. rule: the beliefs that move by Bayes' rule; answers: what "
        "respondents said. wrong direction: share of those shown it who moved away from it."
    ]
    if table["weighing"].all():
        paragraphs.append(
            "The prompt orders the unsure to follow others, so a rate that falls with confidence may be obedience: "
            "run the scenario with prompt: {weighing: false} as well and give both runs"
        )
    for paragraph in paragraphs:
        print_text(paragraph, "")
    print_table(published_learning_rates(), "Published weights, each on its own signal; none is a standard")
