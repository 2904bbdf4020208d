// Receives Sluice's webhooks: a Lambda function behind a Function URL with `AuthType: AWS_IAM`, handler `receiver.handler`.
//
// The URL has checked the signature, so what is left is to ask whose it was. A message is taken by one conditional write that
// holds the whole of it. So it is never remembered without being taken (it would be lost) or taken without being remembered
// (it would be done twice), however often and however close together it comes. What is to be done about it is done from the
// table, by its stream for one: Sluice waits 10 seconds for an answer. To do it right here instead, do it before the write,
// and so that it may happen twice.
//
// Environment: SLUICE_ROLE_ARN (the role of run-callback), SLUICE_TENANT_ID (yours), INBOX_TABLE (partition key `webhookId`, a
// string; time to live on `expiresAt`). The function's own role needs `dynamodb:PutItem` on that table.

import { DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";

// Sluice tries for about a day; whoever asks for a delivery again later than this gets it as a new one.
const REMEMBERED_SECONDS = 30 * 24 * 3600;

const SLUICE = sessionsOf(required("SLUICE_ROLE_ARN"));
const TENANT = required("SLUICE_TENANT_ID");
const TABLE = required("INBOX_TABLE");
const dynamodb = new DynamoDBClient({ maxAttempts: 2, requestHandler: { connectionTimeout: 1000, requestTimeout: 2000 } });

export async function handler(event) {
  const caller = event.requestContext.authorizer?.iam?.userArn ?? "";
  if (!caller.startsWith(SLUICE)) return answer(403, "the caller is not Sluice");

  const text = Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8").toString();
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return answer(410, "not JSON");
  }
  if (message?.specVersion !== "1" || message.type !== "workflow.run.terminal") {
    return answer(410, "not a message that is understood here, however often it comes");
  }

  const headers = event.headers;
  const webhookId = headers["webhook-id"];
  if (!webhookId || !message.runId || headers["sluice-run-id"] !== message.runId) {
    return answer(403, "the headers and the body speak of different runs");
  }
  // Every tenant of this Sluice may name any address to be called back at.
  if (headers["sluice-tenant-id"] !== TENANT || message.tenantId !== TENANT) return answer(403, "another tenant's run");

  const expiresAt = Math.floor(Date.now() / 1000) + REMEMBERED_SECONDS;
  // The body as it came: its numbers may have more digits than a parser keeps. At most about 320 KB; an item holds 400 KB.
  const item = { webhookId: { S: webhookId }, runId: { S: message.runId }, body: { S: text }, expiresAt: { N: `${expiresAt}` } };
  const condition = "attribute_not_exists(webhookId)";
  try {
    await dynamodb.send(new PutItemCommand({ TableName: TABLE, Item: item, ConditionExpression: condition }));
  } catch (error) {
    if (error.name === "ConditionalCheckFailedException") return answer(200, "taken before");
    console.warn(`${webhookId}: ${error}`);
    return answer(503, "could not be taken now", { "retry-after": "30" });
  }
  return answer(200, "taken");
}

function answer(statusCode, result, headers = {}) {
  if (statusCode >= 400) console.warn(`${statusCode}: ${result}`);
  return { statusCode, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify({ result }) };
}

// How the ARNs of a role's sessions begin. They do not show the role's path.
function sessionsOf(roleArn) {
  const [, partition, , , account, role] = roleArn.split(":");
  return `arn:${partition}:sts::${account}:assumed-role/${role.split("/").at(-1)}/`;
}

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}
