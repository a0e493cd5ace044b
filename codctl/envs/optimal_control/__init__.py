"""Optimal Control: write one expression that steers a point whose two dynamics constants are hidden."""
