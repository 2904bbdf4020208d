// Asks a model through the governor until it is refused, with the SDK for JavaScript as it is, found by variables only. It speaks HTTP/2
// and nothing else. Writes {"answers": how many, "error": the exception's own name, "status": its status}.

import { BedrockRuntimeClient, ConverseCommand, ConverseStreamCommand } from "@aws-sdk/client-bedrock-runtime";

const [mode] = process.argv.slice(2);
const client = new BedrockRuntimeClient({});
const asked = {
  modelId: process.env.GOVERNED_MODEL,
  messages: [{ role: "user", content: [{ text: "Tell me something. [[bedrock tokens=max]]" }] }],
  inferenceConfig: { maxTokens: 1400 },
};

const ask = async () => {
  if (mode === "whole") return (await client.send(new ConverseCommand(asked))).usage.outputTokens;
  let written = 0;
  for await (const event of (await client.send(new ConverseStreamCommand(asked))).stream) {
    written = event.metadata?.usage.outputTokens ?? written;
  }
  return written;
};

let answers = 0;
let error;
while (answers < 10 && error === undefined) {
  try {
    if (!((await ask()) > 0)) throw new Error("an answer without a word");
    answers += 1;
  } catch (raised) {
    error = raised;
  }
}
client.destroy();
process.stdout.write(JSON.stringify({ answers, error: error?.name, status: error?.$metadata?.httpStatusCode }));
