# SPDX-License-Identifier: Apache-2.0
"""Data and networks meet at one border: samples take the network's grid and shape, labels its classes, and what is lost is said."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from test_cli import fqt, refused

from fqt_ref import deploy, model_file
from fqt_ref.build import build_network
from fqt_ref.datasets import Dataset, load
from fqt_ref.datasets.layout import arranged
from fqt_ref.deploy_config import on_chip
from fqt_ref.errors import FqtError
from fqt_ref.graph import Graph, Grid, Node
from fqt_ref.input_grid import (
    InputGrid,
    calibration_of,
    fitted_to,
    for_new_network,
    grid_of,
    input_grid_for,
    on_grid,
    real_values,
)
from fqt_ref.train_step import train_config
from fqt_ref.training import evaluate, flat, fresh_network, predictions_of, prepared_state, train_epochs
from fqt_ref.transfer import steps

ONE_255TH = np.float32(1) / np.float32(255)
DIGITS = load("digits")
PIXELS = {"x_train": DIGITS.train_x[..., 0], "y_train": DIGITS.train_y, "x_test": DIGITS.test_x[..., 0], "y_test": DIGITS.test_y}
MEAN, DEVIATION = float(PIXELS["x_train"].mean()), float(PIXELS["x_train"].std())


def standardized(pixels):
    """Digits as float networks take them: -0.82..1.85."""
    return ((pixels.astype(np.float64) - MEAN) / DEVIATION).astype(np.float32)


def npz(path, **changes):
    """The digits as a user's file, with some arrays replaced."""
    np.savez_compressed(path, **(PIXELS | changes))
    return path


def float_npz(path, **changes):
    """The same as standardized floats."""
    return npz(path, **({"x_train": standardized(PIXELS["x_train"]), "x_test": standardized(PIXELS["x_test"])} | changes))


class Source:
    """A linear classifier of the digits that takes scale * pixel + offset: what anybody's float network is."""

    def __init__(self, scale=1 / DEVIATION, offset=-MEAN / DEVIATION):
        x, test = (standardized(PIXELS[name]).reshape(-1, 64) for name in ("x_train", "x_test"))
        model = LogisticRegression(max_iter=200).fit(x, PIXELS["y_train"])
        self.right = float(model.score(test, PIXELS["y_test"]))
        gain = 1 / (scale * DEVIATION)
        self.weights = (model.coef_ * gain).astype(np.float32)
        self.bias = (model.intercept_ - model.coef_.sum(1) * (offset * gain + MEAN / DEVIATION)).astype(np.float32)

    def write_onnx(self, path):
        """The classifier as ONNX that takes [N, 64]."""
        constants = [numpy_helper.from_array(self.weights, "w"), numpy_helper.from_array(self.bias, "b")]
        nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)]
        shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 64), ("y", 10))]
        graph = helper.make_graph(nodes, "linear", [shapes[0]], [shapes[1]], constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
        return path

    def network(self, grid, samples=None):
        """The classifier with a prescribed input grid, as quantized files have it."""
        graph = Graph("linear", (8, 8, 1), input_grid=Grid(np.array([grid[0]], np.float32), np.array([grid[1]], np.int32)))
        graph.append(Node("linear", (0,), 10, weights=self.weights.reshape(10, 1, 1, 64), bias=self.bias))
        data = samples or Dataset("d", *(standardized(p)[..., None] if p.ndim == 3 else p for p in PIXELS.values()), 10, None, 0, None)
        return build_network(graph, "uint8", *flattened(calibration_of(data, graph)))


def flattened(pair):
    samples, grid = pair
    return samples, *grid


@pytest.fixture(scope="module")
def source():
    return Source()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("grid")


@pytest.fixture(scope="module")
def floats(folder):
    return float_npz(folder / "floats.npz")


@pytest.fixture(scope="module")
def imported(source, floats, folder):
    """The float classifier imported with float data."""
    model = folder / "imported.fqt"
    done = fqt("import", source.write_onnx(folder / "linear.onnx"), "--data", floats, "-o", model)
    assert done.returncode == 0, done.stderr
    return model


def accuracy(model, data, *options):
    """Test accuracy and the notes of `fqt evaluate`."""
    done = fqt("evaluate", model, "--data", data, "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["test_accuracy"], done.stderr


def close(found, right):
    assert abs(found - right) < 0.015, (found, right)


# --- one network, many files ---------------------------------------------------------------------------------


def test_a_file_never_sets_the_grid_of_a_network_that_has_one(imported, floats, source, folder):
    assert source.right > 0.93
    plain, said = accuracy(imported, floats)
    close(plain, source.right)
    assert "warning" not in said
    bright = standardized(PIXELS["x_train"])
    bright[7] *= 3
    for name, changes in {"bright": {"x_train": bright}, "tiny": {"x_train": standardized(PIXELS["x_train"])[:1], "y_train": [3]}}.items():
        assert accuracy(imported, float_npz(folder / f"{name}.npz", **changes))[0] == plain


def test_symmetric_activations(source):
    """A prescribed grid of -r..r, as quantizers give it with symmetric activations: float data go onto it."""
    reach = 1.86
    network = source.network((2 * reach / 255, 128))
    data = Dataset("f", *(standardized(p)[..., None] if p.ndim == 3 else p for p in PIXELS.values()), 10, None, 0, None)
    state = prepared_state(network)
    close(evaluate(state, data), source.right)
    placed = fitted_to(network, data)
    assert placed.train_x.dtype == np.uint8 and (placed.scale, placed.zero) == grid_of(network) and placed.cut == 0
    assert evaluate(state, placed.test_x, placed.test_y) == evaluate(state, data.test_x, data.test_y) == evaluate(state, data)
    assert (predictions_of(state, data) == predictions_of(state, data.test_x)).all()
    assert fitted_to(network, placed) is placed  # what is there passes untouched


def test_stated_input_grid(source, floats, folder):
    model = folder / "stated.fqt"
    options = "--input-scale", 0.02, "--input-zero", 100
    assert fqt("import", folder / "linear.onnx", "--data", floats, *options, "-o", model).returncode == 0
    close(accuracy(model, floats)[0], source.right)
    described = json.loads(fqt("info", model, "--json").stdout)["input_grid"]
    assert described["scale"] == float(np.float32(0.02)) and described["zero"] == 100
    assert described["lo"] == pytest.approx(-2.0) and described["hi"] == pytest.approx(3.1)
    assert "scale 0.02, zero point 100: real values -2..3.1" in fqt("info", model).stdout


def test_every_way_to_train_takes_the_network_s_grid(imported, floats, folder):
    """Bytes that are on the grid beforehand train to the same bits as the real values."""
    network, data = model_file.read(imported), load(floats)
    placed = on_grid(fitted_to(network, data), grid_of(network)).data
    config = train_config(16, 0.003)
    trained = [[state for _, state in train_epochs(network, one, config, 1)][-1] for one in (data, placed)]
    assert np.array_equal(trained[0].u8, trained[1].u8) and np.array_equal(trained[0].i32, trained[1].i32)
    results = [steps.retrain(network, one, config, 1, 1, 0)[0]["epochs"][0]["loss"] for one in (data, placed)]
    assert results[0] == results[1]
    settings = deploy.Settings(imported, "qemu_cortex_m3", str(floats), None, 9, on_chip(train_config(8)), folder / "deployed")
    written = deploy.write_inputs(settings, with_build=False).samples.read_bytes()
    assert written[-9 * 64 :] == placed.train_x[:9].tobytes()


# --- bytes and what they mean --------------------------------------------------------------------------------


def test_a_network_for_0_to_255(folder):
    """uint8 images, and a float network that wants 0..255: --input-scale 1 or --data-range says so, at import and afterwards."""
    source, data = Source(1, 0), npz(folder / "bytes.npz")
    file, model = source.write_onnx(folder / "pixels.onnx"), folder / "pixels.fqt"
    silent = fqt("import", file, "--data", data, "-o", model)
    assert "nobody states what its bytes are worth: taken as real values 0..1" in silent.stderr and "--input-scale 1" in silent.stderr
    for stated in (("--input-scale", 1), ("--data-range", "0..255")):
        assert fqt("import", file, "--data", data, *stated, "-o", model).returncode == 0
        for options in ((), ("--data-range", "0..255")):
            close(accuracy(model, data, *options)[0], source.right)
    found, said = accuracy(model, data, "--data-range", "0..1")
    assert found < 0.8 and "the values take 2 of the 256 steps" in said and "--data-range" in said
    assert "0..255 for real values 0..255" in accuracy(model, data)[1]
    stated = npz(folder / "stated.npz", x_range=np.array([0, 255]))
    found, said = accuracy(model, stated)
    close(found, source.right)
    assert "warning" not in said


def test_bytes_of_minus_one_to_one(folder):
    source = Source(1 / 127.5, -1)
    file, model = source.write_onnx(folder / "signed.onnx"), folder / "signed.fqt"
    stated = npz(folder / "signed.npz", x_range=(-1.0, 1.0))
    real = npz(folder / "real.npz", **{name: (PIXELS[name] / 127.5 - 1).astype(np.float32) for name in ("x_train", "x_test")})
    for data, options in ((stated, ()), (npz(folder / "bytes.npz"), ("--data-range", "-1..1")), (real, ())):
        assert fqt("import", file, "--data", data, *options, "-o", model).returncode == 0
        close(accuracy(model, data, *options)[0], source.right)
        close(accuracy(model, real)[0], source.right)


def test_bytes_pass_untouched_where_they_are_the_network_s():
    picture = replace(DIGITS, train_x=DIGITS.train_x[:4], test_x=DIGITS.test_x[:4])
    for scale, zero in ((ONE_255TH, 0), (1, 0), (0.0078125, 128), (0.0187, 114)):
        grid = InputGrid(np.float32(scale), zero)
        placed = on_grid(picture, grid)
        assert placed.data.train_x is picture.train_x and (placed.data.scale, placed.data.zero) == grid
        assert bool(placed.notes) == (grid.scale != ONE_255TH)
        assert on_grid(placed.data, grid).data is placed.data
    stated = replace(picture, stated=True)
    doubled = on_grid(stated, InputGrid(ONE_255TH * np.float32(2), 10)).data
    assert np.abs(doubled.train_x.astype(int) - (10 + picture.train_x / 2)).max() <= 0.5
    almost = on_grid(picture, InputGrid(np.float32(0.98) / np.float32(255), 0))  # a quantizer that has seen 0..0.98
    assert almost.data.cut == max(np.mean(x > 250) for x in (picture.train_x, picture.test_x)) and "cut off" in almost.notes[0]
    assert almost.data.train_x.max() == 255 and almost.data.train_x is not picture.train_x


def test_int8_samples_are_bytes_of_a_quantized_input(folder):
    signed = {name: (PIXELS[name].astype(int) - 128).astype(np.int8) for name in ("x_train", "x_test")}
    data = load(npz(folder / "int8.npz", **signed))
    assert np.array_equal(data.train_x[..., 0], PIXELS["x_train"]) and (data.scale, data.zero) == (1, 128)
    assert np.array_equal(real_values(data, "test")[..., 0], signed["x_test"].astype(np.float32))


@pytest.mark.parametrize(
    ("text", "expected"), [("0-1", "is not LO..HI"), ("1..0", "1..0 is no range"), ("0..inf", "no range"), ("a..b", "is not LO..HI")]
)
def test_data_ranges_that_are_none(text, expected, imported, folder):
    assert expected in refused("evaluate", imported, "--data", npz(folder / "bytes.npz"), "--data-range", text)


def test_a_data_range_is_for_bytes(imported, floats, folder):
    assert "holds real values" in refused("evaluate", imported, "--data", floats, "--data-range", "0..1")
    assert "'x_range' is" in refused("evaluate", imported, "--data", npz(folder / "three.npz", x_range=[0, 1, 2]))
    assert "5..5 is no range" in refused("evaluate", imported, "--data", npz(folder / "none.npz", x_range=[5, 5]))


# --- what a grid cuts off ------------------------------------------------------------------------------------


def test_the_share_that_is_cut_off_is_exact():
    values = np.arange(-200, 800, dtype=np.float32).reshape(1000, 1, 1, 1)
    data = Dataset("r", values, np.zeros(1000, np.int64), values[:10] + 200, np.zeros(10, np.int64), 1, None, 0, None)
    placed = on_grid(data, InputGrid(np.float32(1), 10))
    assert placed.data.cut == (190 + 554) / 1000  # below -10 and above 245
    assert "74.40% of the training part's values lie beyond the network's input range -10..245" in placed.notes[0]
    assert on_grid(data, InputGrid(np.float32(5), 60)).notes == []
    half = np.array([-10.5, 245.49, -10.51, 245.51], np.float32).reshape(4, 1, 1, 1)
    data = replace(data, train_x=half, train_y=np.zeros(4, np.int64), test_x=half, test_y=np.zeros(4, np.int64))
    assert on_grid(data, InputGrid(np.float32(1), 10)).data.cut == 0.5


def test_values_of_another_unit_are_said(imported, folder):
    hundred = {name: standardized(PIXELS[name]) * 100 for name in ("x_train", "x_test")}
    assert "cut off" in accuracy(imported, npz(folder / "hundred.npz", **hundred))[1]
    hundredth = {name: standardized(PIXELS[name]) / 100 for name in ("x_train", "x_test")}
    assert "of the 256 steps" in accuracy(imported, npz(folder / "hundredth.npz", **hundredth))[1]


# --- ranges to be calibrated ---------------------------------------------------------------------------------


def real_data(x):
    x = np.asarray(x, np.float32)
    return Dataset("r", x, np.zeros(len(x), np.int64), x[:1], np.zeros(1, np.int64), 1, None, 0, None)


def test_an_outlier_does_not_set_the_range(source, folder, caplog):
    bright = standardized(PIXELS["x_train"])
    grid = input_grid_for(real_data(bright[..., None]))
    for factor in (3, 1e6, 1e38):
        spoilt = bright.copy()
        spoilt[5] *= factor
        caplog.clear()
        assert input_grid_for(real_data(spoilt[..., None])) == grid
        assert "1 of 1438 training samples reach beyond" in caplog.text
    data, model = float_npz(folder / "bright.npz", x_train=spoilt), folder / "bright.fqt"
    assert fqt("import", folder / "linear.onnx", "--data", data, "-o", model).returncode == 0
    close(accuracy(model, data)[0], source.right)


def test_ordinary_and_sparse_data_keep_their_whole_range():
    rng = np.random.default_rng(0)
    bell = rng.normal(size=(500, 1, 8, 1)).astype(np.float32)
    assert input_grid_for(real_data(bell)).hi == pytest.approx(max(bell.max(), 0), rel=0.01)
    sparse = np.zeros((500, 8, 8, 1), np.float32)
    sparse[::125, 3, 3] = 7  # nearly all samples are all 0
    assert input_grid_for(real_data(sparse)).hi == pytest.approx(7)
    lonely = np.zeros((500, 8, 8, 1), np.float32)
    lonely[np.arange(500), rng.integers(0, 8, 500), rng.integers(0, 8, 500)] = 7  # one value of 64
    assert input_grid_for(real_data(lonely)).hi == pytest.approx(7)
    assert input_grid_for(real_data(lonely), 99).hi == pytest.approx(7)


def test_percentile_calibration_covers_the_input(folder, caplog):
    spiky = np.random.default_rng(0).uniform(-1, 1, (300, 1, 1000, 1)).astype(np.float32)
    spiky[:, 0, 500] = 50  # in every sample
    assert input_grid_for(real_data(spiky)).hi == pytest.approx(50)
    assert input_grid_for(real_data(spiky), 99.8).hi == pytest.approx(1, rel=0.01)
    assert "300 of 300 training samples reach beyond" in caplog.text
    spoilt = standardized(PIXELS["x_train"])
    spoilt[:, 0, 0] = 50  # one of 64 pixels
    data, model = float_npz(folder / "spiky.npz", x_train=spoilt), folder / "spiky.fqt"
    ranges = []
    for options in ((), ("--calibration", "percentile", "--percentile", 95)):
        done = fqt("import", folder / "linear.onnx", "--data", data, *options, "--json", "-o", model)
        ranges.append(json.loads(done.stdout)["input_grid"]["hi"])
    assert ranges[0] == pytest.approx(50, abs=0.1) and ranges[1] < 2


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (np.zeros((4, 2, 2, 1)), "values from 0.0 to 0.0 give no usable scale"),
        (np.full((4, 2, 2, 1), 1e-37), "give no usable scale"),
        (np.array([3e38, -3e38, 1, 1]).reshape(4, 1, 1, 1), "give no usable scale"),
        (np.array([3e38, 1, 1, 1]).reshape(4, 1, 1, 1), "sample 0 reaches 3e+38, while half of all stay within 1 of 0"),
        (np.repeat([1, 3e38, 2, 1, 1], 20).reshape(100, 1, 1, 1), "sample 20 reaches 3e+38"),
    ],
)
def test_ranges_that_no_bytes_can_hold(x, expected):
    with pytest.raises(FqtError) as error:
        input_grid_for(real_data(x))
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_images_that_are_all_the_same_are_said(folder):
    black = npz(folder / "black.npz", x_train=PIXELS["x_train"] * 0)
    done = fqt("train", "--data", black, "--network", "digits-mlp", "--epochs", 1, "-o", folder / "black.fqt")
    assert done.stderr.count("all 1438 training samples are the same: nothing can be learnt from them") == 1


# --- labels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8, np.int16, np.uint64, ">i4"])
def test_whole_labels_of_any_type(kind, imported, floats, folder):
    labels = {name: PIXELS[name].astype(kind) for name in ("y_train", "y_test")}
    assert accuracy(imported, float_npz(folder / "labels.npz", **labels)) == (accuracy(imported, floats)[0], "")


def test_bool_labels(folder):
    labels = {name: PIXELS[name] > 4 for name in ("y_train", "y_test")}
    data = load(npz(folder / "bool.npz", **labels))
    assert data.classes == 2 and data.train_y.dtype == np.int64 and np.array_equal(data.test_y, PIXELS["y_test"] > 4)


def test_labels_from_one(imported, floats, folder):
    labels = {name: PIXELS[name] + 1 for name in ("y_train", "y_test")}
    found, said = accuracy(imported, float_npz(folder / "one.npz", **labels))
    assert found == accuracy(imported, floats)[0]
    assert "labels are 1..10 and the network's classes 0..9: label 1 is class 0" in said
    gap = {name: np.where(PIXELS[name] == 9, 10, PIXELS[name]) for name in ("y_train", "y_test")}  # 0 occurs: these are none from 1
    assert "has 11 classes, the network tells 10 apart" in refused("evaluate", imported, "--data", float_npz(folder / "gap.npz", **gap))


def test_classes_that_the_training_part_lacks(imported, floats, folder):
    few = PIXELS["y_train"] < 4
    changes = {"x_train": standardized(PIXELS["x_train"])[few], "y_train": PIXELS["y_train"][few]}
    data = float_npz(folder / "few.npz", **changes)
    assert accuracy(imported, data) == (accuracy(imported, floats)[0], "")
    done = fqt("train", "--from", imported, "--data", data, "--epochs", 1, "-o", folder / "few.fqt")
    assert done.returncode == 0 and "warning" not in done.stderr
    done = fqt("train", "--data", data, "--network", "digits-mlp", "--epochs", 0, "-o", folder / "few.fqt")
    assert "the training part has no sample of class 4, 5, 6, 7, 8, ...: the network gets 10 classes all the same" in done.stderr


def test_targets_of_a_regression(imported, folder):
    data = float_npz(folder / "targets.npz", y_train=PIXELS["y_train"] + 0.5)
    assert "'y_train': label " in refused("evaluate", imported, "--data", data)
    assert "a regression cannot be trained yet" in refused("train", "--data", data, "-o", folder / "none.fqt")
    done = fqt("import", folder / "linear.onnx", "--data", data, "-o", folder / "targets.fqt")  # ranges need no labels
    assert done.returncode == 0, done.stderr


# --- axes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "wanted", "reading"),
    [
        ((3, 5, 7), (5, 7, 3), "with channels first"),
        ((3, 5, 5), (5, 5, 3), "with channels first"),
        ((1, 8, 8), (8, 8, 1), ""),
        ((128, 3, 1), (1, 128, 3), ""),  # a series [n,c]
        ((3, 128, 1), (1, 128, 3), "with channels first"),  # [c,n]
        ((1, 3, 128), (1, 128, 3), "with channels first"),
        ((3, 1, 128), (1, 128, 3), "with channels first"),
        ((1, 1, 64), (1, 64, 1), ""),
        ((1, 1, 64), (8, 8, 1), ""),
        ((8, 8, 1), (1, 1, 64), ""),
        ((1, 1, 6), (1, 2, 3), None),  # moments or channels first?
        ((2, 3, 4), (1, 1, 24), "in the order of the file"),
        ((5, 7, 1), (7, 5, 1), None),  # images on their side
        ((8, 8, 3), (8, 8, 1), None),
        ((5, 7, 3), (7, 5, 3), None),
    ],
)
def test_axes(shape, wanted, reading):
    x = np.arange(2 * np.prod(shape), dtype=np.float32).reshape(2, *shape)
    if reading is None:
        with pytest.raises(FqtError, match=r"samples of shape .*, the network takes .*(reshape or transpose|choose data that fits)"):
            arranged(x, wanted, "d")
        return
    made, said = arranged(x, wanted, "d")
    assert made.shape == (2, *wanted) and said == reading and made.flags.c_contiguous
    squeezed = x[0].squeeze()
    if reading == "with channels first":
        squeezed = np.moveaxis(squeezed, 0, -1)
    assert np.array_equal(made[0].reshape(-1), squeezed.reshape(-1))


def test_pictures_with_channels_first(imported, floats, folder):
    first = {name: standardized(PIXELS[name])[:, np.newaxis] for name in ("x_train", "x_test")}
    vectors = {name: standardized(PIXELS[name]).reshape(-1, 64) for name in ("x_train", "x_test")}
    right = accuracy(imported, floats)[0]
    for name, changes in (("first", first), ("vectors", vectors)):
        assert accuracy(imported, float_npz(folder / f"{name}.npz", **changes))[0] == right
    network = fresh_network("digits-cnn", "uint8", load(folder / "first.npz"), 0)
    assert [int(network.tensors[0][axis]) for axis in "hwc"] == [8, 8, 1]
    coloured = real_data(np.random.default_rng(0).normal(size=(30, 3, 9, 9)))
    assert for_new_network(coloured).data.train_x.shape == (30, 9, 9, 3)
    assert np.array_equal(for_new_network(coloured).data.train_x, coloured.train_x.transpose(0, 2, 3, 1))


def test_feature_vectors_train_a_network_of_their_own(folder):
    vectors = {name: standardized(PIXELS[name]).reshape(-1, 64) for name in ("x_train", "x_test")}
    data = float_npz(folder / "vectors.npz", **vectors)
    assert load(data).train_x.shape == (1438, 1, 1, 64)
    done = fqt("train", "--data", data, "--network", "digits-mlp", "--epochs", 3, "--batch-size", 16, "--learning-rate", 0.01, "--json",
               "-o", folder / "v.fqt")  # fmt: skip
    assert json.loads(done.stdout)["test_accuracy"] > 0.8


# --- what is no data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "is a table"),
        ("a.h5", "is HDF5"),
        ("a.keras", "is a network, not data"),
        ("a.onnx", "is a network, not data"),
        ("a.fqt", "is a network, not data"),
        ("a.pth", "is PyTorch's"),
        ("a.pt", "is PyTorch's"),
        ("a.npy", "is a single array"),
        ("a.pkl", "is a pickle"),
        ("a.png", "is a single sample"),
        ("folder", "is a folder"),
        ("a.txt", "not an .npz file"),
    ],
)
def test_files_that_are_no_data(name, expected, imported, tmp_path):
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"anything")
    text = refused("evaluate", imported, "--data", path)
    assert expected in text and ".npz" in text


# --- arrays --------------------------------------------------------------------------------------------------


def test_arrays_that_are_neither_bytes_nor_real_values(source):
    state = prepared_state(source.network((0.02, 100)))
    with pytest.raises(FqtError, match=r"samples are int64: uint8 are bytes of the network's input grid"):
        predictions_of(state, PIXELS["x_test"].astype(np.int64))
    with pytest.raises(FqtError, match="is float32, not bytes of the network"):
        flat(np.zeros((2, 8, 8, 1), np.float32))
