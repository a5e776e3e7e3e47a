-- The ledger's tables. Times are timestamptz; lengths of time are the callers'.
-- Rows that are written by the thousand with each load (item, job_item, document) have no foreign keys: a check for
-- each row costs as much as the row, jobs are never deleted, and the job is locked when they are written.

CREATE TABLE ledger.batch (
    id uuid PRIMARY KEY,
    -- The Dagster run, or another name for who claimed.
    run_id text NOT NULL,
    day date NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    jobs integer NOT NULL
);
CREATE INDEX batch_run ON ledger.batch (run_id);
COMMENT ON TABLE ledger.batch IS 'Each claim; its id is the fencing token of the lease.';

CREATE TABLE ledger.job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bucket text NOT NULL,
    -- The output prefix, ending in a slash.
    prefix text NOT NULL,
    -- The UTC day of job_time, which is the partition.
    day date NOT NULL,
    job_time timestamptz NOT NULL,
    -- The names as the output prefix has them, until the job metadata, which win, were read.
    username text NOT NULL,
    algorithm text NOT NULL,
    version text NOT NULL,
    tag text,
    state text NOT NULL DEFAULT 'discovered' CHECK (
        state IN ('discovered', 'ingesting', 'waiting', 'loaded', 'partial', 'rejected', 'failed')
    ),
    -- Rises with each new version of a catalog and each request to try again.
    generation integer NOT NULL DEFAULT 1,
    -- Claims that did not come to an end since the last one that did.
    attempts smallint NOT NULL DEFAULT 0,
    -- How often it has waited in this generation.
    waits smallint NOT NULL DEFAULT 0,
    -- 0 for live work, larger numbers later.
    priority smallint NOT NULL DEFAULT 0,
    -- When somebody may take it on: for an ingesting job the end of its lease, NULL when it has ended.
    due_at timestamptz,
    wait_until timestamptz,
    -- Of the newest of its current catalogs.
    catalog_modified timestamptz NOT NULL,
    estimated_items integer NOT NULL DEFAULT 1,
    -- Of the last claim, kept when the lease has ended.
    batch_id uuid,
    run_id text,
    loaded integer NOT NULL DEFAULT 0,
    unchanged integer NOT NULL DEFAULT 0,
    fallback integer NOT NULL DEFAULT 0,
    refused integer NOT NULL DEFAULT 0,
    problem_codes text[] NOT NULL DEFAULT '{}',
    collections text[] NOT NULL DEFAULT '{}',
    discovered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    CHECK ((due_at IS NULL) = (state IN ('loaded', 'partial', 'rejected', 'failed'))),
    UNIQUE (bucket, prefix)
);
-- Claiming: only jobs that somebody will have to take on are in it.
CREATE INDEX job_due ON ledger.job (day, priority, due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX job_batch ON ledger.job (batch_id) WHERE state = 'ingesting';
CREATE INDEX job_prefix ON ledger.job (prefix);
-- Listing, newest first.
CREATE INDEX job_newest ON ledger.job (job_time DESC, id DESC);
CREATE INDEX job_of_user ON ledger.job (username, job_time DESC, id DESC);
CREATE INDEX job_of_user_in_state ON ledger.job (username, state, job_time DESC, id DESC);
CREATE INDEX job_of_tag ON ledger.job (tag, job_time DESC, id DESC) WHERE tag IS NOT NULL;
CREATE INDEX job_of_algorithm ON ledger.job (algorithm, version, job_time DESC, id DESC);
CREATE INDEX job_of_version ON ledger.job (version, job_time DESC, id DESC);
CREATE INDEX job_in_state ON ledger.job (state, job_time DESC, id DESC);
COMMENT ON TABLE ledger.job IS 'Each DPS job of which a catalog was seen, and where it stands.';

CREATE TABLE ledger.catalog (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bucket text NOT NULL,
    key text NOT NULL,
    etag text NOT NULL,
    job_id bigint NOT NULL REFERENCES ledger.job,
    version_id text,
    size bigint,
    last_modified timestamptz NOT NULL,
    -- event, listing, inventory, request, or read: met while reading the job.
    source text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (bucket, key, etag)
);
CREATE INDEX catalog_of_job ON ledger.catalog (job_id);
COMMENT ON TABLE ledger.catalog IS 'Each version of each catalog.json that was ever seen, once.';

CREATE TABLE ledger.transition (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id bigint NOT NULL REFERENCES ledger.job,
    state text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id text,
    attempt smallint NOT NULL DEFAULT 0,
    reason text
);
CREATE INDEX transition_of_job ON ledger.transition (job_id, id);
CREATE INDEX transition_of_run ON ledger.transition (run_id, job_id) WHERE run_id IS NOT NULL;
COMMENT ON TABLE ledger.transition IS 'Each time a job came into a state.';

CREATE TABLE ledger.decision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id bigint NOT NULL REFERENCES ledger.job,
    username text NOT NULL,
    algorithm text NOT NULL,
    version text NOT NULL,
    tag text,
    requested text,
    code text NOT NULL,
    outcome text NOT NULL,
    collection text,
    rule text NOT NULL,
    message text NOT NULL,
    registry_version text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id text
);
CREATE INDEX decision_of_job ON ledger.decision (job_id, id);
CREATE INDEX decision_newest ON ledger.decision (at DESC, id DESC);
COMMENT ON TABLE ledger.decision IS 'The audit trail: every decision that was taken. Rows are only ever added.';

CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit trail of decisions is only ever added to: % is refused.', TG_OP;
END
$$;
CREATE TRIGGER decision_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.decision
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE TABLE ledger.problem (
    job_id bigint NOT NULL REFERENCES ledger.job,
    position integer NOT NULL,
    code text NOT NULL,
    severity text NOT NULL,
    object text NOT NULL,
    message text NOT NULL,
    fix text NOT NULL,
    PRIMARY KEY (job_id, position)
);
COMMENT ON TABLE ledger.problem IS 'What was wrong with a job when it was read last.';

CREATE TABLE ledger.job_code (
    code text NOT NULL,
    job_time timestamptz NOT NULL,
    job_id bigint NOT NULL REFERENCES ledger.job,
    PRIMARY KEY (code, job_time, job_id)
);
CREATE INDEX job_code_of_job ON ledger.job_code (job_id);
COMMENT ON TABLE ledger.job_code IS 'Which jobs have a problem of a code, in the order of lists.';

CREATE TABLE ledger.job_collection (
    collection text NOT NULL,
    job_time timestamptz NOT NULL,
    job_id bigint NOT NULL REFERENCES ledger.job,
    PRIMARY KEY (collection, job_time, job_id)
);
CREATE INDEX job_collection_of_job ON ledger.job_collection (job_id);
COMMENT ON TABLE ledger.job_collection IS 'Which jobs have items in a collection, in the order of lists.';

CREATE TABLE ledger.item (
    collection text NOT NULL,
    id text NOT NULL,
    job_id bigint,
    username text NOT NULL,
    job_time timestamptz NOT NULL,
    catalog_modified timestamptz NOT NULL,
    content_hash text NOT NULL,
    source_key text NOT NULL,
    source_etag text NOT NULL,
    source_sha256 text NOT NULL,
    run_id text,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (collection, id)
);
COMMENT ON TABLE ledger.item IS 'Who wrote each item of pgstac last, from what.';

CREATE TABLE ledger.job_item (
    job_id bigint NOT NULL,
    position integer NOT NULL,
    item_id text NOT NULL,
    result text NOT NULL CHECK (result IN ('loaded', 'unchanged', 'older', 'refused')),
    source_key text NOT NULL,
    collection text,
    requested_collection text,
    PRIMARY KEY (job_id, position)
);
COMMENT ON TABLE ledger.job_item IS 'What became of each item of a job when it was read last.';

CREATE TABLE ledger.document (
    job_id bigint NOT NULL,
    key text NOT NULL,
    etag text NOT NULL,
    version_id text,
    sha256 text NOT NULL,
    size bigint NOT NULL,
    last_modified timestamptz,
    PRIMARY KEY (job_id, key)
);
COMMENT ON TABLE ledger.document IS 'Which bytes of which documents were read when a job was read last.';

CREATE TABLE ledger.default_collection (
    id text PRIMARY KEY,
    username text NOT NULL,
    algorithm text NOT NULL,
    version text NOT NULL,
    tag text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX default_collection_but_for_case ON ledger.default_collection (lower(id));
COMMENT ON TABLE ledger.default_collection IS 'Which raw names own the id of a default collection.';

CREATE TABLE ledger.collection (
    id text PRIMARY KEY,
    owner text,
    job_id bigint REFERENCES ledger.job,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz,
    refreshed_at timestamptz
);
CREATE UNIQUE INDEX collection_but_for_case ON ledger.collection (lower(id));
CREATE INDEX collection_to_refresh ON ledger.collection (changed_at)
    WHERE changed_at > coalesce(refreshed_at, '-infinity');
COMMENT ON TABLE ledger.collection IS 'Collections that this system made or writes to. Ids stay taken.';

CREATE TABLE ledger.registry_version (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version text NOT NULL,
    source text NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ok boolean NOT NULL,
    error text,
    content text NOT NULL
);
CREATE INDEX registry_version_of_source ON ledger.registry_version (source, id DESC);
COMMENT ON TABLE ledger.registry_version IS 'Each registry that was put in force or refused.';
