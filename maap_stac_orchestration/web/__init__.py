"""What our HTTP applications have in common: names of requests, their log events, errors as problem documents.

Here belongs what the API and the tiler do alike. Not here: routes, and what each of them does in its own way (`api`,
`tiler`).
"""
