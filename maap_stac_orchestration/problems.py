"""The words for what can be wrong with a job's output: one table of codes, severities, sentences and fixes.

Here belongs how a problem is worded. Not here: the rules that find problems (`dps`, `catalog`, `governance`), what is
done about them (`pipeline`) and where they are kept (`ledger`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypedDict


class Severity(StrEnum):
    """How much a problem costs: an error refuses an item or a job, a warning loses at most an asset."""

    ERROR = "error"
    WARNING = "warning"


class Code(StrEnum):
    """Every problem code. Denials carry the name of the governance decision that denied."""

    CATALOG_MISSING = "catalog_missing"
    CATALOG_UNREADABLE = "catalog_unreadable"
    CATALOG_INVALID = "catalog_invalid"
    NOT_A_CATALOG = "not_a_catalog"
    METADATA_MISSING = "metadata_missing"
    METADATA_INVALID = "metadata_invalid"
    METADATA_AMBIGUOUS = "metadata_ambiguous"
    LINK_MISSING = "link_missing"
    LINK_OUTSIDE_JOB = "link_outside_job"
    LINK_CYCLE = "link_cycle"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    TOO_MANY_ITEMS = "too_many_items"
    ITEM_UNREADABLE = "item_unreadable"
    ITEM_INVALID = "item_invalid"
    ITEM_ID_UNSAFE = "item_id_unsafe"
    ITEM_DUPLICATE = "item_duplicate"
    GEOMETRY_INVALID = "geometry_invalid"
    DATETIME_INVALID = "datetime_invalid"
    ASSET_MISSING = "asset_missing"
    ASSET_LOCAL_PATH = "asset_local_path"
    ASSET_OUTSIDE = "asset_outside"
    SCHEMA_INVALID = "schema_invalid"
    SCHEMA_UNAVAILABLE = "schema_unavailable"
    LOAD_REJECTED = "load_rejected"
    IDENTITY_MISMATCH = "identity_mismatch"
    INVALID_NAME = "invalid_name"
    RESERVED_NAME = "reserved_name"
    RESERVED_PATTERN = "reserved_pattern"
    NAME_CONFLICT = "name_conflict"
    USER_NOT_AUTHORIZED = "user_not_authorized"
    ALGORITHM_NOT_APPROVED = "algorithm_not_approved"
    COLLECTION_NOT_FOUND = "collection_not_found"
    ITEM_OWNED_BY_OTHER = "item_owned_by_other"


@dataclass(frozen=True, slots=True)
class Wording:
    """How one code is told to a person."""

    severity: Severity
    #: One sentence; `{object}` is what the problem is about.
    sentence: str
    #: One imperative sentence: what the reader does about it.
    fix: str


_E, _W = Severity.ERROR, Severity.WARNING

#: One row a code. docs and messages are made from this table, so a wording is changed here and nowhere else.
WORDINGS: dict[Code, Wording] = {
    Code.CATALOG_MISSING: Wording(
        _E,
        "There is no catalog at {object}.",
        "Write catalog.json at the root of the job's output folder, for example with pystac's normalize_and_save().",
    ),
    Code.CATALOG_UNREADABLE: Wording(
        _E,
        "The catalog {object} cannot be read as JSON.",
        "Write the file as UTF-8 JSON and upload it whole.",
    ),
    Code.CATALOG_INVALID: Wording(
        _E,
        "The catalog {object} does not follow the STAC specification.",
        "Write the document with pystac, or correct the part that is named, and upload it again.",
    ),
    Code.NOT_A_CATALOG: Wording(
        _E,
        "The document {object} is neither a STAC Catalog nor a STAC Collection.",
        "Link items with rel=item, and let catalog.json be a STAC Catalog that links to them.",
    ),
    Code.METADATA_MISSING: Wording(
        _E,
        "The job metadata of {object} is missing, so nobody can tell which algorithm wrote the outputs.",
        "Keep the .met.json that the DPS writes at the root of the output folder, or run the job again.",
    ),
    Code.METADATA_INVALID: Wording(
        _E,
        "The job metadata {object} cannot be used.",
        "Leave the .met.json as the DPS wrote it: a JSON object with username, algorithm_name and algorithm_version.",
    ),
    Code.METADATA_AMBIGUOUS: Wording(
        _E,
        "The output folder {object} holds more than one file of job metadata.",
        "Do not write files named output-….met.json or outputs_result….met.json yourself; remove those that are yours.",
    ),
    Code.LINK_MISSING: Wording(
        _E,
        "The document {object} is linked but is not there.",
        "Upload the document, or take the link out of the catalog.",
    ),
    Code.LINK_OUTSIDE_JOB: Wording(
        _E,
        "The link {object} leads out of the job's output folder and was not followed.",
        "Use relative links to documents that the job itself wrote.",
    ),
    Code.LINK_CYCLE: Wording(
        _W,
        "The link {object} leads back to a document above it and was not followed again.",
        "Let child links lead downwards only.",
    ),
    Code.TOO_DEEP: Wording(
        _E,
        "The document {object} lies deeper in the catalog than is allowed.",
        "Put items at most as deep as the limit that is named, for example all under one catalog.",
    ),
    Code.TOO_LARGE: Wording(
        _E,
        "The document {object} is larger than is allowed.",
        "Keep each STAC document small; put data into assets, not into properties.",
    ),
    Code.TOO_MANY_ITEMS: Wording(
        _E,
        "The catalog {object} leads to more documents than one job may have.",
        "Split the work over several jobs, or ask an administrator to raise the limit.",
    ),
    Code.ITEM_UNREADABLE: Wording(
        _E,
        "The item {object} cannot be read as JSON.",
        "Write the file as UTF-8 JSON and upload it whole.",
    ),
    Code.ITEM_INVALID: Wording(
        _E,
        "The item {object} does not follow the STAC specification.",
        "Correct the part that is named; `maap-stac check` tells before a job is submitted.",
    ),
    Code.ITEM_ID_UNSAFE: Wording(
        _E,
        "The item id {object} cannot be used in an address.",
        "Give the item an id of letters, digits and . _ - without slashes, spaces at an end or control characters.",
    ),
    Code.ITEM_DUPLICATE: Wording(
        _E,
        "The item {object} has the id of an item that comes before it in the same job.",
        "Give every item of a job an id of its own.",
    ),
    Code.GEOMETRY_INVALID: Wording(
        _E,
        "The geometry or bbox of the item {object} is not valid.",
        "Write closed, valid GeoJSON in longitude and latitude, cut at the antimeridian as RFC 7946 says.",
    ),
    Code.DATETIME_INVALID: Wording(
        _E,
        "The date and time of the item {object} is not valid.",
        "Write RFC 3339 times with a time zone, with the start before the end.",
    ),
    Code.ASSET_MISSING: Wording(
        _W,
        "The asset {object} is not among the files of the job.",
        "Upload the file, or correct the asset's href.",
    ),
    Code.ASSET_LOCAL_PATH: Wording(
        _W,
        "The asset {object} points at a path of the machine that the job ran on, and was left out.",
        "Make asset hrefs relative before saving, for example with pystac's make_all_asset_hrefs_relative().",
    ),
    Code.ASSET_OUTSIDE: Wording(
        _W,
        "The asset {object} points at a place that its submitter may not read, and was left out.",
        "Write outputs into the job's output folder, or ask an administrator to open the bucket for reading.",
    ),
    Code.SCHEMA_INVALID: Wording(
        _W,
        "The item {object} does not follow the schema of an extension that it names.",
        "Correct the part that is named, or take the extension out of stac_extensions.",
    ),
    Code.SCHEMA_UNAVAILABLE: Wording(
        _W,
        "An extension schema that the item {object} names is not at hand, so it was not checked.",
        "Nothing is lost; an administrator can add the schema with `maap-stac schemas fetch`.",
    ),
    Code.LOAD_REJECTED: Wording(
        _E,
        "The database refused the item {object}.",
        "Correct what the database names, and upload the catalog again.",
    ),
    Code.IDENTITY_MISMATCH: Wording(
        _E,
        "The job metadata of {object} names another user than the folder it lies in.",
        "Leave the .met.json as the DPS wrote it; outputs belong to the user whose folder they lie in.",
    ),
    Code.INVALID_NAME: Wording(
        _E,
        "The collection id {object} is not a name that can be given.",
        "Use 3 to 64 lowercase letters, digits, - and _, beginning and ending with a letter or digit.",
    ),
    Code.RESERVED_NAME: Wording(
        _E,
        "The collection id {object} is reserved.",
        "Choose another id, or ask an administrator for a grant of exactly this one.",
    ),
    Code.RESERVED_PATTERN: Wording(
        _E,
        "The collection id {object} contains two underscores in a row, which only default collections have.",
        "Choose an id without `__`.",
    ),
    Code.NAME_CONFLICT: Wording(
        _E,
        "The collection id {object} differs from that of another collection only in upper and lower case.",
        "Choose another id, or use that of an existing collection exactly as it is written.",
    ),
    Code.USER_NOT_AUTHORIZED: Wording(
        _E,
        "The user may not write to the collection {object}.",
        "Ask an administrator for a grant, use an id that begins with your username and --, or leave the id out.",
    ),
    Code.ALGORITHM_NOT_APPROVED: Wording(
        _E,
        "The algorithm is not approved for the collection {object}.",
        "Use an approved version of the algorithm, or ask an administrator to approve this one.",
    ),
    Code.COLLECTION_NOT_FOUND: Wording(
        _E,
        "The collection {object} does not exist, and no grant allows creating it.",
        "Check the spelling of the id, use another one, or ask an administrator to create the collection.",
    ),
    Code.ITEM_OWNED_BY_OTHER: Wording(
        _E,
        "The item {object} was written to this collection by another user's job.",
        "Give the item an id of its own, for example with your username in it.",
    ),
}


class ProblemDocument(TypedDict):
    """A problem as `check --json` and the HTTP API show it."""

    code: str
    severity: str
    object: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a job's output."""

    code: Code
    #: What it is about: an object key, an item id, an `item#asset`, or a link's href.
    object: str
    #: What exactly is wrong, a sentence or a clause; may be empty where the code says it all.
    detail: str = ""

    @property
    def severity(self) -> Severity:
        """Error or warning, by the table."""
        return WORDINGS[self.code].severity

    @property
    def message(self) -> str:
        """The sentence for a person, with the object's name and, where there is one, the detail."""
        sentence = WORDINGS[self.code].sentence.format(object=self.object)
        return f"{sentence} {self.detail}" if self.detail else sentence

    @property
    def fix(self) -> str:
        """What to do about it."""
        return WORDINGS[self.code].fix

    def to_document(self) -> ProblemDocument:
        """The contract's form of a problem."""
        return {
            "code": str(self.code),
            "severity": str(self.severity),
            "object": self.object,
            "message": self.message,
            "fix": self.fix,
        }
