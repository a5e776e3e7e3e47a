"""STAC Browser as the stack serves it: a page that runs in people's browsers and asks the STAC API.

Here belongs serving its built files and making them. Not here: the pages of our own (`api.pages`).
"""
