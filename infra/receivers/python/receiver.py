"""Receives Sluice's webhooks: a Lambda function behind a Function URL with `AuthType: AWS_IAM`, handler `receiver.handler`.

The URL has checked the signature, so what is left is to ask whose it was. A message is taken by one conditional write that
holds the whole of it. So it is never remembered without being taken (it would be lost) or taken without being remembered
(it would be done twice), however often and however close together it comes. What is to be done about it is done from the
table, by its stream for one: Sluice waits 10 seconds for an answer. To do it right here instead, do it before the write,
and so that it may happen twice.

Environment: SLUICE_ROLE_ARN (the role of run-callback), SLUICE_TENANT_ID (yours), INBOX_TABLE (partition key `webhookId`, a
string; time to live on `expiresAt`). The function's own role needs `dynamodb:PutItem` on that table.
"""

import base64
import json
import os
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# Sluice tries for about a day; whoever asks for a delivery again later than this gets it as a new one.
REMEMBERED_SECONDS = 30 * 24 * 3600


def sessions_of(role_arn):
    """How the ARNs of a role's sessions begin. They do not show the role's path."""
    _, partition, _, _, account, role = role_arn.split(":")
    return f"arn:{partition}:sts::{account}:assumed-role/{role.rsplit('/', 1)[-1]}/"


SLUICE = sessions_of(os.environ["SLUICE_ROLE_ARN"])
TENANT = os.environ["SLUICE_TENANT_ID"]
TABLE = os.environ["INBOX_TABLE"]
DYNAMODB = boto3.client(
    "dynamodb", config=Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})
)


def handler(event, _context):
    iam = (event["requestContext"].get("authorizer") or {}).get("iam") or {}
    if not (iam.get("userArn") or "").startswith(SLUICE):
        return answer(403, "the caller is not Sluice")

    try:
        body = event.get("body") or ""
        text = base64.b64decode(body).decode() if event.get("isBase64Encoded") else body
        message = json.loads(text)
    except ValueError:
        return answer(410, "not JSON")
    if not isinstance(message, dict) or message.get("specVersion") != "1" or message.get("type") != "workflow.run.terminal":
        return answer(410, "not a message that is understood here, however often it comes")

    headers = event["headers"]
    webhook_id = headers.get("webhook-id")
    if not webhook_id or message.get("runId") is None or headers.get("sluice-run-id") != message["runId"]:
        return answer(403, "the headers and the body speak of different runs")
    # Every tenant of this Sluice may name any address to be called back at.
    if not headers.get("sluice-tenant-id") == message.get("tenantId") == TENANT:
        return answer(403, "another tenant's run")

    try:
        # As it came: its numbers may have more digits than a parser keeps. At most about 320 KB; an item holds 400 KB.
        DYNAMODB.put_item(
            TableName=TABLE,
            Item={
                "webhookId": {"S": webhook_id},
                "runId": {"S": message["runId"]},
                "body": {"S": text},
                "expiresAt": {"N": str(int(time.time()) + REMEMBERED_SECONDS)},
            },
            ConditionExpression="attribute_not_exists(webhookId)",
        )
    except DYNAMODB.exceptions.ConditionalCheckFailedException:
        return answer(200, "taken before")
    except (BotoCoreError, ClientError) as error:
        print(f"{webhook_id}: {error}")
        return answer(503, "could not be taken now", {"retry-after": "30"})
    return answer(200, "taken")


def answer(status, result, headers=None):
    if status >= 400:
        print(f"{status}: {result}")
    headers = {"content-type": "application/json", **(headers or {})}
    return {"statusCode": status, "headers": headers, "body": json.dumps({"result": result})}
