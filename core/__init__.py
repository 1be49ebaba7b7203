"""The pure core: ids, envelopes, steps, the run's state machine, limits and errors.

Standard library and pydantic only; no clock, no randomness, no input or output.
"""
