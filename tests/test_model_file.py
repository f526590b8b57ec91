# SPDX-License-Identifier: Apache-2.0
"""Model files: what is written is read back, and whatever else arrives gets the same error from Python and from C."""

import os
import random
import struct
import zlib

import handmade
import naive
import numpy as np
import pytest

from fqt_ref import device, model_file
from fqt_ref.datasets import load
from fqt_ref.errors import FqtError
from fqt_ref.golden.format import Case, file_bytes
from fqt_ref.golden.handmade_files import file_of, layer, sealed, spoilt, tensor
from fqt_ref.golden.model_errors import GROUPS, error_of, named_cases
from fqt_ref.network import AVG_POOL2D, CONV2D, LINEAR
from fqt_ref.random_graph import Builder
from fqt_ref.training import fresh_network

CONFIGS = ("uint8", "mixed", "float32")


def model(config: str) -> bytes:
    return model_file.file_bytes(fresh_network("digits-cnn", config, load("digits"), seed=4))


@pytest.mark.parametrize("config", CONFIGS)
def test_written_is_read_back(config):
    data = model(config)
    assert model_file.file_bytes(model_file.parse(data)) == data


@pytest.mark.parametrize("config", CONFIGS)
def test_hazard_every_truncation_is_an_error(config):
    data = model(config)
    assert {error_of(data[:n]) for n in range(len(data))} == {model_file.SIZE}


def mutations(good: bytes, count: int, seed: int) -> list[bytes]:
    """Files with one to three fields of header and tables overwritten, checksums mended."""
    rng = random.Random(seed)
    tables = 64 + 48 * int.from_bytes(good[20:24], "little") + 64 * int.from_bytes(good[24:28], "little")
    words = (0, 0x7FFFFFFF, 0x7F800000, 0x7FC00000, 0x80000000, 0x3F800000)
    values = [b"\0", b"\1", b"\xff", b"\x7f\xff", *(word.to_bytes(4, "little") for word in words)]
    files = []
    for _ in range(count):
        data = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            value = rng.choice([*values, bytes([rng.randrange(256)])])
            at = rng.randrange(16, tables - len(value))
            data[at : at + len(value)] = value
        files.append(sealed(bytes(data)))
    return files


def c_answers_the_same(files: list[bytes], tmp_path) -> list[int]:
    """Replays the files in the C library; returns the codes that Python gives."""
    try:
        device.require("host")
    except FqtError as error:
        pytest.skip(str(error))
    codes = [error_of(data) for data in files]
    path = tmp_path / "errors.fqg"
    expected = [[np.array([code], np.int32)] for code in codes]
    cases = [Case("model_error", f"{i}", [np.frombuffer(d, np.uint8)], e) for i, (d, e) in enumerate(zip(files, expected, strict=True))]
    path.write_bytes(file_bytes(cases))
    result = device.run_replay("host", path, sanitize=True)
    assert result.equal, result.first
    assert result.cases == len(files)
    return codes


@pytest.mark.parametrize("config", [*CONFIGS, "every operator"])
def test_hazard_python_and_c_give_the_same_error(config, tmp_path):
    good = naive.write_model("rules", *rules()) if config == "every operator" else model(config)
    codes = c_answers_the_same(mutations(good, 3000, len(config)), tmp_path)
    assert {0, model_file.FORMAT} <= set(codes)


def test_hazard_python_and_c_agree_on_each_wrong_field(tmp_path):
    files = [patched(at, value) for at, value, _, _ in WRONG_BYTES.values()]
    for mutate, _ in WRONG_TABLES.values():
        tensors, layers = rules()
        mutate(tensors, layers)
        files.append(naive.write_model("rules", tensors, layers))
    for kind in ("fan-in", "fan-out", "classes"):
        files += [model_file.file_bytes(wide(kind)), model_file.file_bytes(wide(f"{kind} too large"))]
    files += [model_file.file_bytes(sole_reader(config).network("readers")) for config in ("max pooling", "dequantize")]
    assert set(c_answers_the_same(files, tmp_path)) == {0, model_file.VERSION, model_file.FORMAT, model_file.BOUND}


def test_hazard_python_and_c_agree_on_memory_plans(tmp_path):
    """Offsets moved at random, to places of other buffers and within the arena."""
    rng, files = random.Random(6), []
    for network in handmade.networks():
        tensors, layers = naive.read_model(model_file.file_bytes(network))
        arenas = naive.arenas_of(tensors)
        fields = [(t, f) for t in tensors for f in ("feature_offset", "error_offset", "inference_offset") if getattr(t, f) != naive.NOWHERE]
        for _ in range(60):
            tensor, field = rng.choice(fields)
            old = getattr(tensor, field)
            other = getattr(*rng.choice(fields))
            setattr(
                tensor,
                field,
                rng.choice((other, other + 4, other + tensor.bytes, max(other - tensor.bytes, 0), naive.NOWHERE)) & 0xFFFFFFFF,
            )
            files.append(naive.write_model("plan", tensors, layers, arenas))
            setattr(tensor, field, old)
    codes = c_answers_the_same(files, tmp_path)
    assert min(codes.count(0), codes.count(model_file.FORMAT)) > 50


# ---- Every field and rule, on a network with every operator ----

RELU, TRAINABLE, RELU6 = 1, 2, 4
CONV, POOL, DEPTHWISE, SWISH, PLUS, AVERAGE, BORDER, HEAD = range(8)  # layers of rules(); layer l writes tensor l + 1


def rules() -> tuple[list[naive.Tensor], list[naive.Layer]]:
    """conv 3x3 - max pool - depthwise, whose output hard-swish and add read - add - average pool - dequantize - linear."""
    b = Builder(np.random.RandomState(4), (8, 6, 2))
    t = b.pool(b.conv(0, 3, (3, 3), padding=(1, 1, 1, 0), activation=RELU | RELU6, per_channel=True), (2, 2), (2, 1), maximum=True)
    skip = b.conv(t, 0, (2, 1), padding=(2, 0, 0, 0), dilation=(2, 1), activation=RELU, depthwise=True)
    t = b.add(skip, b.hard_swish(skip), RELU)
    b.linear(b.dequantize(b.pool(t)), 4)
    return naive.read_model(model_file.file_bytes(b.network("rules")))


def tensor_field(t, **fields):
    """A mutation of tensor t."""
    return lambda tensors, layers: [setattr(tensors[t], name, value) for name, value in fields.items()]


def layer_field(i, **fields):
    """A mutation of layer i."""
    return lambda tensors, layers: [setattr(layers[i], name, value) for name, value in fields.items()]


def both_flags(i, flags):
    """Flags of layer i with its output's activation the same."""

    def mutate(tensors, layers):
        layers[i].flags, tensors[i + 1].flags = flags, tensors[i + 1].flags & 2 | flags & 5

    return mutate


def element(i, name, at, value):
    """One element of a layer's list of weights, bias, scales or zeros."""
    return lambda tensors, layers: getattr(layers[i], name).__setitem__(at, value)


NAN, INF, SMALL = naive.f32(np.nan), naive.f32(np.inf), naive.f32(1e-40)
WRONG_TABLES = {  # mutation, where its message points to
    "type 0": (tensor_field(3, type=0), "tensor 3"),
    "type 3": (tensor_field(3, type=3), "tensor 3"),
    "unknown flag of a tensor": (tensor_field(1, flags=8 | 7), "tensor 1"),
    "ReLU6 without ReLU at a tensor": (tensor_field(1, flags=4), "tensor 1"),
    "adaptive float32": (tensor_field(7, flags=2), "tensor 7"),
    "height 0": (tensor_field(3, shape=(0, 5, 3)), "tensor 3"),
    "channels 0": (tensor_field(3, shape=(4, 5, 0)), "tensor 3"),
    "scale 0": (tensor_field(4, scale=naive.f32(0)), "tensor 4"),
    "scale infinite": (tensor_field(4, scale=INF), "tensor 4"),
    "scale subnormal": (tensor_field(4, scale=SMALL), "tensor 4"),
    "zero point -1": (tensor_field(4, zero=-1), "tensor 4"),
    "zero point 256": (tensor_field(4, zero=256), "tensor 4"),
    "range without 0": (tensor_field(4, lo=naive.f32(1), hi=naive.f32(2)), "tensor 4"),
    "range NaN": (tensor_field(4, hi=NAN), "tensor 4"),
    "error scale negative": (tensor_field(4, error_scale=naive.f32(-1)), "tensor 4"),
    "error scale subnormal": (tensor_field(4, error_scale=SMALL), "tensor 4"),
    "float32 with a scale": (tensor_field(7, scale=naive.f32(2)), "tensor 7"),
    "float32 with a zero point": (tensor_field(7, zero=1), "tensor 7"),
    "float32 with an error scale": (tensor_field(7, error_scale=naive.f32(1)), "tensor 7"),
    "logits with an error scale": (tensor_field(8, error_scale=naive.f32(1)), "tensor 8"),
    "float32 input": (tensor_field(0, type=2, scale=naive.f32(1), zero=0, lo=naive.f32(0), hi=naive.f32(0)), "tensor 0"),
    "input with an activation": (tensor_field(0, flags=RELU), "tensor 0"),
    "operator 0": (layer_field(CONV, op=0), "layer 0"),
    "operator 9": (layer_field(SWISH, op=9), "layer 3"),
    "unknown flag of a layer": (layer_field(CONV, flags=8 | 7), "layer 0"),
    "ReLU6 without ReLU": (both_flags(CONV, TRAINABLE | RELU6), "tensor 1"),
    "ReLU6 without ReLU at a layer alone": (layer_field(CONV, flags=TRAINABLE | RELU6), "layer 0"),
    "layer without its output's ReLU6": (layer_field(CONV, flags=TRAINABLE | RELU), "layer 0"),
    "output without its layer's ReLU": (tensor_field(5, flags=2), "layer 4"),
    "max pooling loses ReLU6": (tensor_field(2, flags=RELU), "layer 1"),
    "max pooling with its own ReLU": (layer_field(POOL, flags=RELU), "layer 1"),
    "hard-swish with ReLU": (both_flags(SWISH, RELU), "layer 3"),
    "average pooling with ReLU": (both_flags(AVERAGE, RELU), "layer 5"),
    "dequantize with ReLU": (both_flags(BORDER, RELU), "layer 6"),
    "max pooling trains": (layer_field(POOL, flags=TRAINABLE), "layer 1"),
    "add trains": (layer_field(PLUS, flags=TRAINABLE | RELU), "layer 4"),
    "hard-swish trains": (layer_field(SWISH, flags=TRAINABLE), "layer 3"),
    "reads its own output": (layer_field(SWISH, input=4), "layer 3"),
    "reads a later tensor": (layer_field(SWISH, input=5), "layer 3"),
    "reads no tensor": (layer_field(SWISH, input=65535), "layer 3"),
    "second input of a layer that has one": (layer_field(SWISH, input2=1), "layer 3"),
    "second input of a convolution": (layer_field(DEPTHWISE, input2=2), "layer 2"),
    "adds its own output": (layer_field(PLUS, input2=5), "layer 4"),
    "adds a tensor to itself": (layer_field(PLUS, input=4, input2=4), "layer 4"),
    "adds different shapes": (layer_field(PLUS, input2=1), "layer 4"),
    "adds different shapes first": (layer_field(PLUS, input=1), "layer 4"),
    "kernel 0": (layer_field(CONV, kernel=(0, 3)), "layer 0"),
    "kernel 256": (layer_field(CONV, kernel=(3, 256)), "layer 0"),
    "stride 0": (layer_field(POOL, stride=(2, 0)), "layer 1"),
    "dilation 0": (layer_field(DEPTHWISE, dilation=(0, 1)), "layer 2"),
    "other dilation": (layer_field(DEPTHWISE, dilation=(1, 1)), "layer 2"),
    "dilation of a kernel of 1 beyond the input": (layer_field(DEPTHWISE, dilation=(255, 1)), "layer 2"),
    "dilated max pooling": (layer_field(POOL, dilation=(2, 1)), "layer 1"),
    "dilated average pooling": (layer_field(AVERAGE, dilation=(1, 2)), "layer 5"),
    "padded max pooling": (layer_field(POOL, pads=(1, 0, 0, 0)), "layer 1"),
    "padded average pooling": (layer_field(AVERAGE, pads=(0, 0, 0, 1)), "layer 5"),
    "linear with a kernel": (layer_field(HEAD, kernel=(2, 1)), "layer 7"),
    "linear with dilation": (layer_field(HEAD, dilation=(2, 1)), "layer 7"),
    "add with a stride": (layer_field(PLUS, stride=(2, 1)), "layer 4"),
    "hard-swish with padding": (layer_field(SWISH, pads=(0, 1, 0, 0)), "layer 3"),
    "a pad as large as the kernel's extent": (layer_field(CONV, pads=(3, 0, 1, 0)), "layer 0"),
    "a pad as large as a dilated kernel's extent": (layer_field(DEPTHWISE, pads=(3, 0, 0, 0)), "layer 2"),
    "hard-swish of another shape": (tensor_field(4, shape=(4, 3, 5)), "layer 3"),
    "average pooling of other channels": (tensor_field(6, shape=(1, 1, 2)), "layer 5"),
    "depthwise of other channels": (tensor_field(3, shape=(4, 5, 2)), "layer 2"),
    "a border between floats": (layer_field(BORDER, op=8), "layer 6"),
    "dequantize to uint8": (tensor_field(7, type=1), "layer 6"),
    "no grids": (layer_field(CONV, scales=[], zeros=[]), "layer 0"),
    "two grids for three channels": (layer_field(CONV, scales=[naive.f32(0.1)] * 2, zeros=[0] * 2), "layer 0"),
    "four grids for three channels": (layer_field(CONV, scales=[naive.f32(0.1)] * 4, zeros=[0] * 4), "layer 0"),
    "float32 weights with a grid": (layer_field(HEAD, scales=[naive.f32(0.1)], zeros=[0]), "layer 7"),
    "hard-swish with a grid": (layer_field(SWISH, scales=[naive.f32(0.1)], zeros=[0]), "layer 3"),
    "add with weights": (layer_field(PLUS, weights=[1, 2, 3, 4]), "layer 4"),
    "average pooling with a bias": (layer_field(AVERAGE, bias=[1]), "layer 5"),
    "last channel's weight scale 0": (element(CONV, "scales", 2, naive.f32(0)), "layer 0"),
    "last channel's weight scale NaN": (element(CONV, "scales", 2, NAN), "layer 0"),
    "last channel's weight scale subnormal": (element(CONV, "scales", 2, SMALL), "layer 0"),
    "last channel's weight zero point 256": (element(CONV, "zeros", 2, 256), "layer 0"),
    "weight zero point -1": (element(DEPTHWISE, "zeros", 0, -1), "layer 2"),
    "a weight too few": (lambda tensors, layers: layers[CONV].weights.pop(), "layer 0"),
    "a bias too many": (lambda tensors, layers: layers[CONV].bias.append(0), "layer 0"),
    "bias 2^30": (element(CONV, "bias", 1, 2**30), "layer 0"),
    "bias -2^30": (element(CONV, "bias", 1, -(2**30)), "layer 0"),
    "float32 weight infinite": (element(HEAD, "weights", 1, INF), "layer 7"),
    "float32 bias NaN": (element(HEAD, "bias", 1, NAN), "layer 7"),
    "float32 bias -0": (element(HEAD, "bias", 1, naive.f32(-0.0)), "layer 7"),
    "a tensor that nobody reads": (layer_field(AVERAGE, input=3), "tensor 5"),
    "max pooling's input has a second reader": (layer_field(PLUS, input=1), "layer 4"),
}


def error_at(data: bytes) -> tuple[int, str]:
    """(code, message) of a file that is refused."""
    with pytest.raises(model_file.ModelFileError) as caught:
        model_file.parse(data)
    assert "\n" not in str(caught.value)
    return caught.value.code, str(caught.value)


def test_the_network_of_the_rules_is_good():
    assert model_file.parse(naive.write_model("rules", *rules()))
    assert {layer.op for layer in rules()[1]} == set(range(1, 9))


@pytest.mark.parametrize("name", WRONG_TABLES)
def test_hazard_each_wrong_field_is_named(name):
    mutate, where = WRONG_TABLES[name]
    tensors, layers = rules()
    mutate(tensors, layers)
    code, message = error_at(naive.write_model("rules", tensors, layers))
    assert code == model_file.FORMAT
    assert f"{where}:" in message or f"{where} " in message, message


def patched(at: int, value: bytes) -> bytes:
    """The good file with some bytes replaced."""
    good = naive.write_model("rules", *rules())
    return sealed(good[:at] + value + good[at + len(value) :])


TENSORS, LAYERS = 64, 64 + 48 * 9
U32 = struct.Struct("<I").pack
WRONG_BYTES = {  # offset, bytes, code, part of the message
    "format version 1": (4, U32(1), model_file.VERSION, "format 1"),
    "format version 3": (4, U32(3), model_file.VERSION, "format 3"),
    "arithmetic version 2": (16, U32(2), model_file.VERSION, "arithmetic 2"),
    "reserved of the header": (44, U32(1), model_file.FORMAT, "reserved header field"),
    "name with a control character": (49, b"\n", model_file.FORMAT, "not printable"),
    "name behind its end": (62, b"x", model_file.FORMAT, "not printable"),
    "one tensor too many": (20, U32(10), model_file.FORMAT, "8 layers and 10 tensors"),
    "no layers": (20, U32(1) + U32(0), model_file.FORMAT, "0 layers"),
    "256 layers": (20, U32(257) + U32(256), model_file.FORMAT, "256 layers"),
    "tensor table inside the header": (28, U32(60), model_file.FORMAT, "tensor table at byte 60"),
    "layer table misaligned": (32, U32(LAYERS + 2), model_file.FORMAT, "layer table at byte"),
    "layer table behind the end": (32, U32(0xFFFFFFF0), model_file.FORMAT, "layer table at byte"),
    "reserved of a tensor": (TENSORS + 48 * 3 + 44, U32(1), model_file.FORMAT, "tensor 3: reserved"),
    "output of a layer": (LAYERS + 64 * SWISH + 6, b"\x05\0", model_file.FORMAT, "layer 3: reads"),
    "reserved of a layer": (LAYERS + 64 * PLUS + 60, U32(1), model_file.FORMAT, "layer 4: reserved"),
    "grids misaligned": (LAYERS + 64 * CONV + 24, U32(1002), model_file.FORMAT, "layer 0: its weight grids"),
    "grids in the header": (LAYERS + 64 * CONV + 24, U32(16), model_file.FORMAT, "layer 0: its weight grids"),
    "grids behind the end": (LAYERS + 64 * CONV + 24, U32(0xFFFFFFFC), model_file.FORMAT, "layer 0: its weight grids"),
    "grids where there are none": (LAYERS + 64 * POOL + 24, U32(64), model_file.FORMAT, "layer 1: "),
    "grids of float32 weights": (LAYERS + 64 * HEAD + 24, U32(64), model_file.FORMAT, "layer 7: "),
    "weights misaligned": (LAYERS + 64 * CONV + 28, U32(1001), model_file.FORMAT, "layer 0: its weight at"),
    "weights behind the end": (LAYERS + 64 * CONV + 28, U32(0xFFFFFFFC), model_file.FORMAT, "layer 0: its weight at"),
    "weight bytes": (LAYERS + 64 * CONV + 32, U32(0xFFFFFFFF), model_file.FORMAT, "layer 0: "),
    "bias misaligned": (LAYERS + 64 * DEPTHWISE + 36, U32(1003), model_file.FORMAT, "layer 2: its bias at"),
    "bias bytes": (LAYERS + 64 * DEPTHWISE + 40, U32(0), model_file.FORMAT, "layer 2: 0 bytes of bias"),
    "weight offset of a layer without": (LAYERS + 64 * SWISH + 28, U32(64), model_file.FORMAT, "layer 3: "),
    "bias offset of a layer without": (LAYERS + 64 * SWISH + 36, U32(64), model_file.FORMAT, "layer 3: "),
}


@pytest.mark.parametrize("name", GROUPS)
def test_each_golden_case_is_wrong_in_its_own_way(name):
    """No case is the good file under another name, and each is answered with the error that it was made for."""
    cases = list(named_cases(name))
    assert len({case for case, _, _ in cases}) == len({data for _, _, data in cases}) == len(cases)
    for case, code, data in cases:
        assert error_of(data) == code, case
        assert (code == 0) == case.startswith("good: "), case


def test_hazard_tensor_0_is_bounded_and_adapts_to_nothing(tmp_path):
    """Files that crashed the library: a step before the table of layers, indices and windows beyond 32 bits."""
    adapting = file_of([tensor(1, 1, 2, flagset=2), tensor(1, 1, 2)], [layer(LINEAR, flagset=TRAINABLE)])
    files = [adapting, spoilt(adapting, tensor_0_error_offset=0)]
    blocks = {"kernel_h": 255, "kernel_w": 255, "stride_h": 255, "stride_w": 255}
    shapes = [tensor(32_768, 32_768, 4), tensor(128, 128, 4), tensor(1, 1, 4)]
    files.append(file_of(shapes, [layer(AVG_POOL2D, **blocks), layer(AVG_POOL2D, 1, kernel_h=128, kernel_w=128)]))
    wide = [tensor(1, 2200, 4096), tensor(1, 9, 1), tensor(1, 1, 2)]
    files.append(file_of(wide, [layer(CONV2D, stride_w=255, dilation_h=255), layer(LINEAR, 1)]))
    assert c_answers_the_same(files, tmp_path) == [model_file.FORMAT] * 2 + [model_file.BOUND] * 2


@pytest.mark.parametrize("name", WRONG_BYTES)
def test_hazard_each_wrong_byte_is_named(name):
    at, value, code, part = WRONG_BYTES[name]
    found, message = error_at(patched(at, value))
    assert found == code, message
    assert part in message


def sole_reader(config):
    """A network whose max pooling (uint8) or dequantize shares its input with a convolution; rightly planned."""
    b = Builder(np.random.RandomState(4), (4, 4, 2))
    t = b.conv(0, 2) if config == "max pooling" else 0
    one = b.pool(t, (1, 1), maximum=True) if config == "max pooling" else b.dequantize(t)
    two = b.conv(t, 2)
    if config == "dequantize":
        two = b.dequantize(two)
    b.linear(b.add(one, two), 3)
    return b


@pytest.mark.parametrize(("config", "layer"), [("max pooling", 1), ("dequantize", 0)])
def test_hazard_a_second_reader_of_pooled_and_dequantized_tensors(config, layer):
    code, message = error_at(model_file.file_bytes(sole_reader(config).network("readers")))
    assert code == model_file.FORMAT
    assert f"layer {layer}: " in message
    assert "read by another layer" in message


def wide(kind):
    """A network at or, one beyond, a bound of SPEC.md 9; (builder, how the message goes on or None)."""
    rng = np.random.RandomState(0)
    if kind.startswith("fan-in"):
        b = Builder(rng, (1, 1, 24_576 if kind == "fan-in" else 24_577))
        b.linear(0, 1)
    elif kind.startswith("fan-out"):
        b = Builder(rng, (8, 8, 1))
        t = b.conv(0, 896 if kind == "fan-out" else 897, (8, 8))
        b.linear(t, 1)
    else:
        b = Builder(rng, (1, 1, 1))
        b.linear(0, 1023 if kind == "classes" else 1024)
    return b.network(kind[:16])


@pytest.mark.parametrize("kind", ["fan-in", "fan-out", "classes"])
def test_bounds(kind):
    assert model_file.parse(model_file.file_bytes(wide(kind)))
    code, message = error_at(model_file.file_bytes(wide(kind + " too large")))
    assert code == model_file.BOUND
    assert ("1024 classes" if kind == "classes" else "layer 0: ") in message


@pytest.mark.parametrize(
    ("height", "width", "good"), [(1, 300, True), (1, 65_025, True), (1, 65_026, False), (255, 255, True), (256, 255, False)]
)
def test_average_pooling_takes_all_of_a_signal(height, width, good, tmp_path):
    b = Builder(np.random.RandomState(0), (height, width, 1))
    b.linear(b.pool(0), 2)
    data = model_file.file_bytes(b.network("pooled"))
    if not good:
        assert "window has more than 65025 positions" in error_at(data)[1]
    assert c_answers_the_same([data], tmp_path) == [0 if good else model_file.FORMAT]


def test_what_a_field_says_comes_before_what_products_say():
    network = wide("fan-in too large")
    network.tensors["inference_offset"][1] += 1
    code, _ = error_at(model_file.file_bytes(network))
    assert code == model_file.FORMAT


def test_messages_are_one_line_and_say_where(tmp_path):
    data = model("uint8")
    cases = {
        "short": (data[:10], "10 bytes are too few"),
        "text": (b"hello, I am a text file, not a model at all, but long enough for a header", "not a model file"),
        "cut": (data[:-1], "cut off or overlong"),
        "long": (data + bytes(7), "cut off or overlong"),
        "flip": (data[:200] + bytes([data[200] ^ 8]) + data[201:], "checksum"),
        "zero scale": (sealed(data[:72] + bytes(4) + data[76:]), "tensor 0: scale 0.0"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / f"{name}.fqt"
        path.write_bytes(content)
        with pytest.raises(FqtError) as caught:
            model_file.read(path)
        assert message in str(caught.value)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(FqtError, match=r"No such file.*fqt train"):
        model_file.read(tmp_path / "none.fqt")


def test_an_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.fqt"
    network = fresh_network("digits-mlp", "uint8", load("digits"), seed=1)
    model_file.write(path, network)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(FqtError, match="No space left"):
        model_file.write(path, network)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("batch", "message"), [(0, "not in 1"), (1025, "use at most 1024")])
def test_batch_bounds(batch, message):
    with pytest.raises(FqtError, match=message):
        model_file.check_batch(model_file.parse(model("uint8")), batch)
    model_file.check_batch(model_file.parse(model("uint8")), 1024)


def test_checksum_is_the_standard_crc32():
    data = model("uint8")
    assert int.from_bytes(data[12:16], "little") == zlib.crc32(data[16:])
