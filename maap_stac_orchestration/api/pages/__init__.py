"""Pages for people under `/status`: how submissions are doing, lists of jobs, one job in full.

Here belongs what a person sees in a browser: routes (`routes`), what a page tells (`submissions`, `job_list`, `job`,
`words`, `pictures`) and how it becomes HTML (`rendering`, `templates/`, `static/`). Not here: questions to the ledger,
and the same facts for programs (`api.jobs`). Everything is served from here: no build step, nothing from elsewhere.
"""
