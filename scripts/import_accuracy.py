#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Imported int8 models against their own runtime: accuracy, and how many outputs differ by how much.

Needs the models and samples of a data directory, LiteRT and onnxruntime: python scripts/import_accuracy.py --data-dir DIR --cifar DIR
Each model is imported, written as a model file, read again, and run by this project's engine; LiteRT runs the source, and onnxruntime
MCUNet's (tests/mcunet_onnx.py writes its layers as ONNX). Without --reference the runtimes use their optimized kernels, which round
differently from their reference kernels in places.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def cifar(folder: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The first n test images uint8[n, 32, 32, 3] and labels."""
    records = np.fromfile(folder / "cifar-10-batches-bin" / "test_batch.bin", np.uint8).reshape(-1, 3073)[:n]
    return np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), records[:, 0].astype(np.int64)


def keyword_samples(options, n):
    data = np.load(options.data_dir / "speech_commands_1000_features.npz")
    return (data["mfcc_i8"][:n].astype(np.int16) + 128).astype(np.uint8)[..., None], data["label"][:n].astype(np.int64)


def cifar_samples(options, n):
    return cifar(options.cifar or options.data_dir, n)


def large_samples(options, n):
    """CIFAR's test images three times as large: no people to be told from none, but pictures, on which both sides must agree."""
    return cifar(options.cifar or options.data_dir, n)[0].repeat(3, 1).repeat(3, 2), None


def gray_samples(options, n):
    images, _ = large_samples(options, n)
    return np.rint(images.astype(np.float32) @ np.float32([0.299, 0.587, 0.114])).astype(np.uint8)[..., None], None


OXEYE_DAISY, DAISY = 49, 985  # of Flowers-102 and of ImageNet: the one flower that both name


def flower_samples(options, n):
    """Flowers-102's images twice as large, oxeye daisies first; their labels are ImageNet's daisy, those of others unknown, -1.

    Enlarged smoothly: of images with doubled pixels the network says that they are jigsaw puzzles and window screens.
    """
    from PIL import Image

    from fqt_ref.datasets import load

    data = load("flowers102", options.data_dir)
    images, labels = np.concatenate([data.train_x, data.test_x]), np.concatenate([data.train_y, data.test_y])
    chosen = np.argsort(labels != OXEYE_DAISY - 1, kind="stable")[:n]
    larger = np.array([np.asarray(Image.fromarray(image).resize((128, 128), Image.Resampling.BICUBIC)) for image in images[chosen]])
    return larger, np.where(labels[chosen] == OXEYE_DAISY - 1, DAISY, -1)


MODELS = {
    "kws_ref_model": (keyword_samples, 1000),
    "pretrainedResnet_quant": (cifar_samples, 2000),
    "vww_96_int8": (large_samples, 500),
    "person_detect": (gray_samples, 500),
    "mcunet-5fps": (flower_samples, 500),
}


def source_of(name: str, options) -> Path:
    """A model's file."""
    return options.data_dir / "models" / f"{name}.{'json' if 'mcunet' in name else 'tflite'}"


def runtime_outputs(source: Path, samples: np.ndarray, options) -> np.ndarray:
    """The last tensor of the model in its own runtime, [n, classes], as bytes like ours."""
    if source.suffix == ".json":
        from mcunet_onnx import outputs

        return (outputs(source, (samples.astype(np.int16) - 128).astype(np.int8), options.reference).astype(np.int16) + 128).astype(
            np.uint8
        )
    from fqt_ref.convert.runtimes.litert import LiteRT

    return LiteRT(source, options.reference).outputs(samples.astype(np.int16) - 128)


def engine_logits(network, samples: np.ndarray) -> np.ndarray:
    """Bytes of the last tensor [n, classes]."""
    from fqt_ref.convert.agreement import real_tensors

    last = network.tensors[-1]
    return np.rint(real_tensors(network, samples)[-1] / float(last["scale"]) + int(last["zero"])).astype(np.uint8)


def compare(name: str, options) -> dict:
    """One model's row."""
    from fqt_ref import model_file
    from fqt_ref.convert.command import ImportSettings, import_model

    make, most = MODELS[name]
    samples, labels = make(options, min(most, options.samples or most))
    source = source_of(name, options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.fqt"
        _, lines = import_model(ImportSettings(source, path))
        network = model_file.read(path)
    start = time.perf_counter()
    ours = engine_logits(network, samples)
    seconds = time.perf_counter() - start
    theirs = runtime_outputs(source, samples, options)
    off = np.abs(ours.astype(int) - theirs.astype(int))
    picks, their_picks = ours.argmax(1), theirs.argmax(1)
    margin = np.sort(theirs.astype(int), 1)[:, -1] - np.sort(theirs.astype(int), 1)[:, -2]
    disagree = picks != their_picks
    row = {
        "model": name,
        "samples": len(samples),
        "kernels": "reference" if options.reference else "optimized",
        "logits": int(off.size),
        "equal": int(np.sum(off == 0)),
        "differ by 1": int(np.sum(off == 1)),
        "by 2": int(np.sum(off == 2)),
        "by 3 to 5": int(np.sum((off >= 3) & (off <= 5))),
        "by more": int(np.sum(off > 5)),
        "largest": int(off.max()),
        "step": float(network.tensors[-1]["scale"]),
        "top-1 disagreements": int(disagree.sum()),
        "largest margin among them, steps": int(margin[disagree].max()) if disagree.any() else 0,
        "engine ms a sample": round(1000 * seconds / len(samples), 2),
        "notes": lines[-1] if "scales of" in lines[-1] else "",
    }
    if labels is not None:
        known = labels >= 0
        row["labelled"] = int(known.sum())
        row["accuracy"] = float(np.mean(picks[known] == labels[known]))
        row["runtime's accuracy"] = float(np.mean(their_picks[known] == labels[known]))
    else:
        row["runtime's classes"] = np.bincount(their_picks, minlength=theirs.shape[1]).tolist()
    return row


def layers(name: str, options, n: int) -> list[dict]:
    """Where differences come from: each layer fed with the runtime's own bytes, in the engine, in the runtime, and rounded exactly."""
    from litert import layer_differences, layer_tensors

    from fqt_ref.build import build_network
    from fqt_ref.convert import load
    from fqt_ref.convert.command import ImportSettings, samples_for
    from fqt_ref.convert.runtimes.litert import LiteRT
    from fqt_ref.operators.views import feature_u8
    from fqt_ref.train_step import forward_layer
    from fqt_ref.training import prepared_state

    source = source_of(name, options)
    imported, runtime = load(source), LiteRT(source, options.reference)
    graph = imported.graph
    network = build_network(graph, "uint8", *samples_for(graph, ImportSettings(source, source)))
    state = prepared_state(network)
    found: list[list] = [[] for _ in graph.nodes]
    for sample in MODELS[name][0](options, n)[0].astype(np.int16) - 128:
        inexact = layer_differences(runtime, imported, sample)
        tensors = layer_tensors(runtime, imported)
        for i, node in enumerate(graph.nodes):
            for t in node.inputs:
                feature_u8(state, t)[:] = tensors[t].reshape(-1)
            forward_layer(state, i)
            theirs = tensors[i + 1].astype(int).reshape(-1)
            off = np.array(feature_u8(state, i + 1)).astype(int) - theirs
            found[i].append((off, inexact[i].reshape(-1), off + inexact[i].reshape(-1)))
    rows = []
    for i, node in enumerate(graph.nodes):
        off, runtimes, engines = (np.array(part) for part in zip(*found[i], strict=True))
        row = {"layer": i, "op": node.op, "engine is not the runtime, %": 100 * np.mean(off != 0), "largest": int(np.abs(off).max())}
        row |= {"mean": np.mean(off), "runtime is not exact, %": 100 * np.mean(runtimes != 0), "mean of it": np.mean(runtimes)}
        row |= {"engine is not exact, %": 100 * np.mean(engines != 0), "mean of this": np.mean(engines)}
        rows.append({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of models/ and of the data sets' files")
    parser.add_argument("--cifar", type=Path, help="folder of cifar-10-batches-bin [default: the data folder]")
    parser.add_argument("--samples", type=int, help="at most so many of each")
    parser.add_argument("--reference", action="store_true", help="the runtimes' reference kernels, slow")
    parser.add_argument("--layers", type=int, default=0, help="also compare layer by layer on so many samples")
    parser.add_argument("models", nargs="*", default=list(MODELS))
    options = parser.parse_args()
    for name in options.models:
        print(json.dumps(compare(name, options)), flush=True)
        by_layer = options.layers > 0 and source_of(name, options).suffix == ".tflite"  # LiteRT shows its tensors, onnxruntime does not
        for row in layers(name, options, options.layers) if by_layer else []:
            print("   ", json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
