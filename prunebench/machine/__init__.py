"""The machine: devices and arithmetic, memory layout, what a result was computed on."""
