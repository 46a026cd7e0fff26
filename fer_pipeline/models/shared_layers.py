"""Layers that see the whole batch though each process holds a share of it: batch norm and dropout.

torch's own SyncBatchNorm is for GPUs alone, and its dropout draws another mask in every process.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from fer_pipeline.models.distributed import Share, count_processes


class SharedBatchNorm(_BatchNorm):
    """Batch norm of (B, C, ...) by the mean and variance of all processes' crops."""

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            statistics = (self.running_mean, self.running_var)
            return functional.batch_norm(features, *statistics, self.weight, self.bias, eps=self.eps)
        dims = [0, *range(2, features.ndim)]
        shape = [1, -1, *[1] * (features.ndim - 2)]
        values = features.float()
        count: Tensor = _AddUp.apply(values.new_tensor(values.numel() / values.shape[1]))
        mean = _AddUp.apply(values.sum(dims)) / count
        centred = values - mean.view(shape)
        variance = _AddUp.apply(centred.square().sum(dims)) / count
        self._note(mean.detach(), (variance * count / (count - 1)).detach())
        normalised = centred * (variance + self.eps).rsqrt().view(shape)
        scaled: Tensor = normalised * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(features.dtype)

    def _note(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, which prediction uses."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running.lerp_(new, momentum)


class SharedDropout(nn.Dropout):
    """Dropout by this process's part of the mask that a single process would draw for the whole batch."""

    share = Share(0, 0, 0)

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or not self.p:
            return super().forward(features)
        whole = features.new_ones((self.share.total, *features.shape[1:]))
        if features.ndim == 4 and features.is_contiguous(memory_format=torch.channels_last):
            whole = whole.contiguous(memory_format=torch.channels_last)  # masks are drawn in the order of the memory
        mask = functional.dropout(whole, self.p)
        return features * mask[self.share.start : self.share.stop]


class _AddUp(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        summed = values.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _AddUp.apply(gradients[0])  # type: ignore[no-any-return]


def share_layers(network: nn.Module) -> None:
    """Put such layers in the place of torch's, with the same weights, where several processes train."""
    if count_processes() == 1:
        return
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _share_norm(child))
            elif isinstance(child, nn.Dropout):
                setattr(parent, name, SharedDropout(child.p))


def _share_norm(norm: _BatchNorm) -> SharedBatchNorm:
    shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum)
    shared.load_state_dict(norm.state_dict())
    for own, given in zip(shared.parameters(), norm.parameters(), strict=True):
        own.requires_grad_(given.requires_grad)
    return shared.train(norm.training)


def take_part(network: nn.Module, share: Share) -> None:
    """Tell the layers which share of the batch comes next."""
    for layer in network.modules():
        if isinstance(layer, SharedDropout):
            layer.share = share
