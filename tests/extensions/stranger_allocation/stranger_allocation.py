"""An allocation: the first layer stays dense as long as the others can give enough."""

import prunebench as pb


class SpareFirst:
    """Prunes all layers but the first alike; the first only where that is not enough."""

    name = "spare-first"

    def kept(self, inventory, nonzeros, scores):
        """Elements to keep of each layer."""
        first, *others = inventory.layers
        left = nonzeros - inventory.other_nonzeros - first.nonzeros
        if left < 0 or not others:
            return pb.find_allocation("uniform").kept(inventory, nonzeros, scores)
        rest = inventory.without({first.name})
        return {first.name: first.nonzeros, **pb.find_allocation("uniform").kept(rest, nonzeros, scores)}
