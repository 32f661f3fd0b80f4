"""The only way from a container to a model: what may be asked, how much of it, and what came back."""
