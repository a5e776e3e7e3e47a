"""Clients of AWS's own library, in the region that AWS's other tools take.

Here belongs that boto3 finds its region where the settings say it stands. Not here: credentials and endpoints, which it
finds by itself, and the client that reads jobs' objects (`s3`).
"""

from __future__ import annotations

import os
from typing import Any


def client(service: str, **options: Any) -> Any:
    """A boto3 client of a service, in the region that `AWS_REGION` names.

    boto3 itself knows only `AWS_DEFAULT_REGION` and profiles; by the first name, which AWS's other libraries and its
    containers use, it would say that there is no region.

    Args:
        service: as boto3 calls it, `s3` or `sqs`.
        options: further ones of `boto3.client`; a `region_name` among them goes first.

    Raises:
        botocore.exceptions.BotoCoreError: no region is named anywhere, or the AWS configuration cannot be used.
    """
    import boto3

    if region := os.environ.get("AWS_REGION"):
        options.setdefault("region_name", region)
    # The stubs want a literal service name.
    return boto3.client(service, **options)  # type: ignore[call-overload]
