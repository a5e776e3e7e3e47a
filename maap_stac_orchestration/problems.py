"""The words for what can be wrong with a job's output: one table of codes, severities, sentences and fixes.

Here belongs how a problem is worded. Not here: the rules that find problems (`dps`, `catalog`, `governance`), what is
done about them (`pipeline`) and where they are kept (`ledger`).
"""

from __future__ import annotations

import sys
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
    #: What becomes of the item or the job, and whether something is waited for.
    effect: str
    #: An object and a detail as they occur; what this looks like in practice.
    example: tuple[str, str]


_E, _W = Severity.ERROR, Severity.WARNING

_ITEM_REFUSED = "The item is not loaded; the others of the job are."
_NOTHING_LOADED = "Nothing of the job is loaded; it ends as `rejected`."
_DENIED = (
    "The items that asked for the collection go to the job's own default collection instead, so they are not lost. "
    "Where the registry says `on_denied: reject` for it, they are not loaded."
)
_JOB = "jsmith/dps_output/flood/v1/demo/2025/11/03/22/10/00/000417/"

#: One row a code. docs and messages are made from this table, so a wording is changed here and nowhere else.
WORDINGS: dict[Code, Wording] = {
    Code.CATALOG_MISSING: Wording(
        _E,
        "There is no catalog at {object}.",
        "Write a catalog.json at the root of the job's output folder, for example with pystac's normalize_and_save().",
        "Nothing of the job is loaded, because nothing says what its outputs are; it ends as `rejected`.",
        (f"{_JOB}catalog.json", ""),
    ),
    Code.CATALOG_UNREADABLE: Wording(
        _E,
        "The catalog {object} cannot be read as JSON.",
        "Write the file as UTF-8 JSON and upload it whole.",
        "What only this catalog leads to is not loaded; the other items of the job are.",
        (f"{_JOB}catalog.json", "It is not JSON: Expecting value in line 12, column 7."),
    ),
    Code.CATALOG_INVALID: Wording(
        _E,
        "The catalog {object} does not follow the STAC specification.",
        "Write the document with pystac, or correct the part that is named, and upload it again.",
        "The items that it links to are loaded all the same. What a collection says about itself is not taken over.",
        (f"{_JOB}catalog.json", 'The document: "description" is a required property.'),
    ),
    Code.NOT_A_CATALOG: Wording(
        _E,
        "The document {object} should be a STAC Catalog or Collection, and is neither.",
        "Make catalog.json a STAC Catalog that links to its items with rel=item, and use rel=child for catalogs only.",
        "The document is not loaded, nor what only it leads to; the other items of the job are.",
        (f"{_JOB}catalog.json", "It is a GeoJSON FeatureCollection."),
    ),
    Code.METADATA_MISSING: Wording(
        _E,
        "The output folder {object} holds no job metadata, so it is not known which algorithm wrote the outputs.",
        "Leave the .met.json that the DPS writes at the root of the output folder in its place, or run the job again.",
        f"The file is waited for, by default until 15 minutes after the catalog. {_NOTHING_LOADED}",
        (_JOB, ""),
    ),
    Code.METADATA_INVALID: Wording(
        _E,
        "The job metadata {object} cannot be used.",
        "Leave the .met.json as the DPS wrote it: a JSON object with username, algorithm_name and algorithm_version.",
        _NOTHING_LOADED,
        (f"{_JOB}output-flood.met.json", "It has no algorithm_version."),
    ),
    Code.METADATA_AMBIGUOUS: Wording(
        _E,
        "The output folder {object} holds more than one file of job metadata.",
        "Remove the files named output-….met.json or outputs_result….met.json that the job wrote itself.",
        _NOTHING_LOADED,
        (_JOB, "There are output-flood.met.json, output-old.met.json."),
    ),
    Code.LINK_MISSING: Wording(
        _E,
        "A link of the catalog leads to {object}, where there is no file.",
        "Upload the missing file, or remove the link from the catalog.",
        "What is there is loaded at once. What is missing is waited for, by default until 15 minutes after the "
        "catalog; then the job ends without it.",
        (f"{_JOB}tile-7/tile-7.json", f"It is linked in {_JOB}catalog.json."),
    ),
    Code.LINK_OUTSIDE_JOB: Wording(
        _E,
        "The link {object} leads out of the job's output folder and was not followed.",
        "Use relative links to documents that the job itself wrote.",
        "What the link leads to is not read; the other items of the job are loaded.",
        ("../../../other/catalog.json", f"It stands in {_JOB}catalog.json."),
    ),
    Code.LINK_CYCLE: Wording(
        _W,
        "The link {object} leads back to a document above it and was not followed again.",
        "Remove the link, or let it lead to a document further down.",
        "Nothing is lost: the document that it leads to was read before.",
        ("../catalog.json", f"It stands in {_JOB}tiles/catalog.json and leads to {_JOB}catalog.json."),
    ),
    Code.TOO_DEEP: Wording(
        _E,
        "The document {object} lies deeper in the catalog than is allowed.",
        "Link the items from a catalog nearer to the root, for example all of them from catalog.json itself.",
        "The document is not loaded, nor what only it leads to; the other items of the job are.",
        (f"{_JOB}a/b/c/item.json", "At most 16 levels of catalogs may lie above an item."),
    ),
    Code.TOO_LARGE: Wording(
        _E,
        "The document {object} was left out because of its size.",
        "Keep STAC documents small: put data into asset files, not into properties.",
        "The document is not loaded, nor what only it leads to; the other items of the job are.",
        (f"{_JOB}item.json", "It has 9437184 bytes; at most 8388608 are read."),
    ),
    Code.TOO_MANY_ITEMS: Wording(
        _E,
        "The catalog {object} leads to more than can be read of one job.",
        "Split the work over several jobs, or ask an administrator to raise the limit.",
        "The items that were read before the limit was reached are loaded, the others are not.",
        (f"{_JOB}catalog.json", "At most 100000 documents of a job are read; 2500 were left out."),
    ),
    Code.ITEM_UNREADABLE: Wording(
        _E,
        "The item {object} cannot be read as JSON.",
        "Write the file as UTF-8 JSON and upload it whole.",
        _ITEM_REFUSED,
        (f"{_JOB}item.json", "It is not JSON: Expecting value in line 40, column 1."),
    ),
    Code.ITEM_INVALID: Wording(
        _E,
        "The item {object} does not follow the STAC specification.",
        "Correct the part that is named; `maap-stac check` tells the same before a job is submitted.",
        _ITEM_REFUSED,
        ("tile-7", 'The document: "assets" is a required property.'),
    ),
    Code.ITEM_ID_UNSAFE: Wording(
        _E,
        "The id of the item {object} cannot be part of a web address.",
        "Give the item an id of letters, digits, dots, underscores and hyphens.",
        _ITEM_REFUSED,
        ("tiles/7", f"It stands in {_JOB}item.json, and its id contains /."),
    ),
    Code.ITEM_DUPLICATE: Wording(
        _E,
        "The item {object} has the id of an item that comes before it in the same job.",
        "Give every item of a job an id of its own.",
        "The first item of that id, in the order of the links, is loaded; this one is not.",
        (f"{_JOB}b/item.json", f"The id is tile-7; the item at {_JOB}a/item.json is kept."),
    ),
    Code.GEOMETRY_INVALID: Wording(
        _E,
        "The geometry or bbox of the item {object} is not valid.",
        "Write valid GeoJSON in degrees of longitude and latitude, with closed rings, cut in two where it crosses the "
        "antimeridian.",
        _ITEM_REFUSED,
        ("tile-7", "The Polygon has the longitude 400, which is outside -180 to 180."),
    ),
    Code.DATETIME_INVALID: Wording(
        _E,
        "A date or time of the item {object} is not valid.",
        "Write times with a time zone, such as 2024-06-01T12:00:00Z, and let each start come before its end.",
        _ITEM_REFUSED,
        ("tile-7", "Its datetime '2025-01-01' is not written as RFC 3339 says (2024-06-01T00:00:00Z)."),
    ),
    Code.ASSET_MISSING: Wording(
        _W,
        "The asset {object} is not among the files of the job.",
        "Upload the file, or correct the asset's href.",
        "The item is loaded, and the asset in it leads nowhere until the file is there. The file is waited for, by "
        "default until one minute after the catalog.",
        ("tile-7#image", f"Its href leads to s3://maap-ops-workspace/{_JOB}image.tif."),
    ),
    Code.ASSET_LOCAL_PATH: Wording(
        _W,
        "The asset {object} points at a path of the machine that the job ran on, and was left out.",
        "Make asset hrefs relative before saving, for example with pystac's make_all_asset_hrefs_relative().",
        "The item is loaded without the asset. The file is waited for, by default until one minute after the catalog. "
        "Where exactly one file of the job has its name, the href is mended and there is no problem.",
        ("tile-7#image", "Its href is /tmp/output/image.tif, and no file of the job has that name."),
    ),
    Code.ASSET_OUTSIDE: Wording(
        _W,
        "The asset {object} points at a place that items of this user may not lead to, and was left out.",
        "Write the file into the job's output folder, or ask an administrator to open its bucket for reading.",
        "The item is loaded without the asset.",
        (
            "tile-7#image",
            "Its href is s3://private-bucket/image.tif, and the bucket private-bucket is not open to submitters.",
        ),
    ),
    Code.SCHEMA_INVALID: Wording(
        _W,
        "The item {object} does not follow the schema of an extension that it names.",
        "Correct the part that is named, or take the extension out of stac_extensions.",
        "The item is loaded as it is.",
        (
            "tile-7",
            "By https://stac-extensions.github.io/eo/v1.1.0/schema.json: properties/eo:cloud_cover: 140 is greater "
            "than the maximum of 100.",
        ),
    ),
    Code.SCHEMA_UNAVAILABLE: Wording(
        _W,
        "The item {object} names an extension whose schema is not installed here, so this part was not checked.",
        "Check that the extension's address is spelled right, or ask an administrator to install its schema.",
        "The item is loaded as it is.",
        ("tile-7", "Of https://example.com/own/v1/schema.json: its schema is not in the folder of schemas."),
    ),
    Code.LOAD_REJECTED: Wording(
        _E,
        "The database refused the item {object}.",
        "Correct the part of the item that the database names, and try the job again.",
        _ITEM_REFUSED,
        ("tile-7", "The database said: timestamp out of range."),
    ),
    Code.IDENTITY_MISMATCH: Wording(
        _E,
        "The job metadata of {object} names another user than the folder it lies in.",
        "Leave the .met.json as the DPS wrote it, and run jobs yourself instead of copying the outputs of other users.",
        _NOTHING_LOADED,
        (_JOB, "Rule: outputs belong to the user whose folder they lie in."),
    ),
    Code.INVALID_NAME: Wording(
        _E,
        "The collection id {object} is not a valid name.",
        "Use 3 to 64 lowercase letters, digits, - and _, beginning and ending with a letter or digit.",
        _DENIED,
        ("My Floods", "Rule: names are 3 to 64 of a-z 0-9 - _."),
    ),
    Code.RESERVED_NAME: Wording(
        _E,
        "The collection id {object} is reserved.",
        "Choose another id, or ask an administrator whether a grant of exactly this one is possible.",
        _DENIED,
        ("esa-biomass", 'Rule: reserved[1] "esa-*" (line 3).'),
    ),
    Code.RESERVED_PATTERN: Wording(
        _E,
        "The collection id {object} contains two underscores in a row, which only default collections have.",
        "Choose an id without `__`, or leave the id out to use the job's own default collection.",
        _DENIED,
        ("jsmith__floods", "Rule: ids with __ belong to default collections."),
    ),
    Code.NAME_CONFLICT: Wording(
        _E,
        "The collection id {object} differs from that of another collection only in upper and lower case.",
        "Choose another id, or use that of an existing collection exactly as it is written.",
        _DENIED,
        ("maap-floods", "The existing one is MAAP-floods."),
    ),
    Code.USER_NOT_AUTHORIZED: Wording(
        _E,
        "The user who ran the job may not write to the collection {object}.",
        "Ask an administrator for a grant, or leave the id out to use the job's own default collection.",
        _DENIED,
        ("maap-floods", "Rule: no grant is for this id."),
    ),
    Code.ALGORITHM_NOT_APPROVED: Wording(
        _E,
        "The algorithm is not approved for the collection {object}.",
        "Use an approved version of the algorithm, or ask an administrator to approve this one.",
        _DENIED,
        ("maap-floods", 'Rule: grants[2] "maap-*" (line 6).'),
    ),
    Code.COLLECTION_NOT_FOUND: Wording(
        _E,
        "The collection {object} does not exist, and no grant allows creating it.",
        "Check the spelling of the id, use another one, or ask an administrator to create the collection.",
        _DENIED,
        ("maap-flods", 'Rule: grants[2] "maap-*" (line 6).'),
    ),
    Code.ITEM_OWNED_BY_OTHER: Wording(
        _E,
        "The item {object} belongs to another user, whose job wrote it to the collection first.",
        "Give the item an id of its own, for example with your username in it.",
        "The item is not loaded, and that of the other user stays as it is; the other items of the job are loaded.",
        ("tile-7", "The collection is maap-floods."),
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


def documentation() -> str:
    """The page docs/problems.md, in Markdown."""
    return "\n\n".join([_INTRODUCTION, _contents(), *map(_section, Code)]) + "\n"


_INTRODUCTION = """# Problems

Whatever is wrong with what a job wrote is told as a problem: a code, which never changes its meaning, the object it is
about, a sentence, and what to do. `maap-stac show PREFIX`, the job's status page and `GET /jobs/{prefix}` list the
problems of a job, `maap-stac jobs --code CODE` and `GET /jobs?code=CODE` all jobs that have one of a kind, and
`maap-stac check` tells them before a job is submitted.

* An **error** costs the item or document that it is about. The job ends as `partial` where other items of it were
  loaded, as `rejected` where none were. A collection that was denied is an error that costs nothing where the items go
  to the job's default collection instead; then the job still ends as `loaded`.
* A **warning** costs at most an asset.

What is missing may only be late: while it is waited for, the job is `waiting`, what is there is loaded already, and the
job is tried again by itself.

A job that is `failed` has no problem of these: the system itself failed too often, which the job's way tells, and an
administrator has to see to that.

## After the repair

Upload the corrected files to where they were, and try the job again with `maap-stac retry PREFIX` or, with a token,
`POST /jobs/{prefix}/retry`. Where the catalog itself was corrected, nothing needs to be asked for: a new version of
`catalog.json` is taken on by itself, so upload it last. After denials of a collection that a grant has since opened,
`maap-stac retry --force PREFIX` has the decision taken anew."""


def _contents() -> str:
    rows = [f"| [`{code}`](#{code}) | {WORDINGS[code].severity} | {WORDINGS[code].fix} |" for code in Code]
    return "\n".join(["## Codes", "", "| code | severity | what to do |", "| --- | --- | --- |", *rows])


def _section(code: Code) -> str:
    wording = WORDINGS[code]
    about, detail = wording.example
    return "\n\n".join(
        [
            f"### `{code}`",
            f"{wording.severity.capitalize()}: {wording.sentence.replace('{object}', '…')}",
            f"* What becomes of it: {wording.effect}\n* What to do: {wording.fix}",
            f"> {Problem(code, about, detail).message}",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(documentation())
