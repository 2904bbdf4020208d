// The same as create-run, written for this comparison with the SDK for JavaScript v3: read, record, start. Nothing of it is
// deployed. A Lambda runtime in Node does what `serve` does: it takes an event from the Runtime API, calls the handler, hands back
// what it returns. The items to read are those that create-run reads, given by the benchmark.

import { createHash, randomUUID } from "node:crypto";
import { Agent, request } from "node:http";
import { BatchGetItemCommand, DynamoDBClient, TransactWriteItemsCommand } from "@aws-sdk/client-dynamodb";
import { SFNClient, StartExecutionCommand } from "@aws-sdk/client-sfn";

const { SLUICE_TABLE: table, SLUICE_RUNNER_ARN: runnerArn, AWS_LAMBDA_RUNTIME_API: runtime } = process.env;
const toRead = JSON.parse(process.env.BENCHMARK_READ);
const settings = { maxAttempts: 3, requestHandler: { connectionTimeout: 1500, requestTimeout: 2500 } };
const dynamodb = new DynamoDBClient(settings);
const states = new SFNClient(settings);

const read = async () => {
  const { Responses } = await dynamodb.send(new BatchGetItemCommand({ RequestItems: toRead }));
  return Object.fromEntries(Responses[table].map((item) => [`${item.pk.S}|${item.sk.S}`, item]));
};

const record = async (tenant, runId, body, found, now) => {
  const pk = `T#${tenant}#RUN#${runId}`;
  const head = {
    pk: { S: pk },
    sk: { S: "HEAD" },
    status: { S: "PENDING" },
    name: { S: body.name ?? "" },
    tenantKey: { S: `T#${tenant}` },
    timeKey: { S: `${now}#${runId}` },
    statusKey: { S: `T#${tenant}#PENDING` },
    rev: { N: "1" },
    createdAt: { S: now },
    updatedAt: { S: now },
  };
  const snapshot = JSON.stringify({ request: body, found: Object.keys(found).sort() });
  const hash = createHash("sha256").update(snapshot).digest("hex");
  const items = [
    head,
    { pk: { S: pk }, sk: { S: "REQUEST" }, body: { S: JSON.stringify(body) } },
    { pk: { S: pk }, sk: { S: "SNAPSHOT" }, text: { S: snapshot }, hash: { S: hash } },
  ];
  const put = (Item) => ({ Put: { TableName: table, Item, ConditionExpression: "attribute_not_exists(pk)" } });
  const TransactItems = items.map(put);
  await dynamodb.send(new TransactWriteItemsCommand({ TransactItems, ClientRequestToken: randomUUID() }));
  return pk;
};

const handle = async (event) => {
  const body = JSON.parse(event.body);
  const tenant = event.requestContext.authorizer.jwt.claims.tenant_id;
  const definition = body.workflowInstanceConfiguration.workflowDefinitionId;
  if (typeof definition !== "string" || typeof (body.dataSources ?? {}) !== "object") {
    return { statusCode: 400, body: "{}" };
  }
  const runId = randomUUID();
  const now = new Date().toISOString();
  const found = await read();
  if (Object.keys(found).length === 0) return { statusCode: 400, body: "{}" };
  const pk = await record(tenant, runId, body, found, now);
  const execution = { specVersion: "1", runId, tenantId: tenant, record: { pk }, request: body };
  const input = JSON.stringify(execution);
  await states.send(new StartExecutionCommand({ stateMachineArn: runnerArn, name: runId, input }));
  console.log(JSON.stringify({ level: "INFO", message: "run created", "run.id": runId, "tenant.id": tenant }));
  const headers = { "content-type": "application/json", location: `/v1/workflow-runs/${runId}` };
  const answer = JSON.stringify({ runId, status: "PENDING", createdAt: now });
  return { statusCode: 201, headers, body: answer, isBase64Encoded: false };
};

const [host, port] = runtime.split(":");
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

const ask = (method, path, body) =>
  new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
    const options = { host, port, agent, method, path: `/2018-06-01/runtime/invocation/${path}`, headers };
    const asked = request(options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ headers: response.headers, text: Buffer.concat(chunks).toString() }));
    });
    asked.on("error", reject);
    asked.end(body);
  });

const serve = async () => {
  for (;;) {
    const { headers, text } = await ask("GET", "next");
    const id = headers["lambda-runtime-aws-request-id"];
    try {
      await ask("POST", `${id}/response`, JSON.stringify(await handle(JSON.parse(text))));
    } catch (error) {
      await ask("POST", `${id}/error`, JSON.stringify({ errorType: error.name, errorMessage: error.message }));
    }
  }
};

serve();
