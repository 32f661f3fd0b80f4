"""Faces for other programs than LangChain."""
