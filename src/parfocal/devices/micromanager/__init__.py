"""Micro-Manager's devices as ours, through pymmcore-plus, and ours as Micro-Manager's."""
