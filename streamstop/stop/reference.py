"""The reference: the same network unrolled in time and differentiated by autograd (BPTT).

Slow, memory growing with time, and the oracle that `tests/stop` holds the rule against in float64.
The reset spike is detached, as in STOP; the spike's derivative is the surrogate.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from streamstop.stop.layers import LEAK_MAX
from streamstop.stop.lif import SURROGATES
from streamstop.stop.network import Network


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, surrogate: str) -> Tensor:
        ctx.save_for_backward(v)
        ctx.surrogate = surrogate
        return (v >= 0).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (v,) = ctx.saved_tensors
        return g * SURROGATES[ctx.surrogate](v.clone()), None


def bptt_grads(
    network: Network, x: Tensor, labels: Tensor, *, same_step_only: bool = False
) -> dict[str, Tensor]:
    """Gradients of the summed cross-entropy over all bins and samples, by parameter name.

    x : (bins, batch, polarities, height, width).  labels : (batch,).
    same_step_only : cut the path by which a layer's spike reaches later bins through the membrane
        of the layer above. What is left is what STOP keeps; the difference is what it drops.
    """
    with torch.enable_grad():
        p = {k: v.detach().clone().requires_grad_() for k, v in network.parameters().items()}
        batch = x.shape[1]
        u = [torch.zeros(batch, *layer.neurons, dtype=x.dtype) for layer in network.layers]
        s = [torch.zeros_like(v) for v in u]
        loss = torch.zeros((), dtype=x.dtype)
        for now in x:
            below: Tensor = now
            for i, (name, layer) in enumerate(zip(network.names, network.layers, strict=True)):
                leak = LEAK_MAX * torch.sigmoid(p[f"{name}.leak_logit"])
                theta = torch.exp(p[f"{name}.log_theta"]).view(1, -1, 1, 1)
                weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
                below = below.reshape(batch, *layer.in_shape)
                kept = leak * (u[i] - theta * s[i])
                current = functional.conv2d(below, weight, bias, layer.stride, layer.pad)
                membrane = kept + current
                if same_step_only and i:
                    # what carries on is the same number, but knows only of this layer's own
                    # parameters: the input's share enters it detached
                    carried = kept + functional.conv2d(
                        below.detach(), weight, bias, layer.stride, layer.pad
                    )
                else:
                    carried = membrane
                spike: Tensor = _Spike.apply(  # type: ignore[no-untyped-call]
                    membrane - theta, network.spec.surrogate
                )
                u[i], s[i] = carried, spike.detach()
                pool = layer.spec.pool
                below = functional.avg_pool2d(spike, pool) if pool > 1 else spike
            logits = functional.linear(below.flatten(1), p["readout.weight"], p["readout.bias"])
            loss = loss + functional.cross_entropy(logits, labels, reduction="sum")
        names = list(p)
        values = torch.autograd.grad(loss, [p[n] for n in names])
    return dict(zip(names, values, strict=True))
