# SPDX-License-Identifier: Apache-2.0
"""Model files and folders of other tools: what they are, and how they become something that can be imported."""

from collections.abc import Iterable
from pathlib import Path

from fqt_ref.errors import FqtError

TO_TFLITE = "convert it with tf.lite.TFLiteConverter.from_{} and import the .tflite file"
TO_PT2 = "load it into its module and save that with torch.export.save(torch.export.export(model, (example,)), 'net.pt2')"
REMEDIES = {
    (".keras", ".h5", ".hdf5"): ("a Keras model", TO_TFLITE.format("keras_model(tf.keras.models.load_model(path))")),
    (".pb",): ("a TensorFlow graph", TO_TFLITE.format("saved_model(folder)")),
    (".pth", ".ckpt", ".bin", ".safetensors"): ("PyTorch weights, which hold no network", TO_PT2),
    (".pkl", ".pickle", ".joblib"): ("a pickle, which can run code", "export what it holds as .onnx, .tflite or .pt2"),
    (".pte", ".ptl", ".ort", ".mlmodel", ".engine"): ("made for one runtime", "import what it was made from: .onnx, .tflite, .pt2"),
    (".npz",): ("arrays", "fqt quantize makes a model file of a float32 network that fqt pretrain or fqt prune wrote"),
    (".fqt",): ("a model file of fqt already", "use it as it is"),
}


def refusal_of(path: Path, formats: Iterable[str]) -> FqtError:
    """What to do with a file or folder that no importer reads; formats: the endings of what they do read."""
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return FqtError(f"{path} is a SavedModel; {TO_TFLITE.format('saved_model(folder)')}")
        return FqtError(f"{path} is a folder; name a model file in it that ends in {', '.join(formats)}")
    for endings, (what, remedy) in REMEDIES.items():
        if path.suffix.lower() in endings:
            return FqtError(f"{path} is {what}: {remedy}")
    return FqtError(f"{path}: cannot tell what '{path.suffix}' files are; name a file that ends in {', '.join(formats)}")
