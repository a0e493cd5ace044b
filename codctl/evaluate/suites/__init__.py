"""Named evaluations: the YAML files beside this one, and what they become for a subject."""
