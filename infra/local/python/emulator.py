"""Starts ministack with what a developer's machine needs and it lacks: a guard at its ports, a lock at its tables, and
whole numbers in its event source mappings.

**The guard.** ministack answers requests of every origin and host, takes `test`, any twelve digits, or nothing at all for
its administrator without looking at the signature, and serves paths of its own (reset, configuration, the functions' code)
to everybody. Every web page that is open on the machine could use it, and it runs functions as local processes. Here no
request reaches it that comes from a web page, and none that shows neither this start's key (in a header, for what nobody
signs: the API's own port passes it on) nor a valid SigV4 signature by credentials that this start made. The functions'
Runtime APIs, one port each, refuse web pages too.

**The lock.** ministack's writes to a table read the item, change it and put it back, and Step Functions calls them from
threads of its own: of two at once one is lost. DynamoDB serializes the writes of an item; so does the lock, with every
other operation on tables.

**The tasks.** A task that waits for a token fails when its function does, and its timeout may be an expression, as Step Functions
has it; ministack goes on waiting, and takes a timeout as it stands.

**The numbers.** A stack's parameter of type Number reaches a mapping as text, and ministack's poller compares it with a
number: it would take no message of the queue. Lambda takes either.

It takes its settings from the environment: those of ministack, and `SLUICE_EMULATOR_KEY`, which no function inherits.
"""

import functools
import hmac
import http.server
import inspect
import json
import os
import sys
import threading

from function_credentials import execution_credentials

KEY_HEADER = "x-sluice-emulator-key"
# Asked with a function's FunctionName, FunctionArn and Role.
CREDENTIALS_PATH = "/_sluice/credentials"


def refusal_of_a_web_page(headers: list[tuple[str, str]], port: int, host_is_proven: bool = False) -> str | None:
    """Why a request may come from a web page, or None. Browsers let no page choose these headers.

    A page of another name whose address was turned to this machine (DNS rebinding) still says its own name in `Host`.
    """
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value)
    if "origin" in values:
        return "a request of a web page"
    if any(site not in ("none", "same-origin") for site in values.get("sec-fetch-site", [])):
        return "a request of another site's page"
    if not host_is_proven and values.get("host") not in ([f"127.0.0.1:{port}"], [f"localhost:{port}"]):
        return f"a request for another host than 127.0.0.1:{port}"
    return None


class Guard:
    """An ASGI application in front of ministack's."""

    def __init__(self, application, key: str, port: int, account: str, administrator: str, credentials_of):
        self.application, self.key, self.port = application, key, port
        self.account, self.administrator = account, administrator
        self.credentials_of = credentials_of

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
            return
        if scope["type"] != "http":  # A WebSocket, which nothing here uses.
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        shown = [value for name, value in headers if name == KEY_HEADER]
        has_key = len(shown) == 1 and hmac.compare_digest(shown[0].encode(), self.key.encode())
        reason = refusal_of_a_web_page(headers, self.port, host_is_proven=has_key)
        if reason is None and has_key and scope["path"] == CREDENTIALS_PATH:
            await self.tell_credentials(receive, send)
            return
        if reason is None and has_key:
            kept = [pair for pair in scope["headers"] if pair[0].decode("latin-1").lower() != KEY_HEADER]
            await self.application({**scope, "headers": kept}, receive, send)
            return
        if reason is None:
            receive, reason = await self.signed(scope, headers, receive)
        if reason is None:
            await self.application(scope, receive, send)
        else:
            await refuse(send, reason)

    async def tell_credentials(self, receive, send):
        """A function that runs beside the emulator signs as its role, which the emulator has to know."""
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            answer = json.dumps(self.credentials_of(json.loads(body))).encode()
        except (ValueError, KeyError, IndexError, TypeError):
            await refuse(send, "this is no function's configuration")
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def signed(self, scope, headers, receive):
        """A `receive` that says again what was read, and why the signature is not valid, or None."""
        from urllib.parse import parse_qs

        from ministack.core.iam_evaluator import CredentialResolutionError, is_root_access_key, resolve_credential
        from ministack.core.sigv4 import header_signature_failure, parse_header_signature, request_time_failure

        joined: dict[str, str] = {}
        for name, value in headers:
            joined[name] = f"{joined[name]},{value}" if name in joined else value
        if not joined.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
            return receive, "neither signed nor with the emulator's key"
        signature = parse_header_signature(joined)
        if isinstance(signature, tuple):
            return receive, signature[1]
        if is_root_access_key(signature.access_key_id) and signature.access_key_id != self.administrator:
            return receive, "an access key that this start did not make"
        token = joined.get("x-amz-security-token")
        credential = resolve_credential(signature.access_key_id, self.account, token)
        if isinstance(credential, CredentialResolutionError):
            return receive, credential.message
        failure = request_time_failure(signature)
        if failure:
            return receive, failure[1]
        if not {"host", "x-amz-date"} <= set(signature.signed_headers.split(";")):
            return receive, "the signature does not cover host and time"

        messages, body = [], b""
        while True:
            message = await receive()
            messages.append(message)
            body += message.get("body", b"")
            if message["type"] != "http.request" or not message.get("more_body"):
                break

        async def again():
            return messages.pop(0) if messages else await receive()

        query = parse_qs(scope.get("query_string", b"").decode(errors="replace"), keep_blank_values=True)
        path = scope["raw_path"].decode("latin-1")
        failure = header_signature_failure(
            signature, credential.secret_access_key, scope["method"], path, query, joined, body
        )
        return again, failure and failure[1]


async def refuse(send, reason: str) -> None:
    answer = json.dumps({"__type": "AccessDeniedException", "message": f"refused by the local stack: {reason}"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    headers += [(b"x-amzn-errortype", b"AccessDeniedException"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def guard_the_runtime_apis() -> None:
    """Every server of Python's own in this process is a Runtime API: no page may take an event or answer for a function."""
    parse = http.server.BaseHTTPRequestHandler.parse_request

    @functools.wraps(parse)
    def parse_and_check(handler) -> bool:
        if not parse(handler):
            return False
        reason = refusal_of_a_web_page(handler.headers.items(), handler.server.server_address[1])
        # They have no key, and browsers that say nothing of the requesting site are still in use.
        if reason is None and handler.headers.get("user-agent", "").startswith("Mozilla/"):
            reason = "a request of a browser"
        if reason is not None:
            handler.close_connection = True
            handler.send_error(403, f"refused by the local stack: {reason}")
        return reason is None

    http.server.BaseHTTPRequestHandler.parse_request = parse_and_check


def give_functions_credentials_of_this_start(secret: str):
    """What gives them, and tells the emulator whose they are."""
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc, sts

    def registered(configuration: dict) -> dict[str, str]:
        made = execution_credentials(configuration, secret)
        account = configuration["FunctionArn"].split(":")[4]
        role = configuration["Role"].rsplit("/", 1)[-1]
        session = configuration["FunctionName"][:64]
        sts.register_session(
            made["AWS_ACCESS_KEY_ID"],
            {
                "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/{session}",
                "UserId": f"{role}:{session}",
                "SecretAccessKey": made["AWS_SECRET_ACCESS_KEY"],
                "SessionToken": made["AWS_SESSION_TOKEN"],
            },
        )
        return made

    for module in (lambda_runtime, lambda_svc):
        replace(module, "execution_credentials", registered)
    return registered


# Everything that reads or writes items, as ministack's own table of operations names its functions.
TABLE_OPERATIONS = (
    "_put_item", "_get_item", "_delete_item", "_update_item", "_query", "_scan", "_batch_write_item", "_batch_get_item",
    "_transact_write_items", "_transact_get_items", "_execute_statement", "_batch_execute_statement",
    "_execute_transaction",
)  # fmt: skip


def lock_the_tables() -> None:
    from ministack.services import dynamodb

    # Operations use each other.
    lock = threading.RLock()

    def locked(operation):
        @functools.wraps(operation)
        def alone(*arguments):
            with lock:
                return operation(*arguments)

        return alone

    for name in TABLE_OPERATIONS:
        operation = getattr(dynamodb, name, None)
        if operation is None or inspect.iscoroutinefunction(operation):
            raise SystemExit(f"ministack's {name} is not what the lock was made for")
        setattr(dynamodb, name, locked(operation))


def give_mappings_whole_numbers() -> None:
    from ministack.services import lambda_svc

    of_numbers = lambda_svc._sqs_esm_concurrency

    def of_parameters(mapping, *rest):
        scaling = mapping.get("ScalingConfig") or {}
        if isinstance(scaling.get("MaximumConcurrency"), str):
            scaling["MaximumConcurrency"] = int(scaling["MaximumConcurrency"])
        return of_numbers(mapping, *rest)

    replace(lambda_svc, "_sqs_esm_concurrency", of_parameters)


def let_tasks_fail_and_time_out_as_they_should() -> None:
    """A function's error fails the task that waits for a token, and a timeout may be an expression, as on AWS."""
    from ministack.services import stepfunctions

    invoke_with_callback = stepfunctions._invoke_with_callback
    call_lambda = stepfunctions._call_lambda
    execute_task = stepfunctions._execute_task
    # The token of the task whose function this thread invokes.
    waits = threading.local()

    def invoked_with_callback(resource, input_data, token, state_def):
        waits.token = token
        try:
            return invoke_with_callback(resource, input_data, token, state_def)
        finally:
            waits.token = None

    def called(func_ref, event):
        try:
            return call_lambda(func_ref, event)
        except stepfunctions._ExecutionError as error:
            # ministack would go on waiting. Who was told by the token before stays told.
            task = stepfunctions._task_tokens.get(getattr(waits, "token", None))
            if task is not None and not task["event"].is_set():
                task["error"] = {"Error": error.error, "Cause": error.cause}
                task["event"].set()
            raise

    def executed(state_def, raw_input, execution, ctx):
        if isinstance(state_def.get("TimeoutSeconds"), str):
            seconds = stepfunctions._jsonata_state_field(state_def, "TimeoutSeconds", "number", raw_input, ctx)
            state_def = {**state_def, "TimeoutSeconds": seconds}
        return execute_task(state_def, raw_input, execution, ctx)

    replace(stepfunctions, "_invoke_with_callback", invoked_with_callback)
    replace(stepfunctions, "_call_lambda", called)
    replace(stepfunctions, "_execute_task", executed)


def replace(module, name: str, function) -> None:
    if not callable(getattr(module, name, None)):
        raise SystemExit(f"{module.__name__} has no {name}: this is not the ministack that the guard was made for")
    setattr(module, name, function)


def main() -> None:
    key = os.environ.pop("SLUICE_EMULATOR_KEY")
    guard_the_runtime_apis()
    import ministack.app

    if not ministack.app.AUTH:
        raise SystemExit("ministack runs here with AUTH=true only")
    credentials_of = give_functions_credentials_of_this_start(os.environ["AWS_SECRET_ACCESS_KEY"])
    lock_the_tables()
    give_mappings_whole_numbers()
    let_tasks_fail_and_time_out_as_they_should()
    guard = Guard(
        ministack.app.app,
        key,
        int(os.environ["GATEWAY_PORT"]),
        os.environ["MINISTACK_ACCOUNT_ID"],
        os.environ["AWS_ACCESS_KEY_ID"],
        credentials_of,
    )
    replace(ministack.app, "app", guard)
    sys.argv = ["ministack"]
    ministack.app.main()


if __name__ == "__main__":
    main()
