"""What the local stack needs from Python, driven by JSON lines: boto3, botocore's SigV4, RSA tokens, zip files.

One request per line on standard input, `{"id": 1, "op": "...", ...}`; one answer per line on standard output, in the
order in which they are done: `{"id": 1, "ok": ...}` or `{"id": 1, "error": {"code": ..., "message": ...}}`. It ends when
its standard input does. Everything that decides or shows something is on the Rust side; this side only carries it out.

Bytes travel as `{"$base64": "..."}`; in requests `{"$file": "PATH"}` stands for a file's content.
"""

import base64
import collections
import concurrent.futures
import datetime
import decimal
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
import zipfile

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.response import StreamingBody

from function_credentials import execution_credentials

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
REGION = os.environ["AWS_REGION"]
ADMINISTRATOR = {
    "accessKeyId": os.environ["AWS_ACCESS_KEY_ID"],
    "secretAccessKey": os.environ["AWS_SECRET_ACCESS_KEY"],
    "sessionToken": None,
}


class Refused(Exception):
    """Something this program was asked for and cannot do."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


# --- AWS calls ---------------------------------------------------------------------------------------------------

_clients: dict = {}
_clients_lock = threading.Lock()


def client(service: str, credentials: dict):
    key = (service, credentials["accessKeyId"], credentials["sessionToken"])
    # Creating boto3 clients is not thread-safe; using them is.
    with _clients_lock:
        if key not in _clients:
            _clients[key] = boto3.session.Session().client(
                service,
                region_name=REGION,
                endpoint_url=ENDPOINT,
                aws_access_key_id=credentials["accessKeyId"],
                aws_secret_access_key=credentials["secretAccessKey"],
                aws_session_token=credentials["sessionToken"],
                # One try: a test that counts calls must see each of them.
                config=Config(
                    retries={"total_max_attempts": 1},
                    connect_timeout=5,
                    read_timeout=130,
                    max_pool_connections=64,
                    s3={"addressing_style": "path"},
                ),
            )
        return _clients[key]


def decoded(value):
    if isinstance(value, dict):
        if set(value) == {"$base64"}:
            return base64.b64decode(value["$base64"])
        if set(value) == {"$file"}:
            with open(value["$file"], "rb") as file:
                return file.read()
        return {name: decoded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [decoded(item) for item in value]
    return value


def encoded(value):
    if isinstance(value, dict):
        return {name: encoded(item) for name, item in value.items() if name != "ResponseMetadata"}
    if isinstance(value, (list, tuple, set)):
        return [encoded(item) for item in value]
    if isinstance(value, StreamingBody):
        value = value.read()
    if isinstance(value, (bytes, bytearray)):
        return {"$base64": base64.b64encode(value).decode()}
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, decimal.Decimal):
        return str(value)
    return value


def aws(request: dict):
    credentials = request.get("credentials") or ADMINISTRATOR
    method = getattr(client(request["service"], credentials), request["operation"])
    return encoded(method(**decoded(request["params"])))


# --- SigV4, by botocore ------------------------------------------------------------------------------------------


def sign(request: dict):
    """The headers with which the given request is a signed one."""
    credentials = request.get("credentials") or ADMINISTRATOR
    message = AWSRequest(
        method=request["method"],
        url=request["url"],
        data=decoded(request["body"]),
        headers=dict(request["headers"]),
    )
    SigV4Auth(
        Credentials(credentials["accessKeyId"], credentials["secretAccessKey"], credentials["sessionToken"]),
        request["service"],
        REGION,
    ).add_auth(message)
    return [[name, value] for name, value in message.headers.items()]


def function_credentials(access_key_id: str):
    """The function that signs with this key, and its role's credentials.

    They are made here once more, as the emulator made them; that they are the ones the running ministack knows, and whose
    they are, is asked of it by a signed sts:GetCallerIdentity.
    """
    for page in client("lambda", ADMINISTRATOR).get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            found = execution_credentials(function, ADMINISTRATOR["secretAccessKey"])
            if found["AWS_ACCESS_KEY_ID"] == access_key_id:
                credentials = {
                    "accessKeyId": found["AWS_ACCESS_KEY_ID"],
                    "secretAccessKey": found["AWS_SECRET_ACCESS_KEY"],
                    "sessionToken": found["AWS_SESSION_TOKEN"],
                }
                identity = client("sts", credentials).get_caller_identity()
                return credentials, identity["Arn"]
    raise Refused("UnknownAccessKey", f"no deployed function signs with the access key {access_key_id}")


_known_signers: dict = {}


def signer(access_key_id: str):
    if access_key_id not in _known_signers:
        _known_signers[access_key_id] = function_credentials(access_key_id)
    return _known_signers[access_key_id]


def authorization_parts(header: str) -> dict:
    algorithm, _, rest = header.partition(" ")
    if algorithm != "AWS4-HMAC-SHA256":
        raise Refused("NotSigned", f"the Authorization header is not AWS4-HMAC-SHA256 but {algorithm!r}")
    parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    if not {"Credential", "SignedHeaders", "Signature"} <= set(parts):
        raise Refused("NotSigned", "the Authorization header lacks Credential, SignedHeaders or Signature")
    return parts


def verify(request: dict):
    """Whether the request carries a valid SigV4 signature of a deployed function over everything it must cover.

    The signature is computed anew by botocore's own SigV4Auth from what arrived, and only from the headers that the
    request says it signed. The answer lists everything that is wrong; an empty list means verified.
    """
    problems: list = []
    body = decoded(request["body"])
    headers: dict = {}
    for name, value in request["headers"]:
        name = name.lower()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    answer = {"verified": False, "problems": problems, "signer": None, "signedHeaders": []}
    if "authorization" not in headers:
        problems.append("there is no Authorization header")
        return answer
    try:
        parts = authorization_parts(headers["authorization"])
        scope = parts["Credential"].split("/")
        if len(scope) != 5:
            raise Refused("NotSigned", f"the credential scope {parts['Credential']!r} has not five parts")
        access_key_id, date, region, service, terminator = scope
        signed = parts["SignedHeaders"].split(";")
        answer["signedHeaders"] = signed
        credentials, answer["signer"] = (
            (request["credentials"], "given") if request.get("credentials") else signer(access_key_id)
        )
    except (Refused, ClientError, ValueError) as error:
        problems.append(str(error))
        return answer

    timestamp = headers.get("x-amz-date", "")
    expected_scope = [timestamp[:8], request["region"], request["service"], "aws4_request"]
    if [date, region, service, terminator] != expected_scope:
        problems.append(f"the credential scope is {'/'.join(scope[1:])}, expected {'/'.join(expected_scope)}")
    if headers.get("x-amz-security-token") != credentials["sessionToken"]:
        problems.append("x-amz-security-token is not the signer's session token")
    payload_hash = hashlib.sha256(body).hexdigest()
    if headers.get("x-amz-content-sha256", payload_hash) != payload_hash:
        problems.append("x-amz-content-sha256 is not the hash of the body")
    must_be_signed = {"host", "x-amz-date", "x-amz-security-token", *request["requiredHeaders"]}
    must_be_signed |= {"content-type", "x-amz-content-sha256"} & set(headers)
    must_be_signed |= {name for name in headers if name.startswith(("webhook-", "sluice-"))}
    for name in sorted(must_be_signed):
        if name not in headers:
            problems.append(f"the header {name} is missing")
        elif name not in signed:
            problems.append(f"the header {name} is not signed")
    missing = [name for name in signed if name not in headers]
    if missing:
        problems.append(f"signed but not sent: {', '.join(missing)}")
        return answer
    try:
        signed_at = datetime.datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        age = abs(request["receivedAtMs"] / 1000 - signed_at.timestamp())
        if age > 300:
            problems.append(f"the signature is {age:.0f} s old; AWS allows 300 s")
    except ValueError:
        problems.append("x-amz-date is missing or not a basic-format time")
        return answer

    message = AWSRequest(
        method=request["method"],
        url=f"http://{headers['host']}{request['target']}",
        data=body,
        headers={name: headers[name] for name in signed},
    )
    message.context["timestamp"] = timestamp
    auth = SigV4Auth(
        Credentials(access_key_id, credentials["secretAccessKey"], credentials["sessionToken"]),
        request["service"],
        request["region"],
    )
    computed = auth.signature(auth.string_to_sign(message, auth.canonical_request(message)), message)
    if not hmac.compare_digest(computed, parts["Signature"]):
        problems.append("the signature does not match: botocore computes another one for this request")
    answer["verified"] = not problems
    return answer


# --- The issuer's key and tokens ---------------------------------------------------------------------------------

_issuer_key = None
_issuer_key_lock = threading.Lock()


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def issuer_key():
    global _issuer_key
    from cryptography.hazmat.primitives.asymmetric import rsa

    with _issuer_key_lock:
        if _issuer_key is None:
            _issuer_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return _issuer_key


def jwks(_request: dict):
    numbers = issuer_key().public_key().public_numbers()
    modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
    exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")
    key_id = hashlib.sha256(modulus).hexdigest()[:16]
    key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id, "n": base64url(modulus), "e": base64url(exponent)}
    return {"keys": [key]}


def mint(request: dict):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    header = {"alg": "RS256", "typ": "JWT", "kid": jwks({})["keys"][0]["kid"]}
    now = int(time.time())
    claims = {**request["claims"], "iat": now - 1, "exp": now + request["lifetimeSeconds"]}
    signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    signature = issuer_key().sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{base64url(signature)}"


# --- Packages and templates --------------------------------------------------------------------------------------


def package(request: dict):
    """A Lambda zip of one binary, named by its content; nothing is done twice for the same binary."""
    binary, directory = request["binary"], request["directory"]
    os.makedirs(directory, exist_ok=True)
    base = os.path.join(directory, os.path.basename(binary))
    found = os.stat(binary)
    source = [found.st_size, found.st_mtime_ns, found.st_ino]
    note = f"{base}.json"
    try:
        with open(note, encoding="utf-8") as file:
            known = json.load(file)
        if known["source"] == source and os.path.exists(known["package"]["path"]):
            return known["package"]
    except (OSError, ValueError, KeyError):
        pass

    unfinished = f"{base}.{os.getpid()}"
    stripped = f"{unfinished}.stripped"
    try:
        # Debug information makes the binaries ten times larger and says nothing inside a function.
        made = request["strip"] and subprocess.run(
            ["strip", "-o", stripped, binary], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ).returncode == 0
        with open(stripped if made else binary, "rb") as file:
            content = file.read()
    except FileNotFoundError:  # There is no `strip` on this machine.
        with open(binary, "rb") as file:
            content = file.read()
    finally:
        if os.path.exists(stripped):
            os.remove(stripped)
    entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o100755 << 16
    entry.create_system = 3
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(unfinished, "w") as archive:
        archive.writestr(entry, content, compresslevel=1)
    with open(unfinished, "rb") as file:
        digest = hashlib.sha256(file.read()).digest()
    name = f"{os.path.basename(binary)}-{digest.hex()[:20]}.zip"
    os.replace(unfinished, os.path.join(directory, name))
    # What earlier builds left behind. The hour is for another stack that is about to upload its own.
    for other in os.listdir(directory):
        old = os.path.join(directory, other)
        if other.startswith(f"{os.path.basename(binary)}-") and os.path.getmtime(old) < time.time() - 3600:
            os.remove(old)
    result = {"path": os.path.join(directory, name), "name": name, "codeSha256": base64.b64encode(digest).decode()}
    with open(unfinished, "w", encoding="utf-8") as file:
        json.dump({"source": source, "package": result}, file)
    os.replace(unfinished, note)
    return result


def template(request: dict):
    """The template as JSON, its short-form functions written out."""
    from samtranslator.yaml_helper import yaml_parse

    with open(request["path"], encoding="utf-8") as file:
        document = yaml_parse(file.read())
    # A bare version such as 2010-09-09 is a date to YAML.
    return json.loads(json.dumps(document, default=str))


# --- The functions' log ------------------------------------------------------------------------------------------


def follow_logs(request: dict):
    """Appends what the functions log to a file, about once a second, as long as this program runs."""

    # ministack gives an event no id, so one is told from another by its place, time and text, and by how often it came.
    overlap_ms = 2_000

    def follow() -> None:
        logs = client("logs", ADMINISTRATOR)
        newest: dict = {}
        known: dict = {}
        with open(request["path"], "a", buffering=1, encoding="utf-8") as file:
            while True:
                try:
                    lines = []
                    for group in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]:
                        name = group["logGroupName"]
                        since = max(newest.get(name, 0) - overlap_ms, 0)
                        found: collections.Counter = collections.Counter()
                        for event in logs.filter_log_events(logGroupName=name, startTime=since)["events"]:
                            what = (event["logStreamName"], event["timestamp"], event["message"])
                            found[what] += 1
                            if found[what] <= known.get(name, {}).get(what, 0):
                                continue
                            newest[name] = max(newest.get(name, 0), event["timestamp"])
                            text = event["message"].rstrip()
                            if not text.startswith(("START ", "END ", "REPORT ")):
                                lines.append((event["timestamp"], name.rsplit("/", 1)[-1], text))
                        known[name] = found
                    for _, name, text in sorted(lines):
                        file.write(f"{name}  {text}\n")
                except (ClientError, BotoCoreError):
                    pass
                time.sleep(1)

    threading.Thread(target=follow, daemon=True).start()
    return None


OPERATIONS = {
    "aws": aws,
    "sign": sign,
    "verify": verify,
    "jwks": jwks,
    "mint": mint,
    "package": package,
    "template": template,
    "followLogs": follow_logs,
}


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    answers_lock = threading.Lock()
    # Whatever a library prints belongs in the log, not among the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def carry_out(request: dict) -> None:
        try:
            answer = {"ok": OPERATIONS[request["op"]](request)}
        except ClientError as error:
            found = error.response.get("Error", {})
            detail = {name: value for name, value in error.response.items() if name not in ("Error", "ResponseMetadata")}
            answer = {
                "error": {
                    "code": found.get("Code", "Unknown"),
                    "message": found.get("Message", str(error)),
                    "status": error.response.get("ResponseMetadata", {}).get("HTTPStatusCode"),
                    "detail": encoded(detail),
                }
            }
        except Refused as error:
            answer = {"error": {"code": error.code, "message": str(error)}}
        except Exception as error:  # Anything else is reported as well: a request must not stay without an answer.
            answer = {"error": {"code": type(error).__name__, "message": str(error)}}
        line = json.dumps({"id": request["id"], **answer}, default=str)
        with answers_lock:
            answers.write(line + "\n")
            answers.flush()

    with concurrent.futures.ThreadPoolExecutor(max_workers=48) as pool:
        for line in sys.stdin:
            pool.submit(carry_out, json.loads(line))
        # Calls still under way have nobody left to answer to.
        os._exit(0)


if __name__ == "__main__":
    import signal

    # Ctrl-C is for the program on the other side of the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
