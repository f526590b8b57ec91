# SPDX-License-Identifier: Apache-2.0
"""PyTorch modules and files to Graph: the same outputs as PyTorch itself."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra fqt[torch] is not installed")
pytest.importorskip("onnx", reason="the extra fqt[onnx] is not installed")
pytest.importorskip("onnxscript", reason="PyTorch's exporter needs onnxscript")

from graph_interpreter import logits  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from fqt_ref.convert import load  # noqa: E402
from fqt_ref.convert.pytorch import from_module  # noqa: E402
from fqt_ref.errors import FqtError  # noqa: E402


class Residual(nn.Module):
    """A stem, an inverted residual with ReLU6, hard-swish, a classifier that flattens."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.expand = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.depth = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.project = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.act, self.drop, self.fc = nn.Hardswish(), nn.Dropout(0.5), nn.Linear(8 * 3 * 2, 5)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.project(self.depth(self.expand(x)))
        x = functional.avg_pool2d(self.act(x), 2)
        return self.fc(self.drop(torch.flatten(x, 1)))


class Classic(nn.Module):
    """The MNIST example of many tutorials: ReLU behind the pool, view, log-softmax."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3)
        self.fc1, self.fc2 = nn.Linear(6 * 2 * 2, 12), nn.Linear(12, 10)

    def forward(self, x):
        x = functional.relu(functional.max_pool2d(self.conv1(x), 2))
        x = functional.relu(functional.max_pool2d(self.conv2(x), 2))
        x = functional.relu(self.fc1(x.view(x.size(0), -1)))
        return functional.log_softmax(self.fc2(x), 1)


def trained(module, shape):
    """A module with batch norm statistics that are not the initial ones."""
    torch.manual_seed(0)
    module.train()
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(8, *shape) * 2 + 0.5)
    return module.eval()


def differs(imported, module, shape, softmax=False):
    x = torch.randn(5, *shape)
    with torch.no_grad():
        theirs = module(x).numpy()
    ours = logits(imported.graph, x.numpy().transpose(0, 2, 3, 1) if len(shape) == 3 else x.numpy())
    if softmax:
        ours = ours - np.log(np.exp(ours).sum(1, keepdims=True))
    return np.abs(ours - theirs).max()


def test_residual_module():
    module = trained(Residual(), (3, 12, 8))
    module.train()
    imported = from_module(module, torch.zeros(1, 3, 12, 8), "mine")
    assert module.training
    assert module.stem[1].training
    assert differs(imported, module.eval(), (3, 12, 8)) < 1e-4
    assert imported.graph.name == "mine"
    assert [(n.op, n.activation) for n in imported.graph.nodes] == [
        ("conv2d", "relu"), ("conv2d", "relu6"), ("depthwise_conv2d", "relu6"), ("conv2d", ""), ("add", ""), ("hard_swish", ""),
        ("avg_pool2d", ""), ("linear", ""),
    ]  # fmt: skip


def test_classic_module():
    module = trained(Classic(), (1, 14, 14))
    imported = from_module(module, torch.zeros(1, 1, 14, 14))
    assert differs(imported, module, (1, 14, 14), softmax=True) < 1e-4
    assert imported.graph.name == "Classic"
    assert [n.op for n in imported.graph.nodes] == ["conv2d", "max_pool2d", "conv2d", "max_pool2d", "linear", "linear"]


def test_exported_program(tmp_path):
    module = trained(Residual(), (3, 12, 8))
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(module, (torch.zeros(1, 3, 12, 8),)), path)
    assert differs(load(path), module, (3, 12, 8)) < 1e-4


def test_torchscript(tmp_path):
    module = trained(Residual(), (3, 12, 8))
    path = tmp_path / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(module, torch.zeros(1, 3, 12, 8)), path)
    assert differs(load(path, (3, 12, 8)), module, (3, 12, 8)) < 1e-4
    with pytest.raises(FqtError, match="--input-shape"):
        load(path)


def test_refusals(tmp_path):
    with pytest.raises(FqtError, match="Module is needed"):
        from_module("net", torch.zeros(1, 1))
    with pytest.raises(FqtError, match="pooling with padding"):
        from_module(nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(3, 2, 1)), torch.zeros(1, 1, 9, 9))

    class Odd(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(FqtError, match="PyTorch cannot export it") as caught:
        from_module(Odd(), torch.zeros(1, 3))
    assert "\n" not in str(caught.value)
    for suffix, words in ((".pt2", "not an exported program"), (".pt", "not a TorchScript file")):
        path = tmp_path / f"net{suffix}"
        path.write_text("weights, perhaps")
        with pytest.raises(FqtError, match=words):
            load(path)
    path = tmp_path / "state.pt"
    torch.save(Classic().state_dict(), path)
    with pytest.raises(FqtError, match="state dict"):
        load(path)
