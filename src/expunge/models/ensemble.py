"""Several shards' models answering as one: by their probabilities, or by the numbers that they answer."""

from __future__ import annotations

import torch
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.schedule.recipe import Voting


class MeanAnswer(nn.Module):
    """Mean of the numbers that the shards answer. A shard with nobody left is not in ``members``."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.shards = nn.ModuleList(members)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.stack([member(inputs) for member in self.shards]).mean(dim=0)


class Ensemble(nn.Module):
    """Mean of the shards' probabilities, or their majority; nothing is learnt on top.

    Outputs are logarithms of probabilities, so they serve wherever logits do. Under a majority vote the shards' mean
    probability counts as one vote more: it breaks ties and keeps every class above zero. A shard with nobody left is
    not in ``members``.
    """

    def __init__(self, members: list[nn.Module], voting: Voting) -> None:
        super().__init__()
        if not members:
            raise InvalidArgument("an ensemble needs at least one shard with somebody in it")
        self.shards = nn.ModuleList(members)
        self.voting = voting

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits = torch.stack([member(inputs) for member in self.shards]).double()
        mean = torch.logsumexp(torch.log_softmax(logits, dim=2), dim=0) - torch.log(
            torch.tensor(float(len(self.shards)), dtype=torch.float64, device=logits.device)
        )
        if self.voting is Voting.MEAN:
            return mean
        votes = torch.nn.functional.one_hot(logits.argmax(dim=2), logits.shape[2]).sum(dim=0)
        return torch.log((votes + mean.exp()) / (len(self.shards) + 1))
