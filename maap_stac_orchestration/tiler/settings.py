"""What an operator may set of the tiler alone: `MAAP_STAC_TILER_*`, beside the settings of the whole (`settings`).

Here belong the variables, their defaults and what wrong values are told. Not here: libpq's and GDAL's own variables,
which their libraries read themselves, and titiler's, which `app` sets.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from maap_stac_orchestration.settings import SettingsError, Words

PREFIX = "MAAP_STAC_TILER_"
USER_VARIABLE = f"{PREFIX}PGUSER"
PASSWORD_VARIABLE = f"{PREFIX}PGPASSWORD"


class TilerSettings(BaseSettings):
    """What can be set of the tiler."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    pguser: str | None = Field(
        default=None,
        description="Role that reads pgstac; without it that of PGUSER, which gives up all but `pgstac_read`.",
    )
    pgpassword: SecretStr | None = Field(default=None, description="Password of that role.")
    https_hosts: Words = Field(
        default=(), description="Hosts that assets may be read from over https; none by default."
    )
    cache_seconds: int = Field(
        default=10,
        ge=0,
        le=86_400,
        description="How long answers may be reused, here and by browsers: what is new shows after twice that at most.",
    )
    max_size: int = Field(default=2048, ge=256, le=16_384, description="Pixels along a side of the largest picture.")
    threads: int = Field(default=8, ge=1, le=128, description="Requests that are worked on at the same time.")

    @model_validator(mode="after")
    def _password_of_somebody(self) -> Self:
        if self.pgpassword is not None and not self.pguser:
            raise ValueError(f"{PASSWORD_VARIABLE} is set and {USER_VARIABLE} is not: set whose password it is.")
        return self

    @classmethod
    def from_environment(cls) -> TilerSettings:
        """Reads the environment.

        Raises:
            SettingsError: a value cannot be used; names the variable and what it should be.
        """
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError("\n".join(_sentence(dict(one)) for one in error.errors())) from None


def _sentence(error: dict[str, object]) -> str:
    reason = str(error["msg"]).removeprefix("Value error, ")
    place = error["loc"]
    if not isinstance(place, tuple) or not place:  # about several settings, which the reason names
        return reason
    return f"{PREFIX}{str(place[0]).upper()} cannot be used: {reason}."
