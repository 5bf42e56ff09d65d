"""From a sensitivity scan to a sparsity plan."""

__all__: list[str] = []
