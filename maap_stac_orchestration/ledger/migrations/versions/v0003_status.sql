-- How submissions are doing, and who is told when a job ends.

-- Counts of a submission: the jobs of one (username, algorithm, version, tag), by state. Counting a million jobs takes
-- most of a second, and a page that people leave open asks every few seconds. A count that each transaction brought up
-- to date would make all runs of a submission wait for one another, and lock in an order that nobody chooses; so each
-- statement adds rows of differences, the sum over both tables is exact at any moment, and
-- `ledger.submissions.compact` takes the differences over.
CREATE TABLE ledger.submission (
    -- Of the four names, which together may be too long for an index.
    key uuid NOT NULL,
    username text NOT NULL,
    algorithm text NOT NULL,
    version text NOT NULL,
    tag text,
    state text NOT NULL,
    jobs bigint NOT NULL,
    items_loaded bigint NOT NULL,
    items_unchanged bigint NOT NULL,
    items_fallback bigint NOT NULL,
    items_refused bigint NOT NULL,
    -- The time of the newest job that ever was in this state, by its output prefix.
    latest timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (key, state)
);
COMMENT ON TABLE ledger.submission IS 'Jobs and their items, counted by (username, algorithm, version, tag) and state.';

CREATE TABLE ledger.submission_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    LIKE ledger.submission
);
COMMENT ON TABLE ledger.submission_change IS 'What is still to be added to the counts of ledger.submission.';

CREATE FUNCTION ledger.submission_key(username text, algorithm text, version text, tag text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT md5(
        length(username) || ' ' || username || length(algorithm) || ' ' || algorithm || length(version) || ' ' || version
        || coalesce('=' || tag, '')
    )::uuid
$$;

CREATE FUNCTION ledger.count_new_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.submission_change (
        key, username, algorithm, version, tag, state, jobs, items_loaded, items_unchanged, items_fallback,
        items_refused, latest, updated_at
    )
    SELECT
        ledger.submission_key(username, algorithm, version, tag), username, algorithm, version, tag, state, count(*),
        sum(loaded), sum(unchanged), sum(fallback), sum(refused), max(job_time), max(updated_at)
    FROM new_job
    GROUP BY username, algorithm, version, tag, state;
    RETURN NULL;
END
$$;
CREATE TRIGGER job_is_counted AFTER INSERT ON ledger.job
    REFERENCING NEW TABLE AS new_job FOR EACH STATEMENT EXECUTE FUNCTION ledger.count_new_jobs();

CREATE FUNCTION ledger.count_changed_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Most statements (a renewed lease) change nothing that is counted: they leave no row.
    INSERT INTO ledger.submission_change (
        key, username, algorithm, version, tag, state, jobs, items_loaded, items_unchanged, items_fallback,
        items_refused, latest, updated_at
    )
    SELECT
        ledger.submission_key(username, algorithm, version, tag), username, algorithm, version, tag, state, sum(sign),
        sum(sign * loaded), sum(sign * unchanged), sum(sign * fallback), sum(sign * refused), max(job_time),
        max(updated_at)
    FROM (
        SELECT
            1 AS sign, username, algorithm, version, tag, state, loaded, unchanged, fallback, refused, job_time,
            updated_at
        FROM new_job
        UNION ALL
        SELECT
            -1, username, algorithm, version, tag, state, loaded, unchanged, fallback, refused, job_time, updated_at
        FROM old_job
    ) AS job
    GROUP BY username, algorithm, version, tag, state
    HAVING sum(sign) <> 0 OR sum(sign * loaded) <> 0 OR sum(sign * unchanged) <> 0 OR sum(sign * fallback) <> 0
        OR sum(sign * refused) <> 0;
    RETURN NULL;
END
$$;
CREATE TRIGGER changed_job_is_counted AFTER UPDATE ON ledger.job
    REFERENCING NEW TABLE AS new_job OLD TABLE AS old_job
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.count_changed_jobs();

INSERT INTO ledger.submission
SELECT
    ledger.submission_key(username, algorithm, version, tag), username, algorithm, version, tag, state, count(*),
    sum(loaded), sum(unchanged), sum(fallback), sum(refused), max(job_time), max(updated_at)
FROM ledger.job
GROUP BY username, algorithm, version, tag, state;

-- Ends of jobs that nobody has been told of yet. A row comes with the transition itself, so that no end is forgotten,
-- and goes in the transaction that writes its deliveries.
CREATE TABLE ledger.job_end (
    transition_id bigint PRIMARY KEY,
    job_id bigint NOT NULL
);
COMMENT ON TABLE ledger.job_end IS 'Ends of jobs for which deliveries are still to be made.';

CREATE FUNCTION ledger.note_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.job_end (transition_id, job_id)
    SELECT id, job_id FROM new_transition WHERE state IN ('loaded', 'partial', 'rejected', 'failed') ORDER BY id;
    RETURN NULL;
END
$$;
CREATE TRIGGER end_is_noted AFTER INSERT ON ledger.transition
    REFERENCING NEW TABLE AS new_transition FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_ends();

CREATE TABLE ledger.endpoint (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('webhook', 'sns')),
    -- An https:// address, or the ARN of a topic.
    address text NOT NULL,
    -- What webhooks are signed with, as the Standard Webhooks rules write it (whsec_…): whoever signs needs it in clear.
    secret text,
    -- Whose jobs, of which algorithm, ending in which states; NULL for all.
    username text,
    algorithm text,
    states text[],
    created_in bigint NOT NULL REFERENCES ledger.registry_change,
    removed_in bigint REFERENCES ledger.registry_change,
    CHECK ((kind = 'webhook') = (secret IS NOT NULL))
);
COMMENT ON TABLE ledger.endpoint IS 'Who is told when jobs end.';

CREATE TABLE ledger.delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The same at each try, so that a receiver can tell what it has already.
    message_id uuid NOT NULL UNIQUE,
    -- NULL for the report beside the catalog.
    endpoint_id bigint REFERENCES ledger.endpoint,
    job_id bigint NOT NULL REFERENCES ledger.job,
    transition_id bigint NOT NULL,
    body text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts smallint NOT NULL DEFAULT 0,
    -- When it is tried next; while somebody tries, until when nobody else does.
    due_at timestamptz DEFAULT clock_timestamp(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    -- What the last try came to: a status, or why there was none.
    answer text,
    CHECK ((due_at IS NULL) = (state <> 'pending'))
);
-- Each end is told to each endpoint once.
CREATE UNIQUE INDEX delivery_of_end ON ledger.delivery (transition_id, coalesce(endpoint_id, 0));
CREATE INDEX delivery_due ON ledger.delivery (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_of_job ON ledger.delivery (job_id, id);
CREATE INDEX delivery_of_endpoint ON ledger.delivery (endpoint_id, id);
COMMENT ON TABLE ledger.delivery IS 'What endpoints are told, and whether they were.';

-- Claiming: jobs that broke a run come after those of their priority that did not.
DROP INDEX ledger.job_due;
CREATE INDEX job_due ON ledger.job (day, priority, (attempts > 1), due_at, id) WHERE due_at IS NOT NULL;
