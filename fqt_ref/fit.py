# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

MEASURED = Path(__file__).with_name("board_sizes.json")
