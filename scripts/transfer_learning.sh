#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The paper's transfer learning on five data sets: MbedNet pretrained, pruned, quantized, its last five layers reset and retrained in the
# three configurations (README's table). One after the other; run it again to go on after a stop.
#
# usage: scripts/transfer_learning.sh OUT_DIR [DATA_DIR [CIFAR_DIR]]
#
# About two hours of one 2.5 GHz core. OUT_DIR gets NAME.npz and NAME.json (the baseline and its results) and the folder NAME of the rest.
set -eu
cd "$(dirname "$0")/.."
out=$1
data=${2:-${FQT_DATA_DIR:-data}}
cifar=${3:-$data}
python=${PYTHON:-.venv/bin/python}
# glibc gives large blocks back to the system at once and gets them zeroed again: a fifth of the time.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592
mkdir -p "$out"

pretrain() {
    name=$1
    set_name=$2
    folder=$3
    shift 3
    [ -s "$out/$name.json" ] && return
    "$python" -m fqt_ref pretrain --data "$set_name" --data-dir "$folder" --network mbednet --json -o "$out/$name.npz" "$@" >"$out/$name.json.part"
    mv "$out/$name.json.part" "$out/$name.json"
}

transfer() {
    name=$1
    set_name=$2
    folder=$3
    shift 3
    mkdir -p "$out/$name"
    [ -s "$out/$name/transfer.json" ] && return
    "$python" -m fqt_ref transfer --data "$set_name" --data-dir "$folder" --from "$out/$name.npz" --share 0.3 --json -o "$out/$name" "$@" \
        >"$out/$name/transfer.json.part"
    mv "$out/$name/transfer.json.part" "$out/$name/transfer.json"
}

pretrain cwru cwru "$data" --epochs 12 --learning-rate 0.05 --weight-decay 1e-4
transfer cwru cwru "$data" --prune-epochs 8 --epochs 20
pretrain hapt hapt "$data" --epochs 15 --learning-rate 0.05 --weight-decay 5e-4
transfer hapt hapt "$data" --prune-epochs 8 --epochs 20
pretrain arsc arsc "$data" --epochs 12 --learning-rate 0.05 --weight-decay 5e-4
transfer arsc arsc "$data" --prune-epochs 4 --epochs 20
pretrain cifar10 cifar10 "$cifar" --epochs 6 --learning-rate 0.1 --weight-decay 1e-4 --reduced 0.67
transfer cifar10 cifar10 "$cifar" --prune-epochs 2 --epochs 20
# 1641 images are too few for 102 flowers: the paper, too, starts from a network that has seen other images.
pretrain flowers102 flowers102 "$data" --from "$out/cifar10.npz" --epochs 30 --batch-size 32 --optimizer adam --learning-rate 0.001 \
    --weight-decay 0.05 --label-smoothing 0.1
transfer flowers102 flowers102 "$data" --prune-epochs 20 --epochs 20
"$python" scripts/transfer_table.py "$out"
