"""The command `langchain-sandbox`."""
