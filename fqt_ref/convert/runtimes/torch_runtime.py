# SPDX-License-Identifier: Apache-2.0
"""Exported programs and TorchScript files in PyTorch itself."""

from pathlib import Path
from typing import Any

import numpy as np


class TorchRuntime:
    """A model, sample by sample; tensors: names of a program's nodes to give beside the output, where there are such."""

    def __init__(self, path: Path, tensors: list[str] | None = None):
        import torch

        from fqt_ref.convert.pt2_file import check_script, safe_program

        torch.set_num_threads(1)
        self.torch, self.wanted = torch, set(tensors or [])
        if path.suffix.lower() == ".pt2":
            program = torch.export.load(safe_program(path))
            self.module = program.module()
        else:
            check_script(path)
            self.module = torch.jit.load(path, map_location="cpu").eval()
            self.wanted = set()

    def results(self, sample: np.ndarray) -> dict[str, np.ndarray]:
        """The output, "", and the tensors asked for, of one sample without its batch axis."""
        torch = self.torch
        x = torch.from_numpy(np.ascontiguousarray(sample[None], np.float32))
        with torch.no_grad():
            if not self.wanted:
                return {"": self.module(x).numpy()[0]}
            kept: dict[str, Any] = {}
            wanted = self.wanted

            class Keeper(torch.fx.Interpreter):  # type: ignore[misc, name-defined]
                """Keeps what the wanted nodes make."""

                def run_node(self, node: Any) -> Any:
                    value = super().run_node(node)
                    if node.name in wanted and isinstance(value, torch.Tensor):
                        kept[node.name] = value.detach().numpy()[0].copy()
                    return value

            kept[""] = Keeper(self.module).run(x).numpy()[0]
        return kept
