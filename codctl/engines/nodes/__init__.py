"""Engines on the other nodes of a job: `server` there, `client` in the process that holds the run."""
