"""The repository's way in, the changes' way out, and applying them. Only `apply` writes to the user's tree."""
