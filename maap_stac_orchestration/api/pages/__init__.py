"""Pages for people under `/status`: how submissions are doing, lists of jobs and collections, one of either in full.

Here belongs what a person sees in a browser: routes (`routes`), what a page tells (`submissions`, `job_list`, `job`,
`collection_list`, `collection`, `words`), maps and pictures (`chart`, `geography`, `tiles`, `pictures`) and how it
becomes HTML (`rendering`, `templates/`, `static/`). Not here: questions to the database, and the same facts for
programs (`api.jobs`). Everything is served from here, the map library too (`static/vendor`): no build step, nothing
from elsewhere.
"""
