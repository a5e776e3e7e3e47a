"""STAC Browser as the stack serves it: a page that runs in people's browsers and asks the STAC API.

Here belong building it from npm (`build`, `node`; what it is built from stands in `source/`) and serving what was built
(`app`, `files`, `configuration`, `making`). Not here: the pages of our own (`api.pages`).
"""
