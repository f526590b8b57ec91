#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The float32 baselines of the transfer-learning experiments: one after the other, cheapest first; run it again to go on after a stop.
#
# usage: scripts/pretrain_baselines.sh OUT_DIR [DATA_DIR [CIFAR_DIR]]
#
# About an hour of one 2.5 GHz core. OUT_DIR gets NAME.npz, NAME.json (the results) and NAME.npz.checkpoint of each data set.
set -eu
out=$1
data=${2:-${FQT_DATA_DIR:-data}}
cifar=${3:-$data}
python=${PYTHON:-python3}
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

pretrain cwru cwru "$data" --epochs 12 --learning-rate 0.05 --weight-decay 1e-4
pretrain hapt hapt "$data" --epochs 15 --learning-rate 0.05 --weight-decay 5e-4
pretrain arsc arsc "$data" --epochs 12 --learning-rate 0.05 --weight-decay 5e-4
pretrain flowers102 flowers102 "$data" --epochs 30 --batch-size 32 --optimizer adam --learning-rate 0.002 --weight-decay 0.05 --label-smoothing 0.1 --reduced 0.7
pretrain cifar10 cifar10 "$cifar" --epochs 6 --learning-rate 0.1 --weight-decay 1e-4 --reduced 0.67
# 1641 images are too few for 102 flowers: the paper, too, starts from a network that has seen other images.
pretrain flowers102-from-cifar10 flowers102 "$data" --from "$out/cifar10.npz" --epochs 30 --batch-size 32 --optimizer adam --learning-rate 0.001 --weight-decay 0.05 --label-smoothing 0.1
