"""Code as a level: trees of the package that are frozen, planned by and carried out by themselves."""
