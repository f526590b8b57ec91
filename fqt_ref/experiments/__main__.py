# SPDX-License-Identifier: Apache-2.0
"""The process of one run, see worker.py."""

from fqt_ref.experiments.worker import main

main()
