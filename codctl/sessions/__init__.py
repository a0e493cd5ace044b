"""What agent programs leave behind, read as trajectories; and trajectories written for others."""
