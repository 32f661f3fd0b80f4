"""The user's tree: a copy of it goes in, changes come out, and are applied; git and paths for all three."""
