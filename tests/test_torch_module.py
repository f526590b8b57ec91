# SPDX-License-Identifier: Apache-2.0
"""PyTorch's side: modules compute what their graphs say, folding changes nothing, training learns, resumes and repeats itself."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch: pip install 'fqt[torch]'")
torch.set_num_threads(1)

from small_graphs import blobs, every_node  # noqa: E402

from fqt_ref.errors import FqtError  # noqa: E402
from fqt_ref.graph import Graph, Grid, Node  # noqa: E402
from fqt_ref.models import describe_network  # noqa: E402
from fqt_ref.models.describe import graph_of  # noqa: E402
from fqt_ref.transfer import graph_file  # noqa: E402
from fqt_ref.transfer.adopt import adopted  # noqa: E402
from fqt_ref.transfer.augment import Augmentation, augmentation, augmented  # noqa: E402
from fqt_ref.transfer.batch_norm import with_batch_norm  # noqa: E402
from fqt_ref.transfer.epochs import logits_of  # noqa: E402
from fqt_ref.transfer.pretrain import pretrain  # noqa: E402
from fqt_ref.transfer.settings import Settings, check  # noqa: E402
from fqt_ref.transfer.torch_module import to_graph, to_module  # noqa: E402

QUICK = Settings(epochs=4, batch_size=16, learning_rate=0.05, augment="none")


def stirred(graph: Graph):
    """A module whose batch norms are anything but neutral, in evaluation mode."""
    module = to_module(graph, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for layer in module.weighted.values():
            if layer.norm is not None:
                layer.norm.weight.copy_(torch.rand(layer.norm.num_features, generator=generator) + 0.5)
                layer.norm.bias.copy_(torch.randn(layer.norm.num_features, generator=generator))
                layer.norm.running_mean.copy_(torch.randn(layer.norm.num_features, generator=generator))
                layer.norm.running_var.copy_(torch.rand(layer.norm.num_features, generator=generator) + 0.3)
    return module.eval()


def close(a, b, tolerance=2e-5):
    """Equal to float32 rounding, relative to the largest value."""
    return np.abs(a - b).max() <= tolerance * max(1.0, np.abs(b).max())


def run(module, x):
    with torch.no_grad():
        return module.eval()(torch.from_numpy(x)).numpy()


def samples(shape, n=5):
    return np.random.default_rng(3).standard_normal((n, *shape), np.float32)


def mbednet(shape):
    return graph_of("mbednet", describe_network("mbednet", shape, 4), shape)


@pytest.mark.parametrize("graph", [every_node(), mbednet((16, 16, 3)), mbednet((1, 64, 2))], ids=["every-node", "image", "signal"])
def test_folded_graph_computes_what_the_module_does(graph):
    module = stirred(graph)
    made = to_graph(module)
    assert not any(node.batch_norm for node in made.nodes)
    x = samples(graph.input_shape)
    assert close(run(to_module(made), x), run(module, x))


def reference(graph: Graph, x: np.ndarray) -> np.ndarray:
    """Logits of one sample (h, w, c) by loops over the definition, float64."""
    tensors = [x.astype(np.float64)]
    for i, node in enumerate(graph.nodes):
        source, (h, w, c) = tensors[node.inputs[0]], graph.shape(i + 1)
        y = np.zeros((h, w, c))
        if node.op == "linear":
            y[0, 0] = node.weights.reshape(c, -1).astype(np.float64) @ source.ravel() + node.bias
        elif node.op == "add":
            y = source + tensors[node.inputs[1]]
        elif node.op == "hard_swish":
            y = source * np.clip(source + 3, 0, 6) / 6
        else:
            top, bottom, left, right = node.padding
            padded = np.pad(source, ((top, bottom), (left, right), (0, 0)))
            for row, column in np.ndindex(h, w):
                taps = [
                    padded[row * node.stride[0] + i * node.dilation[0], column * node.stride[1] + j * node.dilation[1]]
                    for i, j in np.ndindex(*node.kernel)
                ]
                window = np.array(taps).reshape(*node.kernel, -1)
                if node.op == "max_pool2d":
                    y[row, column] = window.max((0, 1))
                elif node.op == "avg_pool2d":
                    y[row, column] = window.mean((0, 1))
                elif node.op == "conv2d":
                    y[row, column] = np.einsum("oijc,ijc->o", node.weights, window) + node.bias
                else:
                    y[row, column] = np.einsum("cij,ijc->c", node.weights[..., 0], window) + node.bias
        low, high = {"": (-np.inf, np.inf), "relu": (0, np.inf), "relu6": (0, 6)}[node.activation]
        tensors.append(np.clip(y, low, high))
    return tensors[-1].ravel()


def test_module_computes_what_the_graph_says():
    graph = to_graph(stirred(every_node()))
    x = samples(graph.input_shape, 2)
    assert close(run(to_module(graph), x), np.stack([reference(graph, sample) for sample in x]))


def test_batch_norm_comes_back_without_changing_the_network():
    graph = to_graph(stirred(every_node()))
    x = samples(graph.input_shape, 20)
    module = with_batch_norm(graph, torch.from_numpy(x))
    assert [n.batch_norm for n in module.graph.nodes if n.op == "linear"] == [True, False]
    assert close(run(module, x), run(to_module(graph), x))
    module.train()
    with torch.no_grad():
        assert close(module(torch.from_numpy(x)).numpy(), run(to_module(graph), x), 1e-3)  # these samples made the statistics


def test_adopted_weights():
    """Layers of equal shape start from the source; a first layer with other inputs and one with other classes do not."""
    source = to_graph(stirred(mbednet((16, 16, 3))))
    made, count = adopted(mbednet((32, 32, 1)), source)
    assert count == sum(node.weights is not None for node in source.nodes) - 1
    assert made.nodes[0].weights is None and made.nodes[1].weights is source.nodes[1].weights
    assert with_batch_norm(made, torch.from_numpy(samples((32, 32, 1)))).weighted[0].norm is not None
    with pytest.raises(FqtError, match="other layers"):
        adopted(every_node(), source)


def test_padded_pool_is_refused():
    graph = Graph("pool", (4, 4, 1))
    graph.append(Node("max_pool2d", (0,), 1, (2, 2), (2, 2), (1, 1, 1, 1)))
    with pytest.raises(FqtError, match="pooling with padding"):
        to_module(graph)


def test_weights_that_are_not_finite_are_refused():
    module = to_module(every_node())
    with torch.no_grad():
        module.weighted[0].layer.weight[0] = float("nan")
    with pytest.raises(FqtError, match="layer 0 are not finite"):
        to_graph(module)


def test_seed_decides_the_weights():
    first, again, other = (to_graph(to_module(every_node(), seed)).nodes[0].weights for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_pretraining_learns():
    data = blobs()
    module = to_module(every_node(), 0)
    epochs = list(pretrain(module, data, QUICK))
    assert epochs[-1].test_accuracy > 0.9 and epochs[-1].loss < epochs[0].loss


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_resumed_run_does_what_an_uninterrupted_one_does(tmp_path, optimizer):
    data, file = blobs(), tmp_path / "run.checkpoint"
    settings = replace(QUICK, optimizer=optimizer, learning_rate=0.02, augment="flip-shift")
    whole = to_module(every_node(), 0)
    expected = [epoch.loss for epoch in pretrain(whole, data, settings)]
    runner = pretrain(to_module(every_node(), 0), data, settings, file)
    next(runner), next(runner)
    runner.close()
    resumed = to_module(every_node(), 5)
    assert [epoch.loss for epoch in pretrain(resumed, data, settings, file)] == expected
    assert np.array_equal(logits_of(resumed, data.test_x, data), logits_of(whole, data.test_x, data))


def test_checkpoint_of_other_settings_is_refused(tmp_path):
    data, file = blobs(), tmp_path / "run.checkpoint"
    list(pretrain(to_module(every_node()), data, replace(QUICK, epochs=1), file))
    with pytest.raises(FqtError, match="learning_rate"):
        list(pretrain(to_module(every_node()), data, replace(QUICK, epochs=1, learning_rate=0.01), file))
    file.write_bytes(b"no checkpoint")
    with pytest.raises(FqtError, match="not a checkpoint"):
        list(pretrain(to_module(every_node()), data, replace(QUICK, epochs=1), file))


def test_data_that_does_not_fit_is_refused():
    with pytest.raises(FqtError, match="choose data that fits"):
        list(pretrain(to_module(every_node()), blobs((8, 8, 2)), QUICK))
    with pytest.raises(FqtError, match="has 4 classes"):
        list(pretrain(to_module(every_node()), blobs(classes=4), QUICK))


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 1}, {"optimizer": "lion"}, {"learning_rate": 0.0}, {"reduced": 2.0}])
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(FqtError):
        check(replace(QUICK, **wrong))


def test_loss_that_explodes_is_said():
    with pytest.raises(FqtError, match="learning rate below"):
        list(pretrain(to_module(every_node()), blobs(), replace(QUICK, learning_rate=1e30)))


def test_augmentation_moves_mirrors_and_fills():
    x = torch.arange(1, 17, dtype=torch.uint8).reshape(1, 4, 4, 1).expand(64, 4, 4, 1)
    made = augmented(x, Augmentation(True, (1, 1)), 0, (4, 4), torch.Generator().manual_seed(0))
    assert made.shape == x.shape
    row, mirrored = [6, 7], [7, 6]  # the middle of an image stays inside whatever the move by one
    assert all(any(pair in (row, mirrored) for pair in image[:, :, 0].unfold(1, 2, 1).reshape(-1, 2).tolist()) for image in made)
    assert len({tuple(image.flatten().tolist()) for image in made}) > 9
    window = augmented(x, Augmentation(False, (0, 0)), 0, (3, 3), torch.Generator().manual_seed(0))
    assert window.shape == (64, 3, 3, 1) and int(window.min()) >= 1


def test_automatic_augmentation():
    assert augmentation("auto", (32, 32, 3)) == Augmentation(True, (4, 4))
    assert augmentation("auto", (49, 40, 1)) == Augmentation(False, (6, 0))
    assert augmentation("auto", (1, 512, 1)) == Augmentation(False, (0, 0))
    with pytest.raises(FqtError, match="flip-shift"):
        augmentation("mixup", (32, 32, 3))


def test_graph_file_keeps_everything(tmp_path):
    graph = to_graph(stirred(every_node()))
    graph.input_grid = Grid(np.array([0.5], np.float32), np.array([3], np.int32))
    graph.nodes[0].weight_grid = Grid(np.ones(8, np.float32), np.zeros(8, np.int32))
    graph_file.write(tmp_path / "graph.npz", graph, {"test_accuracy": 0.5})
    found, notes = graph_file.read(tmp_path / "graph.npz")
    assert notes == {"test_accuracy": 0.5} and found.input_grid.zero[0] == 3 and found.nodes[0].weight_grid.scale.size == 8
    x = samples(graph.input_shape)
    assert np.array_equal(run(to_module(found), x), run(to_module(graph), x))
    assert [(n.op, n.inputs, n.kernel, n.stride, n.padding, n.dilation, n.activation, n.head) for n in found.nodes] == [
        (n.op, n.inputs, n.kernel, n.stride, n.padding, n.dilation, n.activation, n.head) for n in graph.nodes
    ]


def test_graph_file_that_is_none(tmp_path):
    with pytest.raises(FqtError, match="no such file"):
        graph_file.read(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(FqtError, match="not a float32 network"):
        graph_file.read(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(FqtError, match="not a float32 network"):
        graph_file.read(tmp_path / "other.npz")
