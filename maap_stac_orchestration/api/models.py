"""The shapes of our own answers, for the OpenAPI document.

Here belongs how answers are described; they are made by `ledger.documents`, and a test holds the two together.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from maap_stac_orchestration.ledger.changes import Action, Via
from maap_stac_orchestration.ledger.records import ItemResult, State
from maap_stac_orchestration.ledger.retries import Skip


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LinkModel(_Shape):
    """A link."""

    rel: str
    href: str
    type: str | None = None


class ItemCountsModel(_Shape):
    """How many items of a job went which way."""

    loaded: int
    unchanged: int = Field(description="In their collection already, with the same content.")
    fallback: int = Field(description="Of loaded and unchanged, those that were denied the collection they asked for.")
    refused: int


class JobModel(_Shape):
    """A job, as lists show it."""

    prefix: str = Field(description="The output prefix in S3, which identifies the job.")
    username: str
    algorithm: str
    version: str
    tag: str | None
    time: datetime = Field(description="When the job ran, by its output prefix.")
    state: State
    items: ItemCountsModel
    problems: list[str] = Field(description="Codes of its problems, each once.")
    updated: datetime


class JobsModel(_Shape):
    """A page of jobs, newest first."""

    jobs: list[JobModel]
    links: list[LinkModel] = Field(description="`next` leads to the next page.")


class ProblemModel(_Shape):
    """One thing wrong with what a job wrote."""

    code: str
    severity: Literal["error", "warning"]
    object: str
    message: str
    fix: str


class StateModel(_Shape):
    """A job came into a state."""

    state: State
    at: datetime
    attempt: int
    run_id: str | None
    reason: str | None
    links: list[LinkModel]


class DecisionModel(_Shape):
    """Which collection was requested, which was given, and why."""

    decision: str
    outcome: Literal["accept", "default", "fallback", "reject"]
    collection: str | None
    requested: str | None
    rule: str
    message: str
    registry_version: str
    at: datetime
    run_id: str | None


class RecordedDecisionModel(DecisionModel):
    """A decision as it stands in the audit trail."""

    prefix: str = Field(description="The output prefix of the job.")
    username: str
    algorithm: str
    version: str
    tag: str | None
    links: list[LinkModel] = Field(description="`job`, `run` and `collection`.")


class DecisionsModel(_Shape):
    """A page of the audit trail, newest first."""

    decisions: list[RecordedDecisionModel]
    links: list[LinkModel] = Field(description="`next` leads to the next page.")


class ItemModel(_Shape):
    """What became of an item."""

    id: str
    result: ItemResult
    collection: str | None
    requested_collection: str | None
    source: str = Field(description="The document that it was read from, in S3.")
    links: list[LinkModel]


class CatalogModel(_Shape):
    """A version of a catalog of the job."""

    href: str
    etag: str
    last_modified: datetime
    source: str = Field(description="How it came to notice.")
    seen: datetime
    current: bool = Field(description="Whether it is the newest version.")


class JobDetailModel(_Shape):
    """A job with every state, decision, problem and item."""

    prefix: str
    username: str
    algorithm: str
    version: str
    tag: str | None
    time: datetime
    state: State
    updated: datetime
    bucket: str
    counts: ItemCountsModel
    collections: list[str]
    discovered: datetime
    due: datetime | None = Field(description="When it is tried again; null for ended jobs.")
    wait_until: datetime | None = Field(description="Until when what is missing may still arrive.")
    attempt: int
    run_id: str | None
    states: list[StateModel]
    decisions: list[DecisionModel]
    problems: list[ProblemModel]
    items: list[ItemModel]
    catalogs: list[CatalogModel]
    links: list[LinkModel]


class GroupModel(BaseModel):
    """Counts of a group of jobs; carries the fields that it is grouped by."""

    model_config = ConfigDict(extra="allow")

    jobs: int
    states: dict[State, int]
    items: ItemCountsModel
    updated: datetime


class SummaryModel(_Shape):
    """Counts by state per group, the group that changed last first."""

    by: list[str]
    groups: list[GroupModel]


class RetriedJobModel(_Shape):
    """A job that is tried again."""

    bucket: str
    prefix: str
    before: State = Field(description="The state that it was in.")
    links: list[LinkModel] = Field(description="`job`.")


class RetriedModel(_Shape):
    """What became of a request to try jobs again."""

    dry_run: bool = Field(description="Whether nothing was done, and this is what would be.")
    matched: int = Field(description="How many jobs were meant.")
    retried: list[RetriedJobModel]
    skipped: dict[Skip, int] = Field(description="Why jobs are left as they are -> how many of them.")
    leased_until: datetime | None = Field(
        description="When the last lease ends of those that runs hold, unless it is renewed."
    )
    unknown: list[str] = Field(description="What was named and is no job that is known.")
    in_other_states: dict[State, int] = Field(
        description="Where no job is in the state that was asked for: how many of those that match are in others."
    )
    links: list[LinkModel] = Field(description="`job`, where it was one.")


class RevokedModel(_Shape):
    """Who took an entry out of force, when and why."""

    by: str
    at: datetime
    reason: str
    change: int = Field(description="The number of the change in `/registry/history`.")


class EntryModel(_Shape):
    """An entry of the registry: a grant, a denial, a team or a reserved pattern."""

    id: int | None = Field(description="By which it is revoked; null for entries of the registry file.")
    kind: Literal["grants", "deny", "teams", "reserved"] = Field(description="As the keys of the registry file.")
    collection: str | None = Field(description="A collection id, or a prefix of ids with * at its end.")
    team: str | None = Field(description="The name of a team; users of an entry name it with @ before it.")
    users: list[str] = Field(description="Usernames, @team, or * for everyone.")
    algorithms: list[str] = Field(description="name@version; empty: whatever the algorithm.")
    create: bool = Field(description="Whether the collection may be created on first use.")
    on_denied: Literal["fallback", "reject"] | None
    template: dict[str, Any] = Field(description="How a collection that it creates is described.")
    source: str = Field(description="Where it is kept.")
    by: str | None
    at: datetime | None
    reason: str | None
    revoked: RevokedModel | None = Field(description="Null while it is in force.")
    label: str = Field(description="How the rule of a decision names it.")
    links: list[LinkModel]


class EntryDetailModel(EntryModel):
    """An entry by itself."""

    notes: list[str] = Field(description="Where it grants less than it seems to.")


class EntriesModel(_Shape):
    """The registry in force."""

    grants: list[EntryModel]
    notes: list[str] = Field(description="Which entries of the registry grant less than they seem to.")
    registry_version: str
    warning: str | None = Field(description="Why the registry in force is not the one that the settings name.")
    links: list[LinkModel]


class ChangeModel(_Shape):
    """A change of the registry, of tokens or of collections."""

    id: int
    at: datetime
    by: str
    via: Via
    action: Action
    subject: str = Field(description="The pattern, team, file, collection or username that it is about.")
    reason: str
    detail: dict[str, Any]


class ChangesModel(_Shape):
    """A page of the trail of changes, newest first."""

    changes: list[ChangeModel]
    links: list[LinkModel] = Field(description="`next` leads to the next page.")


class RemovedModel(_Shape):
    """Who took an endpoint out of force, when and why."""

    at: datetime
    by: str
    reason: str


class WebhookModel(_Shape):
    """Who is told when jobs end."""

    id: int
    kind: Literal["webhook", "sns"]
    address: str = Field(description="An address, or the ARN of an SNS topic.")
    username: str | None = Field(description="Whose jobs; null for everyone's.")
    algorithm: str | None = Field(description="Of which algorithm; null for all.")
    states: list[Literal["loaded", "partial", "rejected", "failed"]] = Field(
        description="In which states they end; empty for all."
    )
    created: datetime
    created_by: str
    reason: str
    removed: RemovedModel | None


class NewWebhookModel(WebhookModel):
    """An endpoint that was just added."""

    secret: str | None = Field(description="What messages are signed with, told this once; null for a topic.")


class WebhooksModel(_Shape):
    """Endpoints, newest first."""

    webhooks: list[WebhookModel]
    links: list[LinkModel]


class PartModel(BaseModel):
    """The health of one part."""

    model_config = ConfigDict(extra="allow")

    status: Literal["UP", "DOWN"]
    message: str


class HealthModel(_Shape):
    """The health of every part that answers depend on."""

    status: Literal["UP", "DOWN"]
    database: PartModel
    pgstac: PartModel
    ledger: PartModel
    object_store: PartModel
