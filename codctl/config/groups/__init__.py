"""Packaged config groups: `defaults: [context: paper, _self_]` in a recipe, or `context=paper` on the command line."""
