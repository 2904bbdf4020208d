// In the place of the SDK that Lambda's Node runtime has and this machine has not: as much of it as the receiver uses, with
// its names. It sends the same request (DynamoDB's JSON 1.0, signed with SigV4) and throws errors by the same names.

import { createHash, createHmac } from "node:crypto";

const { AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env;

export class PutItemCommand {
  constructor(input) {
    this.input = input;
  }
}

export class DynamoDBClient {
  async send(command) {
    const body = JSON.stringify(command.input);
    const url = new URL(AWS_ENDPOINT_URL);
    const headers = {
      "content-type": "application/x-amz-json-1.0",
      host: url.host,
      "x-amz-date": new Date().toISOString().replace(/[:-]|\.\d{3}/g, ""),
      "x-amz-security-token": AWS_SESSION_TOKEN,
      "x-amz-target": "DynamoDB_20120810.PutItem",
    };
    const answer = await fetch(url, { method: "POST", body, headers: { ...headers, authorization: signed(headers, body) } });
    const said = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(said.message), { name: said.__type.split("#").at(-1) });
    return said;
  }
}

function signed(headers, body) {
  const hash = (text) => createHash("sha256").update(text).digest("hex");
  const hmac = (key, text) => createHmac("sha256", key).update(text).digest();
  const names = Object.keys(headers).sort();
  const lines = names.map((name) => `${name}:${headers[name]}\n`).join("");
  const canonical = ["POST", "/", "", lines, names.join(";"), hash(body)].join("\n");
  const date = headers["x-amz-date"];
  const scope = [date.slice(0, 8), AWS_REGION, "dynamodb", "aws4_request"];
  const key = scope.reduce(hmac, `AWS4${AWS_SECRET_ACCESS_KEY}`);
  const signature = hmac(key, ["AWS4-HMAC-SHA256", date, scope.join("/"), hash(canonical)].join("\n")).toString("hex");
  const credential = `${AWS_ACCESS_KEY_ID}/${scope.join("/")}`;
  return `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
}
