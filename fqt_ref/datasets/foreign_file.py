# SPDX-License-Identifier: Apache-2.0
"""What to do with files that are no .npz, by their endings: one line that says how to make one of them."""

from pathlib import Path

_SAVE = "numpy.savez_compressed('mine.npz', x_train=, y_train=, x_test=, y_test=)"
_NETWORKS = ".fqt", ".onnx", ".tflite", ".pt2", ".json"  # that fqt reads
_FOREIGN_NETWORKS = ".keras", ".pb", ".ckpt", ".safetensors"
_HDF5 = ".h5", ".hdf5"
_TENSORS = ".pt", ".pth"
_TABLES = ".csv", ".tsv", ".arff", ".parquet", ".xlsx"
_PICKLES = ".pkl", ".pickle", ".joblib"
_PICTURES = ".png", ".jpg", ".jpeg", ".bmp", ".wav"


def remedy_for(path: Path) -> str | None:
    """What a data set's path is and how to make it one, without line breaks; None for what may be an .npz file."""
    ending = path.suffix.lower()
    if path.is_dir():
        return f"is a folder; data are an .npz file: read its samples into arrays and write {_SAVE}"
    if ending in _NETWORKS:
        return "is a network, not data; name an .npz file with samples and labels, or a data set"
    if ending in _FOREIGN_NETWORKS:
        return "is a network, not data, and of a kind that fqt import does not read: export it as TFLite or ONNX; data are an .npz file"
    if ending in _TENSORS:
        return f"is PyTorch's, weights or tensors; data are an .npz file: {_SAVE} with tensor.numpy() of each"
    if ending in _HDF5:
        return f"is HDF5 (not an .npz file): of data, read its arrays with h5py and write {_SAVE}; of a Keras model, export it as TFLite"
    if ending == ".npy":
        return f"is a single array, not an .npz file (no zip archive): samples and labels of both parts go into one, {_SAVE}"
    if ending in _TABLES:
        return f"is a table; data are an .npz file: x = pandas' columns as float32 [N,n], y the labels, and write {_SAVE}"
    if ending in _PICKLES:
        return f"is a pickle, which would run code of its own; load it where you trust it and write {_SAVE}"
    if ending in _PICTURES:
        return f"is a single sample; data are an .npz file with many and their labels: {_SAVE}"
    return None
