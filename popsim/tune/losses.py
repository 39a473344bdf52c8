"""Losses that make a model answer like people, each a small function of logits.

Logits of options are those of each option's tokens summed as probabilities (`option_logits`), so that " A" and "A"
count as one answer; a softmax over them is the model's distribution over the options alone, whatever probability it
gives to other tokens. Options that a question does not have are masked. Every loss is a mean over the batch.

Sources: Cao et al. 2025 (arXiv 2502.07068) and its code, SubPOP (arXiv 2502.16761), Namikoshi et al. 2024 (arXiv
2403.20252), DPO (Rafailov et al. 2023, arXiv 2305.18290), Number Token Loss (arXiv 2411.02083).
"""

from collections.abc import Sequence

import torch
from torch.nn import functional

IGNORED = -100
_LOWEST = -1e30


def answer_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, counts: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy of the answer's tokens: the mean of -ln P(token | all before it) over those that are learned.

    Args:
        logits: (b, n, v), each position's for the token after it.
        labels: (b, n) token ids, each at the position that predicts it; -100: not learned.
        counts: (b,) how many answers each row stands for; one unless given.

    Example:
        >>> round(float(answer_cross_entropy(torch.zeros(1, 2, 4), torch.tensor([[3, -100]]))), 4)
        1.3863
    """
    if counts is None:
        return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    each = functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
    return weighted_mean(each.flatten(), ((labels != IGNORED) * counts[:, None]).flatten())


def option_logits(logits: torch.Tensor, tokens: Sequence[Sequence[Sequence[int]]]) -> torch.Tensor:
    """Sum the probabilities of the tokens that each option may begin with: ln sum exp of their logits.

    Args:
        logits: (b, v) of the first token of the answer.
        tokens: For each row, for each of its options, the ids of its tokens.

    Returns:
        (b, k) for the largest number k of options; very low where a row has no such option.

    Example:
        >>> option_logits(torch.zeros(1, 4), [[[0, 1], [2]]]).exp().tolist()
        [[2.0, 1.0]]
    """
    most = max(map(len, tokens))
    rows = []
    for row, options in zip(logits, tokens, strict=True):
        sums = [torch.logsumexp(row[list(ids)], 0) for ids in options]
        rows.append(torch.stack([*sums, *[row.new_tensor(_LOWEST)] * (most - len(sums))]))
    return torch.stack(rows)


def first_token_kl(logits: torch.Tensor, shares: torch.Tensor, *, per_option: bool = False) -> torch.Tensor:
    """KL(human || model) over the options: sum_i h_i ln(h_i / m_i), the model's m a softmax over options alone.

    Source: Cao et al. 2025, section 4.2. Their released code divides each question's value by its number of options
    (``reduction="batchmean"`` on one vector), so that questions with few options weigh more.

    Args:
        logits: (b, k) from `option_logits`.
        shares: (b, k) human shares, 0 where a question has no such option.
        per_option: Divide by the number of options, as the released code does.

    Example:
        >>> shares = torch.tensor([[0.25, 0.75]])
        >>> [round(float(first_token_kl(torch.zeros(1, 2), shares, per_option=one)), 4) for one in (False, True)]
        [0.1308, 0.0654]
    """
    log = _log_shares(logits)
    divergence = (torch.xlogy(shares, shares) - shares * log).sum(1)
    return (divergence / _present(logits).sum(1) if per_option else divergence).mean()


def first_token_js(logits: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Jensen-Shannon divergence in nats: (KL(h || c) + KL(m || c)) / 2 with c = (h + m) / 2.

    Source: the ``js`` ablation of Cao et al. 2025.

    Args: As for `first_token_kl`.

    Example:
        >>> round(float(first_token_js(torch.tensor([[90.0, 0.0]]), torch.tensor([[0.0, 1.0]]))), 4)
        0.6931
    """
    model = _log_shares(logits).exp()
    middle = ((shares + model) / 2).clamp_min(torch.finfo(model.dtype).tiny).log()
    human = torch.xlogy(shares, shares) - shares * middle
    own = torch.xlogy(model, model.clamp_min(torch.finfo(model.dtype).tiny)) - model * middle
    return ((human + own).sum(1) / 2).mean()


def first_token_ce(logits: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Cross-entropy on the option that most people chose: -ln m_j with j = argmax h; the first of equals.

    Source: the ``ce`` ablation of Cao et al. 2025.

    Args: As for `first_token_kl`.

    Example:
        >>> round(float(first_token_ce(torch.zeros(1, 2), torch.tensor([[0.25, 0.75]]))), 4)
        0.6931
    """
    return functional.nll_loss(_log_shares(logits), shares.argmax(1))


def first_token_wasserstein(logits: torch.Tensor, shares: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Ordinal Wasserstein-1: sum_i |H_i - M_i| (place_{i+1} - place_i) / (largest - smallest place).

    H and M add up the shares in the order of the places. An option whose place is not a number has none: it is left
    out and the others are scaled to sum to 1, on both sides. Source: SubPOP, ordinal WD loss. (What the code of Cao et
    al. calls ``wasserstein`` is an L1 norm of raw logits and is not offered.)

    Args:
        logits: (b, k) from `option_logits`.
        shares: (b, k) human shares.
        places: (b, k) place of each option; NaN: none. Each row needs two different ones and human mass on them.

    Example:
        >>> model, human = torch.tensor([[0.2, 0.3, 0.5]]), torch.tensor([[0.1, 0.5, 0.4]])
        >>> round(float(first_token_wasserstein(model.log(), human, torch.tensor([[1.0, 2.0, 1.5]]))), 4)
        0.15
    """
    has = ~places.isnan() & _present(logits)
    log = logits.masked_fill(~has, _LOWEST).log_softmax(1)
    human = shares.masked_fill(~has, 0.0)
    human = human / human.sum(1, keepdim=True)
    at, order = places.masked_fill(~has, torch.inf).sort(dim=1)
    gaps = (at[:, 1:] - at[:, :-1]).masked_fill(at[:, 1:].isinf(), 0.0)
    difference = (human - log.exp().masked_fill(~has, 0.0)).gather(1, order).cumsum(1)[:, :-1]
    return ((difference.abs() * gaps).sum(1) / gaps.sum(1)).mean()


def number_penalty(
    logits: torch.Tensor, values: torch.Tensor, target: torch.Tensor, *, slope: float, width: float = 0.0
) -> torch.Tensor:
    """Expected distance from the true number: sum_v P(v) min(1, slope max(0, |v - y| - width)).

    P is a softmax over the number tokens alone. With width 0 and slope 1 / range this is the expected absolute error
    in units of the range, which is the Wasserstein-1 distance to the answer (the WAS form of Number Token Loss). The
    shape with a slope and a width (a band without penalty) is ours: Namikoshi et al. sweep both and give no formula.

    Args:
        logits: (b, m) logits of the tokens of m numbers (`option_logits`).
        values: (m,) or (b, m) what each stands for.
        target: (b,) the true number.
        slope: Penalty per unit of distance.
        width: Distance that costs nothing.

    Example:
        >>> float(number_penalty(torch.zeros(1, 2), torch.tensor([0.0, 4.0]), torch.tensor([0.0]), slope=0.25))
        0.5
    """
    distance = ((values - target[:, None]).abs() - width).clamp_min(0) * slope
    return (_log_shares(logits).exp() * distance.clamp_max(1)).sum(1).mean()


def digit_penalty(
    logits: torch.Tensor, digits: torch.Tensor, weights: torch.Tensor, *, slope: float, width: float = 0.0
) -> torch.Tensor:
    """The penalty for numbers of several digits: at each digit the expected distance of the number if it were changed.

    sum over digit places j of sum_d P_j(d) min(1, slope max(0, |d - y_j| w_j - width)), each P_j given the true
    digits before it, w_j the place's worth (100, 10, 1, 0.1 ...). Ours: the published form needs single tokens.

    Args:
        logits: (b, n, 10) logits of the digits 0 to 9 at each digit place.
        digits: (b, n) the true digits; -100 where a number has fewer.
        weights: (b, n) worth of each place.
        slope: Penalty per unit of distance.
        width: Distance that costs nothing.

    Example:
        >>> logits = torch.full((1, 2, 10), -90.0)
        >>> logits[0, 0, 4] = logits[0, 1, 7] = 0.0   # says 47, truth 42
        >>> round(float(digit_penalty(logits, torch.tensor([[4, 2]]), torch.tensor([[10.0, 1.0]]), slope=0.01)), 4)
        0.05
    """
    learned = digits != IGNORED
    all_digits = torch.arange(10, dtype=logits.dtype, device=logits.device)
    distance = (all_digits - digits[..., None]).abs() * weights[..., None]
    cost = ((distance - width).clamp_min(0) * slope).clamp_max(1)
    return ((logits.softmax(-1) * cost).sum(-1) * learned).sum(1).mean()


def preference(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    base_chosen: torch.Tensor,
    base_rejected: torch.Tensor,
    beta: float,
    counts: torch.Tensor | None = None,
) -> torch.Tensor:
    """Direct preference optimisation: -ln sigmoid(beta ((c - c0) - (r - r0))).

    Source: Rafailov et al. 2023; Socrates (arXiv 2509.05830) uses it on `popsim.tune.pairings.preference_pairs`.

    Args:
        chosen: (b,) log-probability of the person's own answer.
        rejected: (b,) of another person's different answer, to the same prompt.
        base_chosen: (b,) of the own answer under the model as it was before this stage.
        base_rejected: (b,) of the other under it.
        beta: How far the model may move.
        counts: (b,) how many pairs each row stands for; one unless given.

    Example:
        >>> zero = torch.zeros(1)
        >>> round(float(preference(zero, zero, zero, zero, 0.1)), 4)
        0.6931
    """
    return weighted_mean(-functional.logsigmoid(beta * ((chosen - base_chosen) - (rejected - base_rejected))), counts)


def weighted_mean(values: torch.Tensor, counts: torch.Tensor | None) -> torch.Tensor:
    """Average a row's values, each as often as it counts.

    Args:
        values: (b,) one for each row.
        counts: (b,) how many records each row stands for; one unless given.

    Example:
        >>> float(weighted_mean(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 1.0])))
        2.0
    """
    return values.mean() if counts is None else (values * counts).sum() / counts.sum()


def _present(logits: torch.Tensor) -> torch.Tensor:
    return logits > _LOWEST / 2


def _log_shares(logits: torch.Tensor) -> torch.Tensor:
    return logits.log_softmax(1)
