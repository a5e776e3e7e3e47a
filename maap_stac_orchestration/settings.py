"""The one settings class: every `MAAP_STAC_*` environment variable, with its unit, default and meaning.

Here belongs what an operator may set. Not here: libpq's and AWS's own variables, which their libraries read themselves.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from functools import lru_cache
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from maap_stac_orchestration.governance.decision import OnDenied
from maap_stac_orchestration.governance.default_collection import check_template

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(value: Any) -> Any:
    """Reads `900`, `900s`, `15m`, `2h` or `1d`."""
    if isinstance(value, int | float):
        return timedelta(seconds=value)
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", value)
        if not match:
            raise ValueError("write a number with s, m, h or d behind it, for example 15m")
        return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    return value


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("a time span cannot be negative")
    return value


def _words(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(word for word in re.split(r"[,\s]+", value) if word)
    return value


def _address(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ValueError("write an address that begins with https:// or http://, or leave it unset")
    return value


def _tile_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    braces = re.findall(r"\{(.*?)\}", value)
    if not usable or sorted(braces) != ["x", "y", "z"] or any(one in parts.netloc for one in "{};, '"):
        raise ValueError(
            "write the address of tiles with {z}, {x} and {y} in its path, for example"
            " https://tiles.example.org/{z}/{x}/{y}.png, or leave it unset"
        )
    return value


def _algorithm_address(value: str) -> str:
    # In the host a name would lead to wherever whoever chose the name likes.
    place = re.match(r"https?://[^/{}\s]+/", value)
    braces = set(re.findall(r"\{(.*?)\}", value))
    if not place or "algorithm" not in braces or braces - {"algorithm", "version"}:
        raise ValueError(
            "write an address with {algorithm}, and {version} if need be, in its path, for example"
            " https://repo.example.org/{algorithm}/-/tree/{version}, or leave it unset"
        )
    return value


def _words_of_text(value: str) -> str:
    if not value.strip():
        raise ValueError("it is empty; leave it unset, or write what it should be")
    return value


def _namespace(value: str) -> str:
    # What CloudWatch takes as a namespace; AWS/ is for its own.
    if not re.fullmatch(r"(?!AWS/)[A-Za-z0-9._/#-][A-Za-z0-9._/#:-]{0,254}", value):
        raise ValueError(
            "write up to 255 of A-Z a-z 0-9 . _ / # : and -, with neither : nor AWS/ at the beginning, for example"
            " MAAP/STAC"
        )
    return value


def _template(value: str) -> str:
    check_template(value)
    return value


def _path(value: str) -> str:
    path = value.rstrip("/")
    if path and not re.fullmatch(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+", path):
        raise ValueError("write a path that begins with a slash, for example /stac, of A-Z a-z 0-9 . _ ~ and -")
    return path


Duration = Annotated[timedelta, BeforeValidator(_duration), AfterValidator(_not_negative)]
Address = Annotated[str, AfterValidator(_address)]
TileAddress = Annotated[str, AfterValidator(_tile_address)]
AlgorithmAddress = Annotated[str, AfterValidator(_algorithm_address)]
Text = Annotated[str, AfterValidator(_words_of_text)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


class SettingsError(Exception):
    """A setting has a value that cannot be used; the message is one sentence for each."""


class Settings(BaseSettings):
    """What can be set. Durations are written `90s`, `15m`, `2h`, `1d`; lists with commas or spaces."""

    model_config = SettingsConfigDict(env_prefix="MAAP_STAC_", extra="ignore", frozen=True)

    buckets: Words = Field(default=(), description="Buckets that hold DPS outputs.")
    queue_url: str | None = Field(
        default=None, description="SQS queue with the buckets' events; without one they are listed."
    )
    registry: str | None = Field(default=None, description="Registry file: a path or an s3:// address.")
    on_denied: OnDenied = Field(
        default=OnDenied.FALLBACK, description="What becomes of denied items where the registry does not say."
    )
    default_collection_template: Annotated[str, AfterValidator(_template)] = Field(
        default="{username}__{algorithm_name}__{algorithm_version}__{tag}",
        description="The id of default collections; a part whose value is empty is left out.",
    )
    readable_buckets: Words = Field(
        default=(), description="Further buckets that asset hrefs of any job may point into."
    )
    first_day: date | None = Field(default=None, description="The first day (UTC) that a backfill goes back to.")
    backfill_days: int = Field(
        default=10,
        ge=0,
        le=1_000,
        description="How many days that were never listed the schedule backfill_history asks for at a time; 0: none.",
    )
    listing_days: int = Field(
        default=2, ge=1, description="How many days back the listing looks where there is no queue."
    )
    wait_deadline: Duration = Field(
        default=timedelta(minutes=15),
        description="How long after the catalog what is missing (job metadata, items) may still arrive.",
    )
    asset_deadline: Duration = Field(
        default=timedelta(minutes=1), description="How long after the catalog a missing asset may still arrive."
    )
    lease: Duration = Field(
        default=timedelta(minutes=1), description="How long a run holds jobs without renewing its lease."
    )
    schemas: str | None = Field(default=None, description="Folder of extension schemas, by host and path of their URL.")
    batch_store: str | None = Field(
        default=None,
        description="Where steps hand batches over: an s3:// prefix, or a folder; without it Dagster's storage folder.",
    )
    public_url: str | None = Field(default=None, description="Where people reach the API and the status pages.")
    root_path: Annotated[str, AfterValidator(_path)] = Field(
        default="",
        description="The path under which a proxy serves the API; without it that of MAAP_STAC_PUBLIC_URL, if any.",
    )
    dagster_url: str | None = Field(default=None, description="Where people reach the Dagster UI.")
    metrics_namespace: Annotated[str, AfterValidator(_namespace)] | None = Field(
        default=None,
        description="Namespace in CloudWatch. When set, runs write metrics for it into their logs.",
    )
    tiler_url: Address | None = Field(
        default=None, description="Where people reach titiler-pgstac; pages for people then show previews of items."
    )
    browser_url: Address | None = Field(
        default=None, description="Where people reach STAC Browser; pages for people then link to items there."
    )
    browser_files: Text | None = Field(
        default=None,
        description="A build of STAC Browser to serve: a folder or .tar.gz; without it a checkout builds its own.",
    )
    algorithm_url: AlgorithmAddress | None = Field(
        default=None,
        description="Where people read about an algorithm, with {algorithm} and {version}; collections link there.",
    )
    basemap_url: TileAddress | None = Field(
        default=None,
        description="Tiles of a base map for maps on pages, with {z}, {x} and {y}; without it they show coastlines.",
    )
    basemap_attribution: Text | None = Field(
        default=None, description="Whom maps on the pages name as the source of the base map, as plain text."
    )

    open_reading: bool = Field(
        default=True, description="Whether the API may be read without a token; writing always needs one."
    )
    oidc_issuer: Address | None = Field(
        default=None,
        description="Issuer of the tokens that people sign in with (OpenID Connect), exactly as it stands in them.",
    )
    oidc_audience: Text | None = Field(default=None, description="The audience that such a token must be meant for.")
    oidc_jwks_url: Address | None = Field(
        default=None, description="Where the issuer's keys are; without it the issuer's own configuration tells."
    )
    oidc_username_claim: Text = Field(
        default="preferred_username", description="The claim that holds the username, as in S3 prefixes."
    )
    oidc_roles_claim: Text = Field(
        default="roles", description="The claim that lists roles; dots lead into objects, as in realm_access.roles."
    )
    oidc_leeway: Duration = Field(
        default=timedelta(seconds=30), description="How far the issuer's clock and this one may be apart."
    )
    admin_role: Text = Field(default="maap-stac-admin", description="The role of administrators, in the roles claim.")

    reports: bool = Field(
        default=False, description="Whether stac-ingest-report.json is written beside the catalog when a job ends."
    )
    webhook_private: bool = Field(
        default=False, description="Whether webhooks may go to private addresses, and over http."
    )
    webhook_attempts: int = Field(default=8, ge=1, le=100, description="Tries before a notification is given up.")

    max_attempts: int = Field(default=5, ge=1, description="Tries before a job that keeps breaking runs is failed.")
    max_batch_items: int = Field(default=10_000, ge=1, description="Items that one run takes on, by estimate.")
    max_batch_jobs: int = Field(default=1_000, ge=1, description="Jobs that one run takes on.")
    max_items: int = Field(default=100_000, ge=1, description="STAC documents that one job may have.")
    max_depth: int = Field(default=16, ge=1, description="Levels of catalogs above an item.")
    max_document_bytes: int = Field(default=8 * 2**20, ge=1, description="Bytes of one STAC document.")
    max_job_bytes: int = Field(default=2**30, ge=1, description="Bytes of all STAC documents of a job.")
    max_job_seconds: float = Field(default=300.0, gt=0, description="Seconds that reading one job may take.")
    max_concurrency: int = Field(default=64, ge=1, description="Objects that one run reads at the same time.")

    @model_validator(mode="after")
    def _issuer_and_audience_together(self) -> Self:
        if self.oidc_issuer and not self.oidc_audience:
            # Without an audience a token that was meant for any other service of the issuer would be taken here.
            raise ValueError(
                "MAAP_STAC_OIDC_ISSUER is set and MAAP_STAC_OIDC_AUDIENCE is not: set the audience that tokens for "
                "this service carry (aud)."
            )
        for name, value in (("AUDIENCE", self.oidc_audience), ("JWKS_URL", self.oidc_jwks_url)):
            if value and not self.oidc_issuer:
                raise ValueError(
                    f"MAAP_STAC_OIDC_{name} is set and MAAP_STAC_OIDC_ISSUER is not: set the issuer too, or neither."
                )
        return self

    @model_validator(mode="after")
    def _one_root_path(self) -> Self:
        public = urlsplit(self.public_url).path.rstrip("/") if self.public_url else ""
        if self.root_path and self.public_url and self.root_path != public:
            raise ValueError(
                f"MAAP_STAC_ROOT_PATH is {self.root_path} and the path of MAAP_STAC_PUBLIC_URL is {public or '/'}: set "
                "one of them, or both to the same path."
            )
        return self

    @classmethod
    def from_environment(cls) -> Settings:
        """Reads the environment.

        Raises:
            SettingsError: a value cannot be used; names the variable, the value and what it should be.
        """
        try:
            return cls()
        except ValidationError as error:
            sentences = [_sentence(one) for one in error.errors()]
            raise SettingsError("\n".join(sentences)) from None


def _sentence(error: Any) -> str:
    reason = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:  # about several settings, which the reason names
        return str(reason)
    name = "MAAP_STAC_" + "_".join(str(part) for part in error["loc"][:1]).upper()
    return f"{name} is {error['input']!r}, which cannot be used: {reason}."


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        SettingsError: see `Settings.from_environment`.
    """
    return Settings.from_environment()
