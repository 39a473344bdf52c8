"""The account of a fit, printed and as JSON."""

import json
import math
from typing import Any

from popsim.cli.printing import fit_line, out, print_table


def print_fit(report: dict[str, Any]) -> None:
    """Print the worst cell of each margin, what microdata gave, and how far the people are from the truth.

    Args:
        report: From `popsim.population.fit_report`.
    """
    import pandas as pd

    margins = pd.DataFrame(report["margins"])
    if len(margins):
        _print_margins(margins)
    out.print(fit_line(report["fit"]))
    for step in report["steps"]:
        _print_step(step)
    if "against" in report:
        _print_against(report["against"])
    out.print(f"Structural zeros created: {report['structural_zeros_created']}")
    people = report["people"]
    if people["design_effect"] > 1 + 1e-9:
        out.print(
            f"Weights: {people['n']} respondents tell as much as {people['effective_n']:.0f} of equal weight (design "
            f"effect {people['design_effect']:.2f}); use the column weight in every statistic"
        )


def to_json(report: dict[str, Any]) -> str:
    """Write a report as JSON, with null for what is not a number.

    Example:
        >>> to_json({"a": float("nan"), "b": (1, 2)})
        '{"a": null, "b": [1, 2]}'
    """
    return json.dumps(_plain(report), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_margins(margins: Any) -> None:
    worst = margins.loc[margins.groupby("margin", sort=False)["error"].apply(lambda e: e.abs().idxmax())]
    total = margins.groupby("margin", sort=False)["error"].apply(lambda e: e.abs().sum())
    shares = ["target", "achieved", "error", "sampling_error"]
    shown = worst[["margin", "cell", "unit"]].join((100 * worst[shares]).round(3))
    shown["total_abs_error"] = (100 * total).round(3).to_numpy()
    print_table(
        shown,
        "The worst cell of each margin, in percent of the people (sampling error: of the source itself; total "
        "absolute error: over the whole margin)",
    )
    far = margins.iloc[int(margins["error"].abs().to_numpy().argmax())]
    out.print(f"Worst of all: {far['margin']}, {far['cell']}: {100 * far['error']:+.4f} percentage points")


def _print_step(step: dict[str, Any]) -> None:
    """Say what was rescaled, and what a step took from microdata."""
    adds = ", ".join(step["adds"])
    for name, factor in step["rescaled"].items():
        out.print(f"{name}: rescaled by {factor:.8g}")
    if not step["converged"]:
        out.print(f"{adds}: DID NOT CONVERGE; worst {step['worst_cell']}: {step['worst_error']:.2e}")
    seed = step["seed"]
    if seed is None:
        return
    effective = f"effective n {seed['effective_n']:.0f}"
    if not math.isnan(seed["effective_n_fitted"]):
        effective += f", after the fit {seed['effective_n_fitted']:.0f}"
    out.print(
        f"{adds}: {seed['records']} records ({effective}); {seed['left_out']} left out, {seed['impossible']} in "
        f"impossible cells; divergence of the fit from them {step['divergence']:.4f}"
    )
    if seed["sampling_zeros"]:
        out.print(
            f"  repaired: {len(seed['sampling_zeros'])} cells without a record, first {seed['sampling_zeros'][0]}"
        )
    for names, share in seed["backed_off"].items():
        if share:
            out.print(f"  read given {names or 'nothing'}: {share:.1%} of the people")


def _print_against(against: dict[str, Any]) -> None:
    import pandas as pd

    ways = pd.DataFrame(against["ways"]).round({"srmse": 4, "worst": 4, "tae": 4, "tv": 4, "z_share": 4})
    for column in ("srmse", "worst", "tae", "tv", "z_share"):
        ways[column] = ways[column].map("{:.4f}".format)
    print_table(
        ways, f"Against {against['file']} ({against['records']} records, effective n {against['effective_n']:.0f})"
    )
    gaps = pd.DataFrame(against["associations"])
    if len(gaps):
        far = gaps.iloc[int(gaps["difference"].abs().to_numpy().argmax())]
        out.print(
            f"Cramer's V of two attributes: off by {gaps['difference'].abs().mean():.4f} on average, most for "
            f"{far['one']} and {far['two']} ({far['people']:.3f}, there {far['truth']:.3f})"
        )
    if "combinations" in against:
        found = against["combinations"]
        back = f"; of {found['truth_new']} of the truth that it lacks {found['recovered']} are recovered"
        said = f"Of the people {found['people_new']:.2%} have a combination that the seed lacks"
        out.print(said + (back if found["truth_new"] else ""))
