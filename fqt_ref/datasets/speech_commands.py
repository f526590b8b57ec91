# SPDX-License-Identifier: Apache-2.0
"""A thousand Google speech commands as MLPerf Tiny's keyword model takes them: for measuring imported models, not for training.

speech_commands_1000_features.npz holds mfcc_i8 int8[N,49,10] (49 moments of 10 coefficients, quantized as the model's
input is), label uint8[N], names str[12] in the order of the model's outputs.
"""

from pathlib import Path

import numpy as np

from fqt_ref.datasets.dataset import Dataset
from fqt_ref.datasets.file_set import FileSet, find_files
from fqt_ref.datasets.labels import checked_labels
from fqt_ref.datasets.npz_archive import read_typed

SPEECH_COMMANDS = FileSet(
    name="speech-commands",
    forms=(("speech_commands_1000_features.npz",),),
    folders=("speech-commands", "speech_commands"),
    get_it="put speech_commands_1000_features.npz (what it holds: fqt_ref/datasets/speech_commands.py), made from the test clips of "
    "https://github.com/mlcommons/tiny (benchmark/training/keyword_spotting), into a folder",
)

_MOMENTS, _COEFFICIENTS, _CLASSES = 49, 10, 12
# The input tensor of MLPerf Tiny's kws_ref_model.tflite: int8, scale 0.58470290899..., zero point 83.
_SCALE = np.float32(0.5847029089927673)
_ZERO_I8 = 83


def load_speech_commands(data_dir: Path | None = None, download: bool = True) -> Dataset:
    """Return the clips [.,49,10,1] of twelve classes as the test part; the training part is empty.

    A byte is the model's int8 input + 128: scale 0.5847029, zero 211.

    Raises FqtError: not found, damaged file, arrays of wrong types, shapes or lengths, a label above 11.
    """
    (path,) = find_files(SPEECH_COMMANDS, data_dir, download)
    features = read_typed(path, "mfcc_i8", np.int8, (None, _MOMENTS, _COEFFICIENTS))
    y = checked_labels(read_typed(path, "label", np.uint8, (None,)), len(features), _CLASSES, f"{path}: 'label'")
    names = tuple(map(str, read_typed(path, "names", np.str_, (_CLASSES,))))
    x = (features.view(np.uint8) ^ np.uint8(0x80))[..., np.newaxis]
    return Dataset("speech-commands", x[:0], y[:0], x, y, _CLASSES, _SCALE, _ZERO_I8 + 128, names)
