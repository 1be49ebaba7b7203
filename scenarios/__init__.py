"""Scenarios: suites, scorers and reports. Nothing is here yet; the folder keeps its place in the layers."""
