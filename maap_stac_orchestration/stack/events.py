"""The way of events from a bucket to the queue: bucket -> SNS topic -> SQS queue, with a dead-letter queue behind it.

Here belongs how those are created and tied together on an S3-compatible store, as the local stack and tests need it.
Not here: reading the queue (`discovery`), and how a deployment on AWS creates its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

TOPIC = "dps-catalogs"
QUEUE = "dps-catalogs"
DEAD_LETTER_QUEUE = "dps-catalogs-dead-letter"
#: How often a message is received before it goes to the dead-letter queue.
MAX_RECEIVES = 5
#: Seconds that a received message stays hidden from other readers; a drain takes less.
VISIBILITY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Wired:
    """What was created, or was there already."""

    bucket: str
    topic_arn: str
    queue_url: str
    dead_letter_queue_url: str


def wire(
    s3: S3Client,
    sns: SNSClient,
    sqs: SQSClient,
    bucket: str,
    *,
    raw: bool = False,
    topic: str = TOPIC,
    queue: str = QUEUE,
) -> Wired:
    """Creates bucket, topic and queues where they are missing and ties them together; again changes nothing.

    Args:
        s3: client of the store that holds the bucket.
        sns: client of the same account.
        sqs: client of the same account.
        bucket: the bucket whose catalogs are announced.
        raw: whether the queue gets the S3 event itself instead of SNS's envelope around it.
        topic: name of the topic.
        queue: name of the queue; its dead-letter queue has `-dead-letter` behind that.
    """
    if bucket not in {each["Name"] for each in s3.list_buckets()["Buckets"]}:
        _create_bucket(s3, bucket)
    topic_arn = sns.create_topic(Name=topic)["TopicArn"]
    dead_url = sqs.create_queue(QueueName=f"{queue}-dead-letter")["QueueUrl"]
    queue_url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    policy = {"deadLetterTargetArn": _arn(sqs, dead_url), "maxReceiveCount": MAX_RECEIVES}
    sqs.set_queue_attributes(
        QueueUrl=queue_url,
        Attributes={"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": str(VISIBILITY_SECONDS)},
    )
    sns.subscribe(
        TopicArn=topic_arn,
        Protocol="sqs",
        Endpoint=_arn(sqs, queue_url),
        Attributes={"RawMessageDelivery": "true" if raw else "false"},
    )
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "TopicConfigurations": [
                {
                    "Id": "catalogs",
                    "TopicArn": topic_arn,
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "suffix", "Value": "catalog.json"}]}},
                }
            ]
        },
    )
    return Wired(bucket, topic_arn, queue_url, dead_url)


def _create_bucket(s3: S3Client, bucket: str) -> None:
    region = s3.meta.region_name
    if region == "us-east-1":
        s3.create_bucket(Bucket=bucket)
    else:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})  # type: ignore[typeddict-item]


def _arn(sqs: SQSClient, url: str) -> str:
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
