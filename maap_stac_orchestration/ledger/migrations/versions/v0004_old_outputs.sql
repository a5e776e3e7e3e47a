-- Days of the output prefixes (UTC) that were listed whole in a bucket. A day that is not here was never reconciled:
-- what lies there is known only where events told of it.
CREATE TABLE ledger.listed_day (
    bucket text NOT NULL,
    day date NOT NULL,
    -- When the last whole listing began; what was uploaded later it need not have seen.
    listed_at timestamptz NOT NULL,
    -- Who asked for it: backfill, reconcile, discover or sensor.
    source text NOT NULL,
    -- What it saw, and how many of those versions the ledger had not known.
    catalogs integer NOT NULL,
    new integer NOT NULL,
    -- Since ever: catalogs of which a listing told first, though a queue should have told of them long before.
    missed integer NOT NULL DEFAULT 0,
    -- The listing that was last compared with what the queue had told: when it began, and what of the above it found.
    -- Where listed_at is later, the day was listed again since, and nothing is missing any more.
    compared_at timestamptz,
    missed_then integer NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, day)
);

-- Data files of S3 inventories that were read whole. An inventory never changes, so they are not read again.
CREATE TABLE ledger.inventory_file (
    -- The manifest's address and the file's key in the inventory's bucket.
    manifest text NOT NULL,
    file text NOT NULL,
    -- Of its bytes, as the manifest gives it: a file of another content is another file.
    md5 text NOT NULL,
    read_at timestamptz NOT NULL DEFAULT now(),
    -- Keys in it, catalogs among them, and versions that the ledger had not known.
    keys bigint NOT NULL,
    catalogs bigint NOT NULL,
    new bigint NOT NULL,
    PRIMARY KEY (manifest, file)
);

-- Groups of jobs whose tag holds a folder like a year: a listing would have to look for them among the folders of
-- timestamps, so what is known of them is asked here. Without the last 27 characters, the timestamp with its slash, a
-- prefix is its group.
CREATE INDEX job_dated_tag ON ledger.job (bucket, left(prefix, -27)) WHERE tag ~ '(^|/)[0-9]{4}(/|$)';

-- One index for a job by its prefix, whichever bucket, and by both, where there were two: the table is written three
-- times for each job, and each time each of its indexes is.
CREATE UNIQUE INDEX job_of_prefix ON ledger.job (prefix, bucket);
ALTER TABLE ledger.job DROP CONSTRAINT job_bucket_prefix_key;
DROP INDEX ledger.job_prefix;
