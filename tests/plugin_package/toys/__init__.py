"""Nothing is imported here: each module is loaded when its name is used."""
