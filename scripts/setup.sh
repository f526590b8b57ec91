#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sets up what the two commands need: Debian packages (as root or with sudo) and .venv. Quick when all is there; sourced by both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(python3-venv git gcc g++ clang clang-format libclang-rt-14-dev gcc-arm-none-eabi picolibc-arm-none-eabi libnewlib-arm-none-eabi
    qemu-system-arm cmake ninja-build device-tree-compiler gperf ccache dataset-fashion-mnist)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    echo "setup: installing ${missing[*]}" >&2
    if ! { "${root[@]}" apt-get update -q && DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"; } >&2; then
        echo "setup: could not install ${missing[*]}; what needs them is skipped and named at the end" >&2
    fi
fi

# The stamp holds what .venv was made from, so that a changed pyproject.toml is noticed.
stamp=$(sha256sum pyproject.toml | cut -d' ' -f1)
if [ "$(cat .venv/.fqt-stamp 2>/dev/null)" != "$stamp" ]; then
    echo "setup: making .venv" >&2
    python3 -m venv .venv
    .venv/bin/pip install -q -e '.[dev,plot,images,onnx,dask,zephyr]' >&2
    echo "$stamp" >.venv/.fqt-stamp
fi
# What was installed since, PyTorch for one, may have raised setuptools beyond what twister of Zephyr 3.7 imports.
if ! .venv/bin/python -W ignore -c 'import pkg_resources' 2>/dev/null; then
    echo "setup: back to a setuptools that has pkg_resources" >&2
    .venv/bin/pip install -q 'setuptools<81' >&2 || echo "setup: could not install setuptools<81; twister does not run" >&2
fi
