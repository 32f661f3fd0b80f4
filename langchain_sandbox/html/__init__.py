"""A result as HTML: a card for notebooks (`card`, `live`) and a page of its own (`page`).

Pure: JSON fields go in, text comes out. Nearly every word in it is a container's. So every text is escaped where it
becomes part of an element (`markup`), and no word of a result is ever an attribute, a class or a style.
"""
