"""Trinity-RFT, both ways: its configurations, data sets, checkpoints and logs read; runs written for it."""
