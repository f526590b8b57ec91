# SPDX-License-Identifier: Apache-2.0
"""ReLUs that a quantizer has left out because the grid behind them clips anyway: told by the grid, and put back.

Without them the clip is no part of the network: its gradient isn't masked, and it melts away as the grid follows the data (SPEC.md 8).
"""

from fqt_ref.graph import WEIGHTED, Graph, Grid

TOP_OF_RELU6 = 6.0


def clip_of(grid: Grid) -> str:
    """The activation that a feature map's grid amounts to: relu if zero is its low end, relu6 if its top also is 6, within half a step."""
    if int(grid.zero[0]) != 0:
        return ""
    scale = float(grid.scale[0])
    return "relu6" if abs(255 * scale - TOP_OF_RELU6) <= scale / 2 else "relu"


def restore_activations(graph: Graph) -> list[str]:
    """Set the activation of layers whose prescribed grid clips like one; all but the last, whose outputs are the logits.

    Not a bit of inference changes. Returns a note for the report, if there is something to tell.
    """
    found = [""] * len(graph.nodes)
    for i, node in enumerate(graph.nodes[:-1]):
        if (node.op in WEIGHTED or node.op == "add") and not node.activation and node.output_grid is not None:
            node.activation = found[i] = clip_of(node.output_grid)
    restored = [kind for kind in found if kind]
    if not restored:
        return []
    sixes = restored.count("relu6")
    return [f"grids of {len(restored)} layers begin at 0: {len(restored) - sixes} relu and {sixes} relu6 taken from them"]
