"""The changes' way into the user's tree, whole or not at all, and out of it again. Nothing else writes there."""
