import pytest
import torch

from kindling.errors import UsageError
from kindling.models.wide_res_net import WideResNet


def test_wide_res_net_has_the_depth_and_width_asked_for() -> None:
    net = WideResNet(in_channels=3, num_outputs=4, depth=10, width=2)
    assert sum(m.kernel_size == (3, 3) for m in net.modules() if isinstance(m, torch.nn.Conv2d)) == 7
    assert net(torch.zeros(2, 3, 28, 28)).shape == (2, 4)
    assert sum(p.numel() for p in WideResNet(depth=28, width=10, in_channels=3).parameters()) == 36_479_194  # the paper
    with pytest.raises(UsageError, match="depth 12: three stages"):
        WideResNet(depth=12)
