-- Who may write where, who changed that, and what became of collections.

-- One function for every table that is only ever added to.
CREATE OR REPLACE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'decision' THEN
        RAISE EXCEPTION 'The audit trail of decisions is only ever added to: % is refused.', TG_OP;
    END IF;
    RAISE EXCEPTION 'The table ledger.% is part of the audit trail and only ever added to: % is refused.',
        TG_TABLE_NAME, TG_OP;
END
$$;

CREATE TABLE ledger.registry_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- A username, or who somebody at the command line says to be.
    by text NOT NULL CHECK (by <> ''),
    -- cli, api, or job: a job's own collection document.
    via text NOT NULL CHECK (via IN ('cli', 'api', 'job')),
    action text NOT NULL,
    -- What it is about: the pattern of an entry, a team, a collection id, a username.
    subject text NOT NULL,
    reason text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX registry_change_of_subject ON ledger.registry_change (subject, id);
COMMENT ON TABLE ledger.registry_change IS
    'The audit trail of governance: who changed grants, teams, tokens, collections and their owners, when and why.';
CREATE TRIGGER registry_change_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.registry_change
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE TABLE ledger.registry_entry (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The key of the registry file under which such an entry would stand.
    kind text NOT NULL CHECK (kind IN ('grants', 'deny', 'teams', 'reserved')),
    -- As in the registry file; a team is {"team": name, "users": [...]}, a reserved pattern {"collection": pattern}.
    document jsonb NOT NULL,
    added_in bigint NOT NULL REFERENCES ledger.registry_change,
    removed_in bigint REFERENCES ledger.registry_change
);
CREATE INDEX registry_entry_in_force ON ledger.registry_entry (id) WHERE removed_in IS NULL;
-- A team is defined once.
CREATE UNIQUE INDEX registry_entry_of_team ON ledger.registry_entry ((document ->> 'team'))
    WHERE kind = 'teams' AND removed_in IS NULL;
COMMENT ON TABLE ledger.registry_entry IS
    'Entries of the registry that are kept here. They are never changed or removed, only taken out of force.';

CREATE FUNCTION ledger.refuse_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.removed_in IS NOT NULL OR NEW.removed_in IS NULL
        OR (OLD.id, OLD.kind, OLD.document, OLD.added_in) IS DISTINCT FROM (NEW.id, NEW.kind, NEW.document, NEW.added_in)
    THEN
        RAISE EXCEPTION 'Entry % of the registry may be taken out of force once, and is otherwise never changed.', OLD.id;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER registry_entry_is_never_rewritten BEFORE UPDATE ON ledger.registry_entry
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_rewrite();
CREATE TRIGGER registry_entry_is_never_removed BEFORE DELETE OR TRUNCATE ON ledger.registry_entry
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- What was in force under a version: a file's content as it is; the entries of the database as of the last change;
-- of both together, the versions of the two.
ALTER TABLE ledger.registry_version ADD COLUMN as_of bigint REFERENCES ledger.registry_change;
ALTER TABLE ledger.registry_version ADD COLUMN parts text[];
CREATE INDEX registry_version_by_version ON ledger.registry_version (version, id DESC);

-- Ids of deleted collections stay taken.
ALTER TABLE ledger.collection ADD COLUMN deleted_at timestamptz;
ALTER TABLE ledger.collection ADD COLUMN deleted_by text;
-- Where its items are now, where they were moved.
ALTER TABLE ledger.collection ADD COLUMN moved_to text;
-- The fields of its document that were written without a person's doing, as they were written: what differs from
-- these in pgstac, or is not among them, was written by a curator.
ALTER TABLE ledger.collection ADD COLUMN described jsonb NOT NULL DEFAULT '{}';
-- The time of the job whose own document describes it.
ALTER TABLE ledger.collection ADD COLUMN described_by timestamptz;
ALTER TABLE ledger.collection ADD CHECK ((deleted_at IS NULL) = (deleted_by IS NULL));
DROP INDEX ledger.collection_to_refresh;
CREATE INDEX collection_to_refresh ON ledger.collection (changed_at)
    WHERE changed_at > coalesce(refreshed_at, '-infinity') AND deleted_at IS NULL;

-- The audit trail is asked by who, where, why and by which run; newest first.
CREATE INDEX decision_of_user ON ledger.decision (username, id DESC);
-- A job may ask for an id of any length; an index takes only so much of it.
CREATE INDEX decision_requested ON ledger.decision (left(requested, 300), id DESC) WHERE requested IS NOT NULL;
CREATE INDEX decision_of_collection ON ledger.decision (collection, id DESC) WHERE collection IS NOT NULL;
CREATE INDEX decision_of_code ON ledger.decision (code, id DESC);
CREATE INDEX decision_of_run ON ledger.decision (run_id, id DESC) WHERE run_id IS NOT NULL;
CREATE INDEX decision_of_algorithm ON ledger.decision (algorithm, id DESC);
CREATE INDEX decision_of_version ON ledger.decision (version, id DESC);
CREATE INDEX decision_of_tag ON ledger.decision (tag, id DESC) WHERE tag IS NOT NULL;
CREATE INDEX decision_with_outcome ON ledger.decision (outcome, id DESC);
CREATE INDEX decision_under_registry ON ledger.decision (registry_version, id DESC);

CREATE TABLE ledger.token (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username text NOT NULL CHECK (username <> ''),
    admin boolean NOT NULL DEFAULT false,
    -- SHA-256 of the token, which is random and long: nothing that could be guessed and so needed a slow hash.
    hash bytea NOT NULL UNIQUE,
    note text NOT NULL DEFAULT '',
    expires_at timestamptz NOT NULL,
    created_in bigint NOT NULL REFERENCES ledger.registry_change,
    revoked_in bigint REFERENCES ledger.registry_change
);
COMMENT ON TABLE ledger.token IS 'Bearer tokens, as hashes: who may call the API in whose name, and until when.';

-- Items of default collections that are, or were, moved to the id of another template.
CREATE TABLE ledger.id_move (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    target text NOT NULL,
    -- Items that went that way so far.
    items bigint NOT NULL DEFAULT 0,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- NULL while it is under way; the time of the source's tombstone where it was deleted.
    finished_at timestamptz
);
CREATE UNIQUE INDEX id_move_under_way ON ledger.id_move (source, target) WHERE finished_at IS NULL;
CREATE INDEX id_move_of_source ON ledger.id_move (source, finished_at);
COMMENT ON TABLE ledger.id_move IS
    'How many items of which default collection went to which other one when the template of their ids changed.';
