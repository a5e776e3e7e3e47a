"""Telling an SNS topic: one message, with what subscribers filter by as its attributes.

Here belongs the request and what its answer means. Not here: what becomes of a try (`pipeline.notify`).
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING

from maap_stac_orchestration.pipeline.notification.addresses import AddressRefused, region_of
from maap_stac_orchestration.pipeline.notification.answer import Answer

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef


class Topics:
    """Sends to topics, over clients that are kept; credentials and endpoint are AWS's own settings."""

    def __init__(self) -> None:
        self._clients: dict[str, SNSClient] = {}
        self._lock = Lock()

    def publish(self, topic: str, body: str, attributes: Mapping[str, str]) -> Answer:
        """Publishes a message once; may be called from several threads.

        Args:
            topic: its ARN.
            body: the message.
            attributes: what subscribers filter by; empty ones are left out, as SNS refuses them.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        values: dict[str, MessageAttributeValueTypeDef] = {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value
        }
        try:
            answer = self._client(region_of(topic)).publish(TopicArn=topic, Message=body, MessageAttributes=values)
        except AddressRefused as error:
            return Answer(False, str(error))
        except ClientError as error:
            told = error.response.get("Error", {})
            return Answer(False, f"SNS refused it: {told.get('Code', 'unknown')}: {told.get('Message', error)}")
        except BotoCoreError as error:
            return Answer(False, f"SNS did not answer: {error}")
        return Answer(True, f"SNS message {answer['MessageId']}")

    def _client(self, region: str) -> SNSClient:
        import boto3
        from botocore.config import Config

        with self._lock:  # boto3's default session is not for several threads at once
            if region not in self._clients:
                # What fails is tried again by the outbox.
                config = Config(
                    connect_timeout=4, read_timeout=6, retries={"mode": "standard", "total_max_attempts": 1}
                )
                self._clients[region] = boto3.client("sns", region_name=region, config=config)
            return self._clients[region]
