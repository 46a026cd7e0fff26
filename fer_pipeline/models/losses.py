"""The loss of each crop, one formula for cross-entropy and focal loss."""

import torch
from torch import Tensor
from torch.nn import functional


def weigh_losses(
    logits: Tensor, targets: Tensor, *, gamma: float = 0, smoothing: float = 0, weights: Tensor | None = None
) -> Tensor:
    """Losses (B,) of logits (B, classes) and targets int64 (B,): -w(y) sum_c q_c (1 - p_c)^gamma log p_c.

    q is the target with its `smoothing` spread over all classes (Szegedy et al. 2016), `gamma` how much less an easy
    crop counts (Lin et al. 2017; 0: cross-entropy), w(y) the weight of the target's class.
    """
    logs = functional.log_softmax(logits.float(), dim=1)
    wanted = torch.full_like(logs, smoothing / logs.shape[1])
    wanted.scatter_(1, targets[:, None], 1 - smoothing + smoothing / logs.shape[1])
    if gamma:
        # The derivative of a power below one has no bound at zero.
        wanted = wanted * (1 - logs.exp()).clamp_min(1e-6) ** gamma
    losses = -(wanted * logs).sum(dim=1)
    return losses if weights is None else losses * weights[targets]
