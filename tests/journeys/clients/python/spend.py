"""Asks a model through the governor until it is refused, with one client as it comes from its publisher, found by variables only.

    spend.py CLIENT whole|streamed

Writes {"answers": how many, "error": the exception's own name or code, "status": its status}.
"""

import json
import os
import sys

CLIENT, MODE = sys.argv[1:]
MODEL = os.environ["GOVERNED_MODEL"]
QUESTION = "Tell me something. [[bedrock tokens=max]]"
MAX_TOKENS = 1400
CALLS = 10


def boto3_client():
    import boto3

    client = boto3.client("bedrock-runtime")
    asked = {
        "modelId": MODEL,
        "messages": [{"role": "user", "content": [{"text": QUESTION}]}],
        "inferenceConfig": {"maxTokens": MAX_TOKENS},
    }

    def ask():
        if MODE == "whole":
            return client.converse(**asked)["usage"]["outputTokens"]
        events = list(client.converse_stream(**asked)["stream"])
        return events[-1]["metadata"]["usage"]["outputTokens"]

    return ask


def anthropic_client():
    from anthropic import AnthropicBedrock

    client = AnthropicBedrock()
    asked = {"model": MODEL, "max_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": QUESTION}]}

    def ask():
        if MODE == "whole":
            return client.messages.create(**asked).usage.output_tokens
        with client.messages.stream(**asked) as stream:
            return stream.get_final_message().usage.output_tokens

    return ask


def openai_client():
    from openai import OpenAI

    client = OpenAI()
    asked = {"model": MODEL, "max_completion_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": QUESTION}]}

    def ask():
        if MODE == "whole":
            return client.chat.completions.create(**asked).usage.completion_tokens
        # It does not ask for its usage; the governor does, and keeps what it asked for from it.
        return len([chunk for chunk in client.chat.completions.create(**asked, stream=True)])

    return ask


def langchain_client():
    from langchain_aws import ChatBedrockConverse

    model = ChatBedrockConverse(model=MODEL, max_tokens=MAX_TOKENS)

    def ask():
        if MODE == "whole":
            return model.invoke(QUESTION).usage_metadata["output_tokens"]
        return len([chunk for chunk in model.stream(QUESTION)])

    return ask


def strands_client():
    from strands import Agent
    from strands.models import BedrockModel

    model = BedrockModel(model_id=MODEL, max_tokens=MAX_TOKENS, streaming=MODE == "streamed")

    def ask():
        # A new agent each time, which does not repeat what was said.
        agent = Agent(model=model, callback_handler=None)
        try:
            return len(str(agent(QUESTION)))
        except Exception as error:
            # It says in its own words that an answer was cut off at its limit, which is what was asked for here.
            if type(error).__name__ == "MaxTokensReachedException":
                return MAX_TOKENS
            raise

    return ask


CLIENTS = {
    "boto3": boto3_client,
    "anthropic": anthropic_client,
    "openai": openai_client,
    "langchain-aws": langchain_client,
    "strands-agents": strands_client,
}


def main() -> None:
    ask = CLIENTS[CLIENT]()
    answers, error = 0, None
    while answers < CALLS:
        try:
            written = ask()
        except Exception as raised:  # whatever it is: its type is the answer
            error = raised
            break
        assert written > 0, "an answer without a word"
        answers += 1
    answered = getattr(error, "response", None)
    if isinstance(answered, dict):
        name = answered["Error"]["Code"]
        status = answered["ResponseMetadata"]["HTTPStatusCode"]
    else:
        name, status = type(error).__name__, getattr(error, "status_code", None)
    json.dump({"answers": answers, "error": name, "status": status}, sys.stdout)


main()
