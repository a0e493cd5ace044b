"""A trained model at work in an agent program: served, configured, checked, and in loops."""
