"""Emulated boards and servers, so that an adapter can be tried without hardware. What they move is a simulated slide.

They speak the real protocols with real timing, and fail as real ones do; they share no code with the adapters.
"""
