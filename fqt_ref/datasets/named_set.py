# SPDX-License-Identifier: Apache-2.0
"""The sets known by name whose data comes in files: the files' names, homes and contents."""

from dataclasses import dataclass
from pathlib import Path

FileNames = tuple[str, str, str, str]
"""Of (train images, train labels, test images, test labels)."""

_MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class NamedSet:
    """A set of 28 x 28 grey images.

    idx_files     canonical names, without the .gz that each may carry
    npz_files     names of the set's other form, one array 'arr_0' each, or None
    folders       subfolders of a data folder that may hold the files, in order of preference
    label_names   one a class
    first_label   the label of class 0 in the files
    transposed    images are stored column by column
    system_folder where a system package puts the files, or None
    base_url      the set's home, ends in '/', holds the idx files with .gz; None: no download
    md5           of the idx files with .gz at base_url (as torchvision lists them)
    get_it        how to get the files by hand
    """

    name: str
    idx_files: FileNames
    folders: tuple[str, ...]
    label_names: tuple[str, ...]
    get_it: str
    npz_files: FileNames | None = None
    first_label: int = 0
    transposed: bool = False
    system_folder: Path | None = None
    base_url: str | None = None
    md5: FileNames | None = None


def _emnist(part: str, label_names: tuple[str, ...], first_label: int) -> NamedSet:
    kinds = ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")
    a, b, c, d = (f"emnist-{part}-{kind}-ubyte" for kind in kinds)
    return NamedSet(
        name=f"emnist-{part}",
        idx_files=(a, b, c, d),
        folders=(f"emnist-{part}", "emnist", "EMNIST", "emnist/gzip", "EMNIST/raw", "gzip"),
        label_names=label_names,
        first_label=first_label,
        transposed=True,
        get_it="unpack https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip into a folder",
    )


NAMED_SETS = {
    named.name: named
    for named in (
        NamedSet(
            name="mnist",
            idx_files=_MNIST_FILES,
            folders=("mnist", "MNIST", "MNIST/raw"),
            label_names=_DIGITS,
            base_url="https://ossci-datasets.s3.amazonaws.com/mnist/",
            md5=(
                "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "d53e105ee54ea40749a09fcbcd1e9432",
                "9fb629c4189551a2d022fa330f9573f3",
                "ec29112dd5afa0611ce80d1b7f02629c",
            ),
            get_it="download the four files of https://ossci-datasets.s3.amazonaws.com/mnist/ into a folder",
        ),
        NamedSet(
            name="fashion-mnist",
            idx_files=_MNIST_FILES,
            folders=("fashion-mnist", "fashion_mnist", "fashion", "FashionMNIST", "FashionMNIST/raw"),
            label_names=(
                *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
                *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
            ),
            system_folder=Path("/usr/share/datasets/fashion-mnist"),
            base_url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            md5=(
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bef4ecab320f06d8554ea6380940ec79",
                "bb300cfdad3c16e7a12a480ee83cd310",
            ),
            get_it="apt-get install dataset-fashion-mnist, or put the four files into a folder",
        ),
        NamedSet(
            name="kmnist",
            idx_files=_MNIST_FILES,
            npz_files=(
                *("kmnist-train-imgs.npz", "kmnist-train-labels.npz"),
                *("kmnist-test-imgs.npz", "kmnist-test-labels.npz"),
            ),
            folders=("kmnist", "KMNIST", "KMNIST/raw"),
            label_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
            base_url="http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            md5=(
                "bdb82020997e1d708af4cf47b453dcf7",
                "e144d726b3acfaa3e44228e80efcd344",
                "5c965bf0a639b31b8f53240b1b52f4d7",
                "7320c461ea6c1c855c0b718fb2a4b134",
            ),
            get_it="download the files of http://codh.rois.ac.jp/kmnist/ (idx or npz) into a folder",
        ),
        _emnist("letters", tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), first_label=1),
        _emnist("digits", _DIGITS, first_label=0),
    )
}
