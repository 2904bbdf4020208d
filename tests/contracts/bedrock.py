"""What boto3, as it is, makes of the stand-in for Bedrock, which it finds by variables only.

Writes {"usage": [[context, output], ...], "errors": {what: type}, "texts": [[whole, streamed], ...]}: the usage of every call that
was served, in their order.
"""

import json
import sys

import boto3
from botocore.config import Config

CLAUDE = "anthropic.claude-haiku-4-5-20251001-v1:0"
PROFILE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
ARN = f"arn:aws:bedrock:us-east-1::foundation-model/{CLAUDE}"

client = boto3.client("bedrock-runtime", config=Config(retries={"total_max_attempts": 1}))
usage: list = []
errors: dict = {}
texts: list = []


def asked(text, **more):
    return {"messages": [{"role": "user", "content": [{"text": text}]}], "inferenceConfig": {"maxTokens": 60}, **more}


def told(found):
    cached = found["cacheReadInputTokens"] + found["cacheWriteInputTokens"]
    usage.append([found["inputTokens"] + cached, found["outputTokens"]])


def streamed(response):
    text = ""
    for event in response["stream"]:
        text += event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
        if "metadata" in event:
            told(event["metadata"]["usage"])
    return text


def refused(what, call):
    try:
        call()
        errors[what] = None
    except Exception as error:  # whatever it is: its type is the answer
        answered = getattr(error, "response", None) or {}
        errors[what] = answered.get("Error", {}).get("Code") or type(error).__name__


for model in (CLAUDE, PROFILE, ARN):
    body = asked("Say something. [[bedrock tokens=max]]")
    whole = client.converse(modelId=model, **body)
    assert whole["stopReason"] == "max_tokens", whole
    told(whole["usage"])
    text = whole["output"]["message"]["content"][0]["text"]
    texts.append([text, streamed(client.converse_stream(modelId=model, **body))])

# The cache: written, then read.
cached = [{"text": "word " * 40}, {"cachePoint": {"type": "default"}}]
for _ in range(2):
    told(client.converse(modelId=CLAUDE, **asked("And now?", system=cached))["usage"])

body = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Say something. \u00e9\ufdfa"}],
}
response = client.invoke_model(modelId=PROFILE, body=json.dumps(body))
headers = response["ResponseMetadata"]["HTTPHeaders"]
usage.append([int(headers[f"x-amzn-bedrock-{kind}-token-count"]) for kind in ("input", "output")])
whole = json.loads(response["body"].read())["content"][0]["text"]
text, metrics = "", {}
for event in client.invoke_model_with_response_stream(modelId=PROFILE, body=json.dumps(body))["body"]:
    chunk = json.loads(event["chunk"]["bytes"])
    text += chunk.get("delta", {}).get("text", "")
    metrics = chunk.get("amazon-bedrock-invocationMetrics", metrics)
usage.append([metrics["inputTokenCount"], metrics["outputTokenCount"]])
texts.append([whole, text])

question = {"converse": {"messages": [{"role": "user", "content": [{"text": "How many?"}]}]}}
counted = client.count_tokens(modelId=CLAUDE, input=question)["inputTokens"]
told(client.converse(modelId=CLAUDE, messages=question["converse"]["messages"], inferenceConfig={"maxTokens": 9})["usage"])
assert counted == usage[-1][0], (counted, usage)

for code in ("400", "403", "404", "408", "424", "429", "ModelNotReadyException", "500", "503"):
    refused(code, lambda: client.converse(modelId=CLAUDE, **asked(f"[[bedrock error={code}]]")))
for name in ("throttlingException", "modelStreamErrorException"):
    words = asked(f"[[bedrock exception={name}]]")
    refused(name, lambda: streamed(client.converse_stream(modelId=CLAUDE, **words)))
refused("abort", lambda: streamed(client.converse_stream(modelId=CLAUDE, **asked("[[bedrock abort]]"))))
refused("reset", lambda: client.converse(modelId=CLAUDE, **asked("[[bedrock reset]]")))

json.dump({"usage": usage, "errors": errors, "texts": texts}, sys.stdout)
