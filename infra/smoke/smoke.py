"""Tries a deployed Sluice: a Lambda node, an external node, a pause, a cancel and a webhook; says what passed.

On an account, with the credentials of an operator (see ../first-hour.md):

    python3 infra/smoke/smoke.py --stack sluice-try --region eu-west-1

It needs boto3 and nothing else. It makes a role and two small functions (a processor and a receiver with a Function URL), and
takes everything away again unless it is told --keep. What belongs to Sluice (a processor, a definition, runs) stays: the stack is
one to throw away.

Elsewhere than on an account (AWS_ENDPOINT_URL says where), callers are told apart by a header, and the receiver is given:

    python3 infra/smoke/smoke.py --stack sluice --region us-east-1 --api-url http://127.0.0.1:8787 \
        --operator-header 'x-dev-tenant: dev' --caller-header 'x-dev-tenant: smoke' --receiver-url http://127.0.0.1:9000/hook

The exit status is 0 when every check passed, 1 when one failed, 2 when the script could not do its work.
"""

import argparse
import io
import json
import secrets
import sys
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
import zipfile

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

# No double holds the first number, and no double is written like the others.
EXACT = '{"approved":true,"id":9007199254740993,"price":1.10,"most":1E+2,"least":-0}'
DIGITS = ("9007199254740993", "1.10", "1E+2", "-0")

FUNCTION = '''
import json, os

def process(event, _context):
    if event["params"].get("fail"):
        raise ValueError("told to fail")
    return {"input": event["input"], "inputs": event["inputs"], "attempt": event["attempt"]}

def receive(event, _context):
    signer = event["requestContext"].get("authorizer", {}).get("iam", {}).get("userArn", "")
    told = json.loads(event["body"])
    print(json.dumps({"signer": signer, "runId": told["runId"], "status": told["status"]}))
    return {"statusCode": 200 if "/" + os.environ["SENDER"] + "/" in signer else 403}
'''


class Failed(Exception):
    """A check found something else than it should have."""


def expect(holds, what):
    if not holds:
        raise Failed(what)


def eventually(what, look, patience=120.0, every=1.0):
    """What `look` gives, once that is something."""
    until = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        expect(time.monotonic() < until, f"waited {patience:.0f} s in vain for {what}")
        time.sleep(every)


class Api:
    """Sluice's API: signed requests on an account, a header per caller elsewhere."""

    def __init__(self, url, session, region, headers):
        self.url, self.session, self.region, self.headers = url.rstrip("/"), session, region, headers

    def ask(self, method, path, body=None, expected=(200, 201, 202)):
        raw = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
        request = AWSRequest(method, self.url + path, data=raw, headers={"content-type": "application/json"} if raw else {})
        if self.headers:
            for name, value in self.headers.items():
                request.headers[name] = value
        else:
            SigV4Auth(self.session.get_credentials(), "execute-api", self.region).add_auth(request)
        sent = urllib.request.Request(self.url + path, data=raw, headers=dict(request.headers.items()), method=method)
        try:
            with urllib.request.urlopen(sent, timeout=40) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            status, text = refused.code, refused.read().decode()
        expect(status in expected, f"{method} {path}: {status} {text[:1000]}")
        return text

    def get(self, path):
        return json.loads(self.ask("GET", path))

    def post(self, path, body=None):
        return json.loads(self.ask("POST", path, body) or "null")


class Helpers:
    """What the script makes beside Sluice, and takes away again."""

    def __init__(self, session, options, sender):
        self.iam, self.lambdas = session.client("iam"), session.client("lambda")
        self.partition = session.get_partition_for_region(options.region)
        self.suffix = secrets.token_hex(4)
        self.role = f"{options.stack}-smoke-{self.suffix}"
        self.sender = sender
        self.undo = []

    def make_role(self):
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
        made = self.iam.create_role(RoleName=self.role, AssumeRolePolicyDocument=json.dumps(trust))
        self.undo.append(lambda: self.iam.delete_role(RoleName=self.role))
        logs = f"arn:{self.partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
        self.iam.attach_role_policy(RoleName=self.role, PolicyArn=logs)
        self.undo.append(lambda: self.iam.detach_role_policy(RoleName=self.role, PolicyArn=logs))
        return made["Role"]["Arn"]

    def make_function(self, role, name, handler, tags):
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("smoke.py", FUNCTION)

        def create():
            try:
                return self.lambdas.create_function(
                    FunctionName=name, Runtime="python3.13", Handler=f"smoke.{handler}", Role=role, Timeout=10, Tags=tags,
                    Code={"ZipFile": code.getvalue()}, Environment={"Variables": {"SENDER": self.sender}},
                )
            except self.lambdas.exceptions.InvalidParameterValueException:
                return None  # IAM has not told Lambda of the role yet.

        made = eventually(f"Lambda to take the role {self.role}", create, every=2.0)
        self.undo.append(lambda: self.lambdas.delete_function(FunctionName=name))
        self.lambdas.get_waiter("function_active_v2").wait(FunctionName=name)
        return made["FunctionArn"]

    def make_url(self, name):
        made = self.lambdas.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")
        self.undo.append(lambda: self.lambdas.delete_function_url_config(FunctionName=name))
        return made["FunctionUrl"]

    def take_away(self):
        for undo in reversed(self.undo):
            try:
                undo()
            except ClientError as error:
                print(f"  left behind: {error}")


class Smoke:
    def __init__(self, options):
        self.options = options
        self.session = boto3.Session(region_name=options.region)
        self.outputs = self.stack_outputs()
        url = options.api_url or self.outputs["ApiUrl"]
        self.operator = Api(url, self.session, options.region, header(options.operator_header))
        self.caller = Api(url, self.session, options.region, header(options.caller_header))
        sender = self.session.client("lambda").get_function_configuration(FunctionName=self.outputs["RunCallbackFunctionName"])
        # `…:role/NAME` calls as `…:assumed-role/NAME/…`.
        self.helpers = Helpers(self.session, options, sender["Role"].rsplit("/", 1)[-1])
        self.name = f"smoke-{self.helpers.suffix}"
        self.passed, self.failed = [], []

    def stack_outputs(self):
        found = self.session.client("cloudformation").describe_stacks(StackName=self.options.stack)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}

    def check(self, name, run):
        started = time.monotonic()
        try:
            said = run()
        except (Failed, ClientError, OSError, KeyError, ValueError) as error:
            self.failed.append(name)
            print(f"FAILED  {name}: {error!r}" if not isinstance(error, Failed) else f"FAILED  {name}: {error}", flush=True)
        else:
            self.passed.append(name)
            print(f"passed  {name} ({time.monotonic() - started:.1f} s){': ' + said if said else ''}", flush=True)

    # ---- the way there

    def prepare(self):
        role = self.helpers.make_role()
        processor = f"sluice-processor-{self.name}"
        arn = self.helpers.make_function(role, processor, "process", {})
        self.receiver = self.options.receiver_url
        if not self.receiver:
            # The tag is what lets run-callback call a function of its own account.
            name = f"sluice-receiver-{self.name}"
            self.helpers.make_function(role, name, "receive", {"sluice-receiver": "true"})
            self.receiver = self.helpers.make_url(name).rstrip("/") + "/hook"
        tenants = {"kind": "lambda", "functionArn": arn, "tenants": ["*"], "description": "Made by infra/smoke"}
        self.operator.ask("PUT", f"/v1/processors/{self.name}", tenants)
        if not self.options.receiver_url:
            tenant = boto3.client("sts", region_name=self.options.region).get_caller_identity()["Account"]
            parts = urllib.parse.urlsplit(self.receiver)
            self.operator.ask("PUT", f"/v1/tenants/{tenant}", {"destinations": [f"{parts.scheme}://{parts.netloc}"]})
        work = {"id": "work", "type": "processor", "processor": self.name, "parameters": {"fail": {"type": "boolean", "default": False}}}
        nodes = [{"id": "ask", "type": "external"}, work, {"id": "check", "type": "external"}]
        edges = [{"from": "ask", "to": "work"}, {"from": "work", "to": "check"}]
        self.caller.post("/v1/workflow-definitions", {"name": self.name})
        self.caller.post(f"/v1/workflow-definitions/{self.name}/versions", {"nodes": nodes, "edges": edges, "activate": True})

    def start(self, **fields):
        return self.caller.post(f"/v1/workflow-definitions/{self.name}/invoke", fields)["id"]

    def run_in(self, run_id, *statuses):
        def look():
            run = self.caller.get(f"/v1/workflow-runs/{run_id}")
            ended = run["status"] in ("SUCCEEDED", "FAILED", "CANCELED")
            expect(run["status"] in statuses or not ended, f"run {run_id} ended {run['status']}: {run.get('error')}")
            return run if run["status"] in statuses else None

        return eventually(f"run {run_id} to be {' or '.join(statuses)}", look)

    def answer(self, run_id, node, text='{"approved":true}'):
        """Answers a node once it waits."""
        path = f"/v1/workflow-runs/{run_id}/steps/{node}"
        eventually(f"{node} to wait", lambda: self.caller.get(path)["status"] == "WAITING")
        self.caller.ask("POST", f"/v1/workflow-runs/{run_id}/data", f'{{"nodeId":"{node}","data":{text}}}')

    # ---- the checks

    def lambda_and_external(self):
        """A Lambda node gets what an external node was answered, and both results are kept."""
        self.first = self.start(input={"title": "é😀"}, completionCallbackUrl=self.receiver, completionCallbackContext={"n": 1})
        self.answer(self.first, "ask")
        self.answer(self.first, "check", EXACT)
        self.run_in(self.first, "SUCCEEDED")
        work = self.caller.get(f"/v1/workflow-runs/{self.first}/steps/work")["result"]
        expect(work["inputs"]["ask"] == {"approved": True} and work["input"] == {"title": "é😀"}, f"the processor got {work}")

    def exact_numbers(self):
        """Numbers of an answer come back as they were written, in the step and in the run's output."""
        for path in (f"/v1/workflow-runs/{self.first}/steps/check", f"/v1/workflow-runs/{self.first}"):
            text = self.caller.ask("GET", path)
            lost = [digits for digits in DIGITS if f":{digits}" not in text.replace(" ", "")]
            expect(not lost, f"GET {path} lost {lost}")

    def webhook(self):
        """The end of the first run was delivered."""

        def look():
            found = self.caller.get(f"/v1/workflow-runs/{self.first}/deliveries")["deliveries"]
            hooks = [delivery for delivery in found if delivery["channel"] == "webhook"]
            expect(hooks, f"the run owes no webhook: {found}")
            expect(hooks[0]["status"] != "DEAD_LETTERED", f"given up: {hooks[0]}")
            return hooks[0] if hooks[0]["status"] == "DELIVERED" else None

        delivery = eventually("the webhook to be delivered", look, patience=180.0)
        return f"after {delivery['attempts']} attempt(s)" if isinstance(delivery.get("attempts"), int) else None

    def pause(self):
        """A pause holds the run at the next stage, a resume lets it go on."""
        run_id = self.start()
        self.run_in(run_id, "WAITING_FOR_INPUT")
        self.caller.post(f"/v1/workflow-runs/{run_id}/pause")
        self.answer(run_id, "ask")
        self.run_in(run_id, "PAUSED")
        self.caller.post(f"/v1/workflow-runs/{run_id}/resume")
        self.answer(run_id, "check")
        self.run_in(run_id, "SUCCEEDED")

    def cancel(self):
        """A cancel stops the execution and ends the run."""
        run_id = self.start()
        self.run_in(run_id, "WAITING_FOR_INPUT")
        self.caller.post(f"/v1/workflow-runs/{run_id}/cancel")
        run = self.run_in(run_id, "CANCELED")
        expect(run["terminationReason"] == "canceled_by_caller", f"the reason is {run['terminationReason']}")

    def failure(self):
        """A function's failure shows its type and its message."""
        run_id = self.start(processorParams={"work": {"fail": True}})
        self.answer(run_id, "ask")
        self.run_in(run_id, "FAILED")
        error = self.caller.get(f"/v1/workflow-runs/{run_id}/steps/work")["error"]
        # The emulator of the local stack calls whatever a function raises Runtime.HandlerError.
        is_type = error["code"] in ("ValueError", "Runtime.HandlerError")
        expect(is_type and error["message"] == "told to fail", f"it shows {error}")

    # ---- what only an account can tell

    def observe(self):
        """Says, and judges nothing."""
        print("\nWhat only an account can tell (see infra/first-hour.md):")
        states = self.session.client("stepfunctions")
        execution = self.outputs["RunnerArn"].replace(":stateMachine:", ":execution:") + ":" + self.first
        try:
            states.stop_execution(executionArn=execution)
            print("  StopExecution of an ended execution: no error")
        except ClientError as error:
            print(f"  StopExecution of an ended execution: {error.response['Error']}")
        large = self.start(input={"text": "é" * 57_000})
        self.answer(large, "ask")
        self.answer(large, "check")
        self.run_in(large, "SUCCEEDED")
        events = []
        for page in states.get_paginator("get_execution_history").paginate(executionArn=execution.rsplit(":", 1)[0] + ":" + large):
            events += page["events"]
        for name in ("Claim", "RecordStart", "RecordResult"):
            entered = [event for event in events if event.get("stateEnteredEventDetails", {}).get("name") == name]
            exited = [event for event in events if event.get("stateExitedEventDetails", {}).get("name") == name]
            spans = [(b["timestamp"] - a["timestamp"]).total_seconds() for a, b in zip(entered, exited)]
            print(f"  {name} with an input of 114,000 bytes: {', '.join(f'{span:.2f} s' for span in spans) or 'not seen'}")
        events = self.session.client("cloudformation").describe_stack_events(StackName=self.options.stack)["StackEvents"]
        runner = [event for event in events if event["LogicalResourceId"] == "Runner"]
        for event in reversed(runner):
            print(f"  Runner {event['Timestamp']} {event['ResourceStatus']} {event.get('ResourceStatusReason', '')}")

    def go(self):
        try:
            self.check("helpers are made and declared", self.prepare)
            if not self.failed:
                self.check("a Lambda node and an external node", self.lambda_and_external)
            if not self.failed:
                self.check("numbers as they were written", self.exact_numbers)
                self.check("a webhook", self.webhook)
                self.check("a pause", self.pause)
                self.check("a cancel", self.cancel)
                self.check("a failure's type and message", self.failure)
                if self.options.observe:
                    self.check("observations", self.observe)
        finally:
            if self.options.keep:
                print(f"\nkept: role {self.helpers.role}, functions of {self.name}")
            else:
                self.helpers.take_away()
        print(f"\n{len(self.passed)} passed, {len(self.failed)} failed{': ' + ', '.join(self.failed) if self.failed else ''}")
        return 1 if self.failed else 0


def header(text):
    """`name: value` as a header."""
    if not text:
        return {}
    name, value = text.split(":", 1)
    return {name.strip(): value.strip()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--stack", required=True, help="the stack's name")
    parser.add_argument("--region", required=True)
    parser.add_argument("--keep", action="store_true", help="leave the role and the functions where they are")
    parser.add_argument("--observe", action="store_true", help="also print what only an account can tell")
    parser.add_argument("--api-url", help="instead of the stack's ApiUrl")
    parser.add_argument("--operator-header", help="'name: value' that makes the caller the operator, instead of a signature")
    parser.add_argument("--caller-header", help="'name: value' that makes the caller a tenant, instead of a signature")
    parser.add_argument("--receiver-url", help="a receiver that is there already")
    try:
        return Smoke(parser.parse_args()).go()
    except Exception:  # What nobody foresaw is no verdict on Sluice.
        traceback.print_exc()
        return 2


if __name__ == "__main__":
    sys.exit(main())
