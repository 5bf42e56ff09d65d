"""Sparsity plans from a sensitivity scan, or from parameter counts alone; and better ones, found by measuring."""

from prunebench.planning.allocations import Allocation, allocate, allocation_names, find_allocation
from prunebench.planning.allocators import (
    Allocator,
    allocate_to_limit,
    erk,
    global_normalized,
    global_threshold,
    lamp,
    lamp_scores,
    uniform,
)
from prunebench.planning.costs import Cost, Inventory, layer_cost, shortest_sparsity
from prunebench.planning.curves import Curve, Curves, standard_error
from prunebench.planning.methods import MethodMasks, method_masks, method_plan
from prunebench.planning.optimise import Goal, optimal_plan
from prunebench.planning.plan import Plan, PlannedLayer, PlanRecord, Reported, make_plan, read_plan, write_plan
from prunebench.planning.rules import compounding, documented_reading
from prunebench.planning.search import as_large_as, local_search
from prunebench.planning.trials import FineTune, Measure, MeasureAll, Measured, Trial, measure_on, search_plans

__all__ = [
    "Allocation",
    "Allocator",
    "Cost",
    "Curve",
    "Curves",
    "FineTune",
    "Goal",
    "Inventory",
    "Measure",
    "MeasureAll",
    "Measured",
    "MethodMasks",
    "Plan",
    "PlanRecord",
    "PlannedLayer",
    "Reported",
    "Trial",
    "allocate",
    "allocate_to_limit",
    "allocation_names",
    "as_large_as",
    "compounding",
    "documented_reading",
    "erk",
    "find_allocation",
    "global_normalized",
    "global_threshold",
    "lamp",
    "lamp_scores",
    "layer_cost",
    "local_search",
    "make_plan",
    "measure_on",
    "method_masks",
    "method_plan",
    "optimal_plan",
    "read_plan",
    "search_plans",
    "shortest_sparsity",
    "standard_error",
    "uniform",
    "write_plan",
]
