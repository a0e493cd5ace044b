"""PDE Discovery: find the reaction term of a partial differential equation from a few noisy samples."""
