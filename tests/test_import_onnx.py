# SPDX-License-Identifier: Apache-2.0
"""ONNX to Graph: every operator against onnxruntime, and one clear line for what cannot be imported."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra fqt[onnx] is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is what imports are compared with")

from graph_interpreter import logits  # noqa: E402
from onnx_models import Maker, differences, quantized_qdq, run_onnx, same  # noqa: E402

from fqt_ref.convert import load  # noqa: E402
from fqt_ref.convert.onnx import from_model  # noqa: E402
from fqt_ref.convert.report import describe, table  # noqa: E402
from fqt_ref.errors import FqtError  # noqa: E402


def ops(imported):
    return [node.op + ("+" + node.activation if node.activation else "") for node in imported.graph.nodes]


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"pads": [1, 1, 1, 1]},
        {"pads": [1, 0, 2, 1], "strides": [2, 1]},
        {"dilations": [2, 3]},
        {"dilations": [2, 1], "pads": [2, 1, 2, 1], "strides": [1, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 3]},
        {"auto_pad": "SAME_UPPER", "strides": [1, 2]},
        {"auto_pad": "VALID"},
    ],
)
@pytest.mark.parametrize("depthwise", [False, True])
def test_convolutions(attributes, depthwise):
    m = Maker(("N", 3, 9, 8))
    if depthwise:
        m.conv(3, 1, group=3, **attributes)
    else:
        m.conv(4, 3, **attributes)
    m.node("Relu")
    m.classifier(3 if depthwise else 4)
    expected = ["depthwise_conv2d+relu" if depthwise else "conv2d+relu", "avg_pool2d", "linear"]
    imported = same(m.model())
    assert ops(imported) == expected
    assert [node.head for node in imported.graph.nodes] == [False, False, True]


@pytest.mark.parametrize("end", ["GlobalAveragePool", "ReduceMean", "ReduceMean, keepdims", "mean over an added axis", "Flatten"])
@pytest.mark.parametrize(
    "attributes", [{}, {"pads": [2, 1], "strides": [2]}, {"dilations": [3]}, {"auto_pad": "SAME_UPPER", "strides": [2]}]
)
def test_series(end, attributes):
    """Conv1d, MaxPool1d, BatchNorm1d: images of height 1."""
    m = Maker(("N", 3, 40))
    m.node("BatchNormalization", *[m.rng.rand(3).astype(np.float32) + 0.5 for _ in range(4)])
    m.node("Conv", m.weights(6, 3, 5), m.weights(6, 1)[:, 0], **attributes)
    m.node("BatchNormalization", *[m.rng.rand(6).astype(np.float32) + 0.5 for _ in range(4)])
    m.node("Relu")
    m.node("MaxPool", kernel_shape=[2], strides=[2])
    m.node("Conv", m.weights(6, 1, 3), group=6)
    length = run_onnx(m.model(), np.zeros((1, 3, 40), np.float32)).size // 6
    if end == "GlobalAveragePool":
        m.node("GlobalAveragePool")
    elif end == "mean over an added axis":
        m.node("Unsqueeze", np.int64([2]))
        m.node("ReduceMean", axes=[3], keepdims=0)
    elif end != "Flatten":
        m.node("ReduceMean", axes=[-1], keepdims=int("keepdims" in end))
    m.node("Flatten")
    m.gemm(5, 6 * length if end == "Flatten" else 6)
    x = np.random.RandomState(1).randn(4, 3, 40).astype(np.float32)
    imported = same(m.model(), x, channels_last=x.transpose(0, 2, 1))
    assert imported.graph.input_shape == (1, 40, 3)
    assert imported.sample_shape == (3, 40)
    pool = [] if end == "Flatten" else ["avg_pool2d"]
    assert ops(imported) == ["depthwise_conv2d", "conv2d+relu", "max_pool2d", "depthwise_conv2d", *pool, "linear"]


def test_flatten_permutes_the_linear_layers_weights():
    m = Maker(("N", 3, 6, 5))
    m.conv(4, 3)
    m.node("MaxPool", kernel_shape=[2, 2], strides=[1, 1])
    m.node("Flatten")
    m.gemm(5, 4 * 3 * 2)
    imported = same(m.model())
    assert ops(imported) == ["conv2d", "max_pool2d", "linear"]
    assert any("h, w, c" in row.note for row in imported.rows)


def test_two_linear_layers_with_matmul_and_add():
    m = Maker(("N", 12))
    m.node("MatMul", m.weights(12, 7))
    m.node("Add", m.weights(7, 1)[:, 0])
    m.node("Relu")
    m.node("Gemm", m.weights(7, 4), m.weights(1, 4), alpha=0.5, beta=2.0)
    imported = same(m.model())
    assert ops(imported) == ["linear+relu", "linear"]
    assert imported.graph.input_shape == (1, 1, 12)


def test_batch_norm_is_folded_or_becomes_a_layer():
    m = Maker()

    def norm(c):
        return [
            m.rng.rand(c).astype(np.float32) + 0.5,
            m.weights(c, 1)[:, 0],
            m.weights(c, 1)[:, 0],
            m.rng.rand(c).astype(np.float32) + 0.1,
        ]

    m.node("BatchNormalization", *norm(3))
    m.conv(4, 3, bias=False)
    m.node("BatchNormalization", *norm(4), epsilon=1e-3)
    m.node("Relu")
    m.classifier(4)
    m.node("BatchNormalization", *norm(5))
    assert ops(same(m.model())) == ["depthwise_conv2d", "conv2d+relu", "avg_pool2d", "linear"]


def test_relu_behind_max_pool_moves_before_it():
    m = Maker()
    m.conv(4, 3)
    m.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    m.node("Relu")
    m.classifier(4)
    assert ops(same(m.model())) == ["conv2d+relu", "max_pool2d", "avg_pool2d", "linear"]


def test_relu_that_others_do_not_want_is_a_layer_of_its_own():
    m = Maker()
    a = m.conv(4, 3, pads=[1, 1, 1, 1])
    m.node("Relu")
    m.conv(4, 4, pads=[1, 1, 1, 1])
    m.node("Add", a)
    m.node("Clip", np.float32(0), np.float32(6))
    m.classifier(4)
    assert ops(same(m.model())) == ["conv2d", "depthwise_conv2d+relu", "conv2d", "add+relu6", "avg_pool2d", "linear"]


@pytest.mark.parametrize("form", ["HardSwish", "HardSigmoid", "Div after", "Div before", "Mul before"])
def test_hard_swish_in_all_its_forms(form):
    m = Maker()
    x = m.conv(4, 3)
    if form == "HardSwish":
        m.node("HardSwish")
    elif form == "HardSigmoid":
        m.node("HardSigmoid", alpha=1 / 6, beta=0.5)
        m.node("Mul", x)
    else:
        m.node("Add", np.float32(3))
        m.node("Clip", np.float32(0), np.float32(6))
        if form == "Div before":
            m.node("Div", np.float32(6))
        if form == "Mul before":
            m.node("Mul", np.float32(1 / 6))
        m.node("Mul", x)
        if form == "Div after":
            m.node("Div", np.float32(6))
    m.classifier(4)
    assert ops(same(m.model(), 3 * np.random.RandomState(0).randn(3, 3, 8, 8).astype(np.float32))) == [
        "conv2d",
        "hard_swish",
        "avg_pool2d",
        "linear",
    ]


def test_hard_swish_of_opset_with_clip_attributes():
    m = Maker(opset=10)
    x = m.conv(4, 3)
    m.node("Add", np.float32(3))
    m.node("Clip", min=0.0, max=6.0)
    m.node("Mul", x)
    m.node("Div", np.float32(6))
    m.classifier(4)
    assert "hard_swish" in ops(same(m.model()))


def test_average_pooling_reduce_mean_and_softmax():
    m = Maker()
    m.conv(4, 3)
    m.node("AveragePool", kernel_shape=[2, 3], strides=[2, 1])
    m.node("ReduceMean", axes=[2, 3], keepdims=0)
    m.gemm(5, 4)
    last = m.last
    m.node("Softmax", axis=1)
    imported = from_model(m.model(), "test")
    m.nodes.pop()
    m.last = last
    x = np.random.RandomState(0).randn(4, 3, 8, 8).astype(np.float32)
    assert differences(m.model(), x, imported)[0] < 1e-5
    assert ops(imported) == ["conv2d", "avg_pool2d", "avg_pool2d", "linear"]
    assert imported.rows[-1].note.startswith("dropped")


def test_reduce_mean_with_axes_as_input_and_global_max_pool():
    m = Maker(opset=18)
    m.conv(4, 3)
    m.node("ReduceMean", np.array([-1, -2]), keepdims=1)
    m.node("Squeeze", np.array([2, 3]))
    m.gemm(5, 4)
    same(m.model())
    m = Maker()
    m.conv(4, 3)
    m.node("GlobalMaxPool")
    m.node("Reshape", np.array([0, -1]))
    m.gemm(5, 4)
    assert ops(same(m.model())) == ["conv2d", "max_pool2d", "linear"]


def test_pad_goes_into_the_convolution():
    m = Maker()
    m.node("Pad", np.array([0, 0, 1, 2, 0, 0, 0, 1]))
    m.conv(4, 3)
    m.classifier(4)
    imported = same(m.model())
    assert imported.graph.nodes[0].padding == (1, 0, 2, 1)


def test_pad_and_same_padding_add_up():
    m = Maker()
    m.node("Pad", np.array([0, 0, 1, 0, 0, 0, 0, 1]))
    m.conv(4, 3, auto_pad="SAME_UPPER", strides=[2, 2])
    m.classifier(4)
    same(m.model())


def test_normalization_of_the_input_is_a_layer():
    m = Maker()
    m.node("Sub", np.float32([[[[0.4]], [[0.5]], [[0.6]]]]))
    m.node("Div", np.float32([[[0.2]], [[0.3]], [[0.25]]]))
    m.conv(4, 3)
    m.classifier(4)
    imported = same(m.model())
    assert ops(imported) == ["depthwise_conv2d", "conv2d", "avg_pool2d", "linear"]


def test_input_in_channels_last_order():
    m = Maker(("N", 8, 7, 3))
    m.node("Transpose", perm=[0, 3, 1, 2])
    m.conv(4, 3)
    m.node("Transpose", perm=[0, 2, 3, 1])
    m.node("Flatten")
    m.gemm(5, 6 * 5 * 4)
    x = np.random.RandomState(0).randn(3, 8, 7, 3).astype(np.float32)
    imported = same(m.model(), x, channels_last=x)
    assert imported.layout == "hwc"
    assert not any("h, w, c" in row.note for row in imported.rows)


def test_flattened_channels_last_cannot_become_channels_first():
    m = Maker(("N", 4, 4, 4))
    m.node("Transpose", perm=[0, 3, 1, 2])
    m.conv(4, 4, k=1)
    m.node("Transpose", perm=[0, 2, 3, 1])
    m.node("Flatten")
    m.node("Reshape", np.array([1, 4, 4, 4]))
    m.conv(4, 4)
    assert "order h, w, c" in refused(m)


def test_flat_input_reshaped_to_an_image():
    m = Maker(("N", 64))
    m.node("Reshape", np.array([-1, 1, 8, 8]))
    m.conv(4, 1)
    m.classifier(4)
    imported = same(m.model())
    assert imported.graph.input_shape == (8, 8, 1)


def test_shape_arithmetic_is_computed():
    m = Maker()
    x = m.conv(4, 3)
    m.node("Shape")
    m.node("Gather", np.int64(0), axis=0)
    n = m.node("Unsqueeze", np.array([0]))
    m.nodes.append(onnx.helper.make_node("Concat", [n, m.const(np.array([-1]))], ["target"], axis=0))
    m.node("Reshape", "target", first=x)
    m.gemm(5, 4 * 36)
    same(m.model())


def test_dropout_identity_and_cast_are_dropped():
    m = Maker()
    m.node("Cast", to=onnx.TensorProto.FLOAT)
    m.conv(4, 3)
    m.node("Identity")
    m.node("Dropout")
    m.node("Relu")
    m.classifier(4)
    assert ops(same(m.model())) == ["conv2d+relu", "avg_pool2d", "linear"]


def test_nodes_that_the_output_does_not_need_are_left_out():
    m = Maker()
    x = m.conv(4, 3)
    m.conv(4, 4)
    m.node("Relu", first=x)
    m.classifier(4)
    imported = from_model(m.model(), "test")
    assert len(imported.graph.nodes) == 4  # the ReLU is a layer of its own: its input had two readers
    assert [row.node for row in imported.rows] == [0, None, 1, 2, 2, 3]


def test_all_zero_weights():
    m = Maker()
    m.node("Conv", np.zeros((4, 3, 3, 3), np.float32))
    m.node("BatchNormalization", *[np.zeros(4, np.float32)] * 4)
    m.classifier(4)
    imported = same(m.model())
    assert np.all(imported.graph.nodes[0].weights == 0)


# ---- quantized ----


def residual_network(seed=0):
    m = Maker(seed=seed)
    x = m.conv(8, 3, pads=[1, 1, 1, 1])
    x = m.node("Relu")
    m.conv(8, 1, group=8, pads=[1, 1, 1, 1])
    m.node("Clip", np.float32(0), np.float32(6))
    m.conv(8, 8, k=1)
    m.node("Add", x)
    m.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    m.node("HardSwish")
    m.node("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    m.node("Flatten")
    m.gemm(5, 8 * 2 * 2)
    return m.model()


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("activations", "weights"), [("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")])
def test_qdq(per_channel, activations, weights, tmp_path):
    x = np.random.RandomState(5).randn(64, 3, 8, 8).astype(np.float32)
    path = quantized_qdq(residual_network(), x, tmp_path, activations=activations, weights=weights, per_channel=per_channel)
    imported = load(path)
    graph = imported.graph
    assert [node.op for node in graph.nodes] == [
        "conv2d", "depthwise_conv2d", "conv2d", "add", "max_pool2d", "hard_swish", "avg_pool2d", "linear",
    ]  # fmt: skip
    assert graph.input_grid is not None
    for node in graph.nodes:
        if node.weights is None:
            continue
        grid = node.weight_grid
        assert len(grid.scale) in (1, node.channels)
        assert node.op == "linear" or len(grid.scale) == (node.channels if per_channel else 1)
        along = (-1, 1, 1, 1)
        steps = node.weights / grid.scale.reshape(along) + grid.zero.reshape(along)
        on_grid = ((np.rint(steps) - grid.zero.reshape(along)).astype(np.float32) * grid.scale.reshape(along)).astype(np.float32)
        assert np.array_equal(on_grid, node.weights)
        assert np.rint(steps).min() >= 0
        assert np.rint(steps).max() <= 255
    theirs = run_onnx(onnx.load(path), x)
    ours = logits(graph, x.transpose(0, 2, 3, 1), quantized=True)
    step = float(graph.nodes[-1].output_grid.scale[0]) if graph.nodes[-1].output_grid is not None else 0.01
    off = np.abs(ours - theirs) / step
    assert np.mean(off < 0.5) > 0.9, off  # a rounding that falls the other way may move a logit by a step
    assert off.max() < 3


def test_quantized_input_and_constant_quantization():
    m = Maker(kind=onnx.TensorProto.UINT8)
    m.node("DequantizeLinear", np.float32(0.02), np.uint8(7))
    w = m.node("QuantizeLinear", np.float32([0.01, 0.02, 0.03, 0.04]), np.zeros(4, np.int8), first=m.const(m.weights(4, 3, 3, 3)), axis=0)
    w = m.node("DequantizeLinear", np.float32([0.01, 0.02, 0.03, 0.04]), np.zeros(4, np.int8), first=w, axis=0)
    m.node("Conv", w, first="t0_0")
    m.classifier(4)
    imported = from_model(m.model(), "test")
    assert imported.graph.input_grid.zero[0] == 7
    assert len(imported.graph.nodes[0].weight_grid.scale) == 4
    x = np.random.RandomState(0).randint(0, 256, (3, 3, 8, 8)).astype(np.uint8)
    real = (x.astype(np.float32) - 7) * np.float32(0.02)
    assert np.abs(logits(imported.graph, real.transpose(0, 2, 3, 1)) - run_onnx(m.model(), x)).max() < 1e-4


def test_zero_scale_of_zero_weights():
    m = Maker()
    values = m.rng.randint(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    values[2] = 0
    m.node("DequantizeLinear", np.float32([0.01, 0.02, 0, 0.04]), np.zeros(4, np.int8), first=m.const(values), axis=0)
    m.node("Conv", m.last, first="x")
    m.classifier(4)
    grid = same(m.model()).graph.nodes[0].weight_grid
    assert np.all(grid.scale > 0)
    assert grid.scale[2] == np.float32(1) / np.float32(255)


# ---- refusals ----


def refused(model_or_maker):
    model = model_or_maker.model() if isinstance(model_or_maker, Maker) else model_or_maker
    with pytest.raises(FqtError) as caught:
        from_model(model, "test", "net.onnx")
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("net.onnx: ") or text.startswith("net.onnx ")
    return text


def broken(kind):
    m = Maker()
    m.conv(4, 3)
    if kind == "unsupported":
        m.node("Sigmoid", name="gate")
    elif kind == "pool padding":
        m.node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    elif kind == "ceil":
        m.node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    elif kind == "groups":
        m.conv(4, 2, group=2)
    elif kind == "softmax":
        m.node("Softmax")
    elif kind == "pad value":
        m.node("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(1))
    elif kind == "pad pool":
        m.node("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]))
        m.node("MaxPool", kernel_shape=[2, 2])
    elif kind == "wide pad":
        m.node("Pad", np.array([0, 0, 3, 3, 0, 0, 3, 3]))
        m.conv(4, 4)
    elif kind == "clip":
        m.node("Clip", np.float32(-1), np.float32(1))
    elif kind == "mean":
        m.node("ReduceMean", axes=[1])
    elif kind == "product":
        m.node("Mul", "t0_0")
    elif kind == "twice":
        m.node("Add", "t0_0")
    elif kind == "transpose":
        m.node("Transpose", perm=[0, 1, 3, 2])
    elif kind == "weights":
        m.node("Conv", "t0_0")
    elif kind == "nan":
        m.node("Conv", np.full((4, 4, 1, 1), np.nan, np.float32))
    elif kind == "reshape":
        m.node("Reshape", np.array([1, 8, 6, 3]))
        m.conv(4, 8)
    elif kind == "hard sigmoid":
        m.node("HardSigmoid")
    elif kind == "fan-in":
        m.node("Flatten")
        m.gemm(5, 7)
        return m
    elif kind == "custom":
        m.node("Thing", domain="org.example")
    elif kind == "int16":
        m.node("QuantizeLinear", np.float32(0.1), np.int16(0))
    elif kind == "large stride":
        m.conv(4, 4, strides=[300, 300])
    m.classifier(4)
    return m


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("unsupported", "Sigmoid 'gate' cannot be imported"),
        ("pool padding", "pads its input by (1, 1, 1, 1)"),
        ("ceil", "ceil_mode"),
        ("groups", "in 2 groups"),
        ("softmax", "softmax can only be the last"),
        ("pad value", "something else than zeros"),
        ("pad pool", "stands behind a PAD"),
        ("wide pad", "not less than its 3x3 window"),
        ("clip", "clips to -1..1"),
        ("mean", "mean over height and width"),
        ("product", "multiplies two feature maps"),
        ("twice", "adds a tensor to itself"),
        ("transpose", "permutes axes by [0, 1, 3, 2]"),
        ("weights", "no constant"),
        ("nan", "not finite"),
        ("reshape", "only flattening"),
        ("hard sigmoid", "no part of a hard-swish"),
        ("fan-in", "reads 144 values"),
        ("custom", "org.example.Thing"),
        ("int16", "only int8 and uint8"),
        ("large stride", "above 255"),
    ],
)
def test_refusals_name_the_node(kind, words):
    assert words in refused(broken(kind))


def test_open_axes_rank_and_batch():
    m = Maker(("N", 3, "height", 8))
    m.conv(4, 3)
    assert "open shape (?, 3, ?, 8)" in refused(m)
    m = Maker((8, 3, 8, 8))
    m.conv(4, 3)
    assert "batch size 8" in refused(m)
    m = Maker((1, 3, 8, 8, 8))
    m.conv(4, 3)
    assert "rank 5" in refused(m)
    m = Maker((1, 3, 8, 8), kind=onnx.TensorProto.INT64)
    m.conv(4, 3)
    assert "type INT64" in refused(m)


def test_old_opset_no_layers_and_two_inputs():
    m = Maker(opset=6)
    m.conv(4, 3)
    assert "opset 6" in refused(m)
    m = Maker()
    m.node("Identity")
    assert "no operator" in refused(m)
    m = Maker()
    m.conv(4, 3)
    model = m.model()
    model.graph.input.append(onnx.helper.make_tensor_value_info("other", onnx.TensorProto.FLOAT, [1]))
    assert "2 inputs" in refused(model)
    m = Maker()
    m.conv(4, 3, first="nothing")
    assert "'nothing'" in refused(m)


def test_pool_whose_input_others_read():
    m = Maker()
    x = m.conv(4, 3)
    a = m.node("MaxPool", kernel_shape=[1, 1])
    m.node("Relu", first=x)
    m.node("Add", a)
    m.classifier(4)
    assert "only reader" in refused(m)


@pytest.mark.parametrize("rescaled", [False, True])
def test_channels_last_before_a_transposition(rescaled):
    """As tf2onnx writes it: the input in the order h, w, c, perhaps rescaled, then a Transpose."""
    m = Maker(("N", 9, 8, 3))
    if rescaled:
        m.node("Mul", np.float32([0.5, 0.25, 2]))
        m.node("Sub", np.float32(1))
    m.node("Transpose", perm=[0, 3, 1, 2])
    m.conv(4, 3)
    m.classifier(4)
    x = np.random.RandomState(1).randn(4, 9, 8, 3).astype(np.float32)
    imported = same(m.model(), x, channels_last=x)
    assert imported.graph.input_shape == (9, 8, 3)


def test_recurrent_layers_and_long_pools_say_what_helps():
    m = Maker(("N", 12, 4))
    m.node("Transpose", perm=[1, 0, 2])
    m.node("LSTM", m.weights(1, 32, 4), m.weights(1, 32, 8), hidden_size=8, name="lstm")
    assert "LSTM 'lstm' cannot be imported; of series, convolutions over time can" in refused(m)
    m = Maker(("N", 3, 300))
    m.node("Conv", m.weights(4, 3, 1))
    m.classifier(4)
    assert "above 255, of 300: put a stride or a smaller pool before it" in refused(m)


def test_two_grids_for_one_tensor():
    m = Maker()
    x = m.conv(4, 3)
    a = m.node("QuantizeLinear", np.float32(0.1), np.uint8(3), first=x)
    b = m.node("QuantizeLinear", np.float32(0.2), np.uint8(3), first=x)
    a = m.node("DequantizeLinear", np.float32(0.1), np.uint8(3), first=a)
    m.node("DequantizeLinear", np.float32(0.2), np.uint8(3), first=b)
    m.node("Add", a)
    assert "second grid" in refused(m)


def test_files_that_are_no_onnx(tmp_path):
    path = tmp_path / "net.onnx"
    model = residual_network().SerializeToString()
    for data, words in [
        (b"", "is empty"),
        (b"just some text, as in a README\n" * 20, "not an ONNX file"),
        (model[: len(model) // 2], "not an ONNX file"),
        (bytes(1000), "not an ONNX file"),
    ]:
        path.write_bytes(data)
        with pytest.raises(FqtError) as caught:
            load(path)
        assert words in str(caught.value)
        assert str(path) in str(caught.value)
    with pytest.raises(FqtError, match="no such file"):
        load(tmp_path / "missing.onnx")
    with pytest.raises(FqtError, match="cannot tell what"):
        load(tmp_path / "net.xyz")


def test_damaged_files_end_in_a_model_or_one_line(tmp_path):
    """Bytes flipped anywhere: never another exception."""
    path, good = tmp_path / "net.onnx", bytearray(residual_network().SerializeToString())
    rng = np.random.RandomState(0)
    refusals = 0
    for _ in range(300):
        bad = bytearray(good)
        for at in rng.randint(0, len(good), rng.randint(1, 4)):
            bad[at] = rng.randint(256)
        path.write_bytes(bad)
        try:
            load(path)
        except FqtError as error:
            refusals += 1
            assert "\n" not in str(error)
    assert refusals > 0


def test_report_tells_every_operator():
    imported = from_model(residual_network(), "test")
    rows = describe(imported)
    assert [row["source_op"] for row in rows] == [node.op_type for node in residual_network().graph.node]
    assert rows[0]["op"] == "conv2d"
    assert rows[0]["activation"] == "relu"
    assert rows[1]["note"] == "folded: relu"
    lines = table(imported)
    assert lines[0].startswith("test: input 8x8x3; 8 layers")
    assert any("into 0" in line for line in lines)


# ---- outputs and types ----


@pytest.mark.parametrize("tail", ["convolution", "pool and flatten", "linear"])
def test_an_output_with_height_and_width_is_no_import(tail, tmp_path):
    m = Maker()
    m.conv(4, 3)
    if tail == "pool and flatten":
        m.node("AveragePool", kernel_shape=[3, 3], strides=[3, 3])
        m.node("Flatten")
    elif tail == "linear":
        m.node("Flatten")
        m.gemm(5, 4 * 6 * 6)
    path = tmp_path / "net.onnx"
    onnx.save(m.model(), path)
    if tail == "linear":
        assert load(path).graph.shape(2) == (1, 1, 5)
        return
    with pytest.raises(FqtError, match=r"has an output with height and width, [26]x[26] of 4 channels.*global pooling"):
        load(path)


def cast_network(kind, *targets):
    """A network whose input is cast from type to type, or with FLOAT first its first feature map."""
    m = Maker(kind=getattr(onnx.TensorProto, kind))
    if kind == "FLOAT":
        m.conv(4, 3)
    for target in targets:
        m.node("Cast", to=getattr(onnx.TensorProto, target))
    if kind != "FLOAT":
        m.conv(4, 3)
    m.classifier(4)
    return m


@pytest.mark.parametrize(
    ("kind", "targets", "words"),
    [
        ("FLOAT", ("BOOL", "FLOAT"), "makes BOOL of values"),
        ("FLOAT", ("INT32", "FLOAT"), "rounds values to INT32"),
        ("FLOAT", ("UINT8", "FLOAT"), "rounds values to UINT8"),
        ("UINT8", ("BOOL", "FLOAT"), "makes BOOL of values"),
        ("UINT8", ("INT8", "FLOAT"), "rounds values to INT8"),
        ("INT8", ("UINT8", "FLOAT"), "rounds values to UINT8"),
        ("UINT8", ("FLOAT", "INT32", "FLOAT"), "rounds values to INT32"),
    ],
)
def test_casts_that_round_are_refused(kind, targets, words):
    assert words in refused(cast_network(kind, *targets))


@pytest.mark.parametrize(
    ("kind", "targets"),
    [("FLOAT", ("FLOAT16", "FLOAT")), ("UINT8", ("FLOAT",)), ("UINT8", ("INT32", "FLOAT")), ("INT8", ("INT16", "FLOAT"))],
)
def test_exact_casts(kind, targets):
    model = cast_network(kind, *targets).model()
    x = np.random.RandomState(1).randint(-9, 9, (4, 3, 8, 8)) if kind != "UINT8" else np.random.RandomState(1).randint(0, 256, (4, 3, 8, 8))
    imported = from_model(model, "test")
    ours, theirs = logits(imported.graph, x.transpose(0, 2, 3, 1)), run_onnx(model, x.astype({"FLOAT": "f4"}.get(kind, kind.lower())))
    assert np.abs(ours - theirs).max() <= (2e-3 if "FLOAT16" in targets else 1e-5) * np.abs(theirs).max()
    assert (imported.graph.input_grid is not None) == (kind != "FLOAT")


def test_integers_are_not_computed_with():
    m = Maker(kind=onnx.TensorProto.UINT8)
    m.node("Cast", to=onnx.TensorProto.INT32)
    m.node("Div", np.int32(255))
    m.node("Cast", to=onnx.TensorProto.FLOAT)
    m.conv(4, 3)
    m.classifier(4)
    assert "computes with integers" in refused(m)
