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
CREATE INDEX submission_of_user ON ledger.submission (username);
CREATE INDEX submission_of_tag ON ledger.submission (tag);
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

-- Jobs of a submission in a state, in the order of lists: whichever names a list is asked for, what it shows is found by
-- looking into the submissions that have such jobs.
ALTER TABLE ledger.job ADD COLUMN
    submission uuid NOT NULL GENERATED ALWAYS AS (ledger.submission_key(username, algorithm, version, tag)) STORED;
CREATE INDEX job_of_submission ON ledger.job (submission, state, job_time DESC, id DESC);
-- In the order of lists for an algorithm alone too: with the version before the time it was not.
DROP INDEX ledger.job_of_algorithm;
CREATE INDEX job_of_algorithm ON ledger.job (algorithm, job_time DESC, id DESC);

-- The same for lists by collection and by code, which are written anew each time a job ends in a run.
ALTER TABLE ledger.job_collection ADD COLUMN submission uuid;
UPDATE ledger.job_collection SET submission = job.submission FROM ledger.job WHERE job.id = job_collection.job_id;
ALTER TABLE ledger.job_collection ALTER COLUMN submission SET NOT NULL;
CREATE INDEX job_collection_of_submission ON ledger.job_collection (collection, submission, job_time, job_id);

ALTER TABLE ledger.job_code ADD COLUMN submission uuid;
-- The state that the job was left in together with this code. Whoever asks for a state of the ends of jobs and a code
-- finds them by both; a job that is at work again is in another state, so the job is asked too.
ALTER TABLE ledger.job_code ADD COLUMN left_in text;
UPDATE ledger.job_code SET submission = job.submission, left_in = job.state FROM ledger.job WHERE job.id = job_code.job_id;
ALTER TABLE ledger.job_code ALTER COLUMN submission SET NOT NULL;
ALTER TABLE ledger.job_code ALTER COLUMN left_in SET NOT NULL;
CREATE INDEX job_code_of_submission ON ledger.job_code (code, submission, job_time, job_id);
CREATE INDEX job_code_left_in ON ledger.job_code (code, left_in, job_time, job_id);

CREATE FUNCTION ledger.count_new_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.submission_change (
        key, username, algorithm, version, tag, state, jobs, items_loaded, items_unchanged, items_fallback,
        items_refused, latest, updated_at
    )
    SELECT
        submission, username, algorithm, version, tag, state, count(*), sum(loaded), sum(unchanged), sum(fallback),
        sum(refused), max(job_time), max(updated_at)
    FROM new_job
    GROUP BY submission, username, algorithm, version, tag, state;
    RETURN NULL;
END
$$;
CREATE TRIGGER job_is_counted AFTER INSERT ON ledger.job
    REFERENCING NEW TABLE AS new_job FOR EACH STATEMENT EXECUTE FUNCTION ledger.count_new_jobs();

CREATE FUNCTION ledger.count_changed_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Most statements (a renewed lease) change nothing that is counted or told: they leave no row.
    INSERT INTO ledger.submission_change (
        key, username, algorithm, version, tag, state, jobs, items_loaded, items_unchanged, items_fallback,
        items_refused, latest, updated_at
    )
    SELECT
        submission, username, algorithm, version, tag, state, sum(sign), sum(sign * loaded), sum(sign * unchanged),
        sum(sign * fallback), sum(sign * refused), max(job_time), max(updated_at)
    FROM (
        SELECT
            1 AS sign, submission, username, algorithm, version, tag, state, loaded, unchanged, fallback, refused,
            job_time, updated_at
        FROM new_job
        UNION ALL
        SELECT
            -1, submission, username, algorithm, version, tag, state, loaded, unchanged, fallback, refused, job_time,
            updated_at
        FROM old_job
    ) AS job
    GROUP BY submission, username, algorithm, version, tag, state
    HAVING sum(sign) <> 0 OR sum(sign * loaded) <> 0 OR sum(sign * unchanged) <> 0 OR sum(sign * fallback) <> 0
        OR sum(sign * refused) <> 0
        OR max(updated_at) FILTER (WHERE sign = 1) > max(updated_at) FILTER (WHERE sign = -1);
    RETURN NULL;
END
$$;
CREATE TRIGGER changed_job_is_counted AFTER UPDATE ON ledger.job
    REFERENCING NEW TABLE AS new_job OLD TABLE AS old_job
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.count_changed_jobs();

INSERT INTO ledger.submission
SELECT
    submission, username, algorithm, version, tag, state, count(*), sum(loaded), sum(unchanged), sum(fallback),
    sum(refused), max(job_time), max(updated_at)
FROM ledger.job
GROUP BY submission, username, algorithm, version, tag, state;

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
    -- The secret before the present one, and until when is signed with both, so that a receiver can change over.
    previous_secret text,
    previous_until timestamptz,
    CHECK ((kind = 'webhook') = (secret IS NOT NULL)),
    CHECK ((previous_secret IS NULL) = (previous_until IS NULL))
);
CREATE INDEX endpoint_in_force ON ledger.endpoint (id) WHERE removed_in IS NULL;
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
-- What is due at one endpoint, however much another one has waiting.
CREATE INDEX delivery_due_of_endpoint ON ledger.delivery (coalesce(endpoint_id, 0), due_at, id)
    WHERE due_at IS NOT NULL;
CREATE INDEX delivery_dead ON ledger.delivery (id) WHERE state = 'dead';
CREATE INDEX delivery_ended ON ledger.delivery (ended_at, id) WHERE ended_at IS NOT NULL;
CREATE INDEX delivery_of_job ON ledger.delivery (job_id, id);
CREATE INDEX delivery_of_endpoint ON ledger.delivery (endpoint_id, id);
COMMENT ON TABLE ledger.delivery IS 'What endpoints are told, and whether they were.';

-- Claiming: jobs that broke a run come after those of their priority that did not.
DROP INDEX ledger.job_due;
CREATE INDEX job_due ON ledger.job (day, priority, (attempts > 1), due_at, id) WHERE due_at IS NOT NULL;

-- An endpoint that answers that it is gone is taken out of force by the notifications themselves.
ALTER TABLE ledger.registry_change DROP CONSTRAINT registry_change_via_check;
ALTER TABLE ledger.registry_change
    ADD CONSTRAINT registry_change_via_check CHECK (via IN ('cli', 'api', 'job', 'notification'));

-- What metrics count since ever, and what cannot be counted at each scrape: a million decisions take a second. As for
-- submissions, statements add rows of differences, the sum is exact at any moment, and `ledger.metrics.compact` brings
-- the rows of one name and labels together.
CREATE TABLE ledger.tally (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- end, item, lag, lag_sum, decision, problem, delivery or delivered.
    name text NOT NULL,
    labels text[] NOT NULL,
    amount double precision NOT NULL
);
COMMENT ON TABLE ledger.tally IS 'Sums that metrics tell, in parts.';

-- Upper bounds of the histogram of lag, in seconds.
CREATE FUNCTION ledger.lag_bounds() RETURNS double precision[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '{2, 5, 10, 15, 20, 30, 45, 60, 120, 300, 600, 1800, 3600}'::double precision[]
$$;

-- How long a live job's catalog lay there before the job ended, at the first end after it was written. Only what came
-- to notice by itself, and only what was not kept waiting by its own author: old outputs, jobs tried again and jobs that
-- waited for their items say nothing about how fast the system is.
CREATE VIEW ledger.lag AS
SELECT
    transition.id AS transition_id, job.id AS job_id, transition.run_id,
    extract(epoch FROM transition.at - job.catalog_modified)::double precision AS seconds
FROM ledger.transition
JOIN ledger.job ON job.id = transition.job_id
WHERE transition.state IN ('loaded', 'partial', 'rejected')
    AND transition.at >= job.catalog_modified
    AND job.priority = 0
    AND EXISTS (
        SELECT FROM ledger.catalog WHERE catalog.job_id = job.id AND catalog.source IN ('event', 'listing')
    )
    AND NOT EXISTS (
        SELECT
        FROM ledger.transition AS earlier
        WHERE earlier.job_id = job.id AND earlier.id < transition.id AND earlier.at >= job.catalog_modified
            AND earlier.state IN ('loaded', 'partial', 'rejected', 'failed', 'waiting')
    );
COMMENT ON VIEW ledger.lag IS 'Seconds from a catalog to the end of its job, where that tells how fast the system is.';

CREATE FUNCTION ledger.tally_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Most transitions are none of these.
    IF NOT EXISTS (
        SELECT FROM new_transition WHERE state IN ('loaded', 'partial', 'rejected', 'failed', 'waiting')
    ) THEN
        RETURN NULL;
    END IF;
    INSERT INTO ledger.tally (name, labels, amount)
    WITH item AS (
        SELECT sum(job.loaded) AS loaded, sum(job.unchanged) AS unchanged, sum(job.fallback) AS fallback,
            sum(job.refused) AS refused
        FROM new_transition
        JOIN ledger.job ON job.id = new_transition.job_id
        WHERE new_transition.state IN ('loaded', 'partial', 'rejected', 'waiting')
    ),
    lag AS (
        SELECT
            lag.seconds,
            (SELECT count(*) FROM unnest(ledger.lag_bounds()) AS bound WHERE bound < lag.seconds) AS bucket
        FROM new_transition
        JOIN ledger.lag ON lag.transition_id = new_transition.id
    )
    SELECT 'end', ARRAY[state], count(*)
    FROM new_transition
    WHERE state IN ('loaded', 'partial', 'rejected', 'failed')
    GROUP BY state
    UNION ALL
    SELECT 'item', ARRAY[result], amount
    FROM item
    CROSS JOIN LATERAL (
        VALUES ('loaded', loaded), ('unchanged', unchanged), ('fallback', fallback), ('refused', refused)
    ) AS counted (result, amount)
    WHERE amount > 0
    UNION ALL
    SELECT 'lag', ARRAY[bucket::text], count(*) FROM lag GROUP BY bucket
    UNION ALL
    SELECT 'lag_sum', '{}', sum(seconds) FROM lag HAVING count(*) > 0;
    RETURN NULL;
END
$$;
CREATE TRIGGER end_is_tallied AFTER INSERT ON ledger.transition
    REFERENCING NEW TABLE AS new_transition FOR EACH STATEMENT EXECUTE FUNCTION ledger.tally_ends();

CREATE FUNCTION ledger.tally_decisions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.tally (name, labels, amount)
    SELECT 'decision', ARRAY[code, outcome], count(*) FROM new_decision GROUP BY code, outcome;
    RETURN NULL;
END
$$;
CREATE TRIGGER decision_is_tallied AFTER INSERT ON ledger.decision
    REFERENCING NEW TABLE AS new_decision FOR EACH STATEMENT EXECUTE FUNCTION ledger.tally_decisions();

CREATE FUNCTION ledger.tally_codes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.tally (name, labels, amount)
    SELECT 'problem', ARRAY[code], CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END * count(*) FROM changed GROUP BY code;
    RETURN NULL;
END
$$;
CREATE TRIGGER new_code_is_tallied AFTER INSERT ON ledger.job_code
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ledger.tally_codes();
CREATE TRIGGER old_code_is_tallied AFTER DELETE ON ledger.job_code
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ledger.tally_codes();

CREATE FUNCTION ledger.tally_new_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.tally (name, labels, amount)
    SELECT 'delivery', ARRAY[state], count(*) FROM new_delivery GROUP BY state;
    RETURN NULL;
END
$$;
CREATE TRIGGER delivery_is_tallied AFTER INSERT ON ledger.delivery
    REFERENCING NEW TABLE AS new_delivery FOR EACH STATEMENT EXECUTE FUNCTION ledger.tally_new_deliveries();

CREATE FUNCTION ledger.tally_changed_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.tally (name, labels, amount)
    SELECT 'delivery', ARRAY[state], sum(sign)
    FROM (SELECT 1 AS sign, state FROM new_delivery UNION ALL SELECT -1, state FROM old_delivery) AS delivery
    GROUP BY state
    HAVING sum(sign) <> 0
    UNION ALL
    SELECT 'delivered', '{}', count(*)
    FROM new_delivery
    JOIN old_delivery USING (id)
    WHERE new_delivery.state = 'delivered' AND old_delivery.state <> 'delivered'
    HAVING count(*) > 0;
    RETURN NULL;
END
$$;
CREATE TRIGGER changed_delivery_is_tallied AFTER UPDATE ON ledger.delivery
    REFERENCING NEW TABLE AS new_delivery OLD TABLE AS old_delivery
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.tally_changed_deliveries();

CREATE FUNCTION ledger.tally_old_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.tally (name, labels, amount)
    SELECT 'delivery', ARRAY[state], -count(*) FROM old_delivery GROUP BY state;
    RETURN NULL;
END
$$;
CREATE TRIGGER old_delivery_is_tallied AFTER DELETE ON ledger.delivery
    REFERENCING OLD TABLE AS old_delivery FOR EACH STATEMENT EXECUTE FUNCTION ledger.tally_old_deliveries();

INSERT INTO ledger.tally (name, labels, amount)
SELECT 'end', ARRAY[state], count(*)
FROM ledger.transition
WHERE state IN ('loaded', 'partial', 'rejected', 'failed')
GROUP BY state
UNION ALL
SELECT 'item', ARRAY[result], amount
FROM (
    SELECT sum(loaded) AS loaded, sum(unchanged) AS unchanged, sum(fallback) AS fallback, sum(refused) AS refused
    FROM ledger.job
) AS item
CROSS JOIN LATERAL (
    VALUES ('loaded', loaded), ('unchanged', unchanged), ('fallback', fallback), ('refused', refused)
) AS counted (result, amount)
WHERE amount > 0
UNION ALL
SELECT 'decision', ARRAY[code, outcome], count(*) FROM ledger.decision GROUP BY code, outcome
UNION ALL
SELECT 'problem', ARRAY[code], count(*) FROM ledger.job_code GROUP BY code;
