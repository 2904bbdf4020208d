"""The same as create-run, written for this comparison with boto3: read, record, start. Nothing of it is deployed.

A Lambda runtime in Python does what `serve` does: it takes an event from the Runtime API, calls the handler, hands back what it
returns. The items to read are those that create-run reads, given by the benchmark.
"""

import hashlib
import http.client
import json
import os
import sys
import time
import uuid

import boto3
from botocore.config import Config

TABLE = os.environ["SLUICE_TABLE"]
RUNNER_ARN = os.environ["SLUICE_RUNNER_ARN"]
READ = json.loads(os.environ["BENCHMARK_READ"])
CONFIG = Config(connect_timeout=1.5, read_timeout=2.5, retries={"mode": "standard", "max_attempts": 3})

dynamodb = boto3.client("dynamodb", config=CONFIG)
states = boto3.client("stepfunctions", config=CONFIG)


def read():
    items = dynamodb.batch_get_item(RequestItems=READ)["Responses"][TABLE]
    return {item["pk"]["S"] + "|" + item["sk"]["S"]: item for item in items}


def record(tenant, run_id, body, found, now):
    pk = f"T#{tenant}#RUN#{run_id}"
    times = {"createdAt": {"S": now}, "updatedAt": {"S": now}}
    head = {
        "pk": {"S": pk},
        "sk": {"S": "HEAD"},
        "status": {"S": "PENDING"},
        "name": {"S": body.get("name", "")},
        "tenantKey": {"S": f"T#{tenant}"},
        "timeKey": {"S": f"{now}#{run_id}"},
        "statusKey": {"S": f"T#{tenant}#PENDING"},
        "rev": {"N": "1"},
        **times,
    }
    snapshot = json.dumps({"request": body, "found": sorted(found)}, separators=(",", ":"))
    digest = hashlib.sha256(snapshot.encode()).hexdigest()
    parts = {
        "HEAD": head,
        "REQUEST": {"pk": {"S": pk}, "sk": {"S": "REQUEST"}, "body": {"S": json.dumps(body)}},
        "SNAPSHOT": {"pk": {"S": pk}, "sk": {"S": "SNAPSHOT"}, "text": {"S": snapshot}, "hash": {"S": digest}},
    }
    puts = [
        {"Put": {"TableName": TABLE, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}}
        for item in parts.values()
    ]
    dynamodb.transact_write_items(TransactItems=puts, ClientRequestToken=str(uuid.uuid4()))
    return pk


def handle(event):
    body = json.loads(event["body"])
    tenant = event["requestContext"]["authorizer"]["jwt"]["claims"]["tenant_id"]
    definition = body["workflowInstanceConfiguration"]["workflowDefinitionId"]
    if not isinstance(definition, str) or not isinstance(body.get("dataSources", {}), dict):
        return {"statusCode": 400, "body": "{}"}
    run_id = str(uuid.uuid4())
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    found = read()
    if not found:
        return {"statusCode": 400, "body": "{}"}
    pk = record(tenant, run_id, body, found, now)
    execution = {"specVersion": "1", "runId": run_id, "tenantId": tenant, "record": {"pk": pk}, "request": body}
    states.start_execution(stateMachineArn=RUNNER_ARN, name=run_id, input=json.dumps(execution))
    print(json.dumps({"level": "INFO", "message": "run created", "run.id": run_id, "tenant.id": tenant}), flush=True)
    answer = {"runId": run_id, "status": "PENDING", "createdAt": now}
    headers = {"content-type": "application/json", "location": f"/v1/workflow-runs/{run_id}"}
    return {"statusCode": 201, "headers": headers, "body": json.dumps(answer), "isBase64Encoded": False}


def serve():
    runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    paths = "/2018-06-01/runtime/invocation/"
    while True:
        runtime.request("GET", paths + "next")
        response = runtime.getresponse()
        request_id = response.headers["lambda-runtime-aws-request-id"]
        event = json.loads(response.read())
        try:
            answer, path = handle(event), "response"
        except Exception as error:  # As a runtime does: the function failed, not the process.
            answer, path = {"errorType": type(error).__name__, "errorMessage": str(error)}, "error"
        runtime.request("POST", paths + request_id + "/" + path, body=json.dumps(answer).encode())
        runtime.getresponse().read()


if __name__ == "__main__":
    sys.exit(serve())
