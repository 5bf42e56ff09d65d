"""Sparsity plans from a sensitivity scan, or from parameter counts alone; and better ones from measurements."""

from prunebench.planning.allocations import Allocation, allocate, allocation_names, find_allocation
from prunebench.planning.allocators import (
    Allocator,
    allocate_to_limit,
    erk,
    global_magnitude,
    lamp,
    lamp_scores,
    uniform,
)
from prunebench.planning.costs import Cost, Inventory, layer_cost, shortest_sparsity
from prunebench.planning.curves import Curve, Curves, standard_error
from prunebench.planning.interaction import (
    Interaction,
    accuracy_of,
    fit_interaction,
    layer_loss,
    layer_losses,
    loss_of,
    predicted_accuracy,
)
from prunebench.planning.optimise import Goal, Option, choose, frontier, layer_options, optimal_plan
from prunebench.planning.plan import Plan, PlannedLayer, PlanRecord, Rule, make_plan, read_plan, write_plan
from prunebench.planning.refine import FineTune, Measure, Measured, Refinement, Trial, measure_on, refine
from prunebench.planning.rules import compounding, documented_reading
from prunebench.planning.search import as_large_as, local_search

__all__ = [
    "Allocation",
    "Allocator",
    "Cost",
    "Curve",
    "Curves",
    "FineTune",
    "Goal",
    "Interaction",
    "Inventory",
    "Measure",
    "Measured",
    "Option",
    "Plan",
    "PlanRecord",
    "PlannedLayer",
    "Refinement",
    "Rule",
    "Trial",
    "accuracy_of",
    "allocate",
    "allocate_to_limit",
    "allocation_names",
    "as_large_as",
    "choose",
    "compounding",
    "documented_reading",
    "erk",
    "find_allocation",
    "fit_interaction",
    "frontier",
    "global_magnitude",
    "lamp",
    "lamp_scores",
    "layer_cost",
    "layer_loss",
    "layer_losses",
    "layer_options",
    "local_search",
    "loss_of",
    "make_plan",
    "measure_on",
    "optimal_plan",
    "predicted_accuracy",
    "read_plan",
    "refine",
    "shortest_sparsity",
    "standard_error",
    "uniform",
    "write_plan",
]
