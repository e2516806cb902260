// Calls each operation with the types that openapi-typescript makes; what does not fit them does not compile.
// Prints the operations whose answers were as declared.
import createClient from "openapi-fetch";
import type { components, paths } from "./knouds.js";

declare const process: { env: { [name: string]: string } };

const run: components["schemas"]["RunRequest"] = { inputs: { prompt: "a harbour at dawn", count: 2 } };
const harbour = JSON.parse(process.env.HARBOUR) as { name: string } & components["schemas"]["WorkflowParts"];
const connect = (baseUrl: string) => createClient<paths>({ baseUrl, headers: { "x-api-key": process.env.KEY } });
const client = connect(process.env.URL);
const slow = connect(process.env.SLOW_URL);
const passed: string[] = [];

/** The data of an answer; fails where the operation was refused. */
function taken<T>(operation: string, answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(`${operation}: ${JSON.stringify(answer.error)}`);
  passed.push(operation);
  return answer.data;
}

function equal<T>(got: T, wanted: T): void {
  if (got !== wanted) throw new Error(`${got} is not ${wanted}`);
}

taken("getHealth", await client.GET("/api/health"));
taken("getPublicPricing", await client.GET("/api/pricing/public"));
const whoami = taken("getWhoami", await client.GET("/api/whoami"));
const role: "user" | "admin" = whoami.user.role;
equal(role, "user");

const created: { slug: string } = taken("createWorkflow", await client.POST("/api/workflows", { body: harbour }));
const path = { slug: created.slug };
const summaries = taken("listWorkflows", await client.GET("/api/workflows"));
equal(summaries.some((summary) => summary.slug === path.slug), true);
taken(
  "updateWorkflow",
  await client.PUT("/api/workflows/{slug}", { params: { path }, body: { publicPlayground: true } }),
);
taken("moveWorkflow", await client.PUT("/api/workflows/{slug}/move", { params: { path }, body: { folderId: null } }));
const workflow = taken("getWorkflow", await client.GET("/api/workflows/{slug}", { params: { path } }));
const node: components["schemas"]["WorkflowNode"] = workflow.nodes[0];
equal(node.position.x, harbour.nodes?.[0].position.x);
const portrait = { path: { slug: "portrait" } };
const priced = taken("getWorkflowSchema", await client.GET("/api/workflows/{slug}/schema", { params: portrait }));
const price: number | null = priced.estimatedCreditCost;
const shown = taken(
  "getPublicWorkflowSchema",
  await client.GET("/api/workflows/{slug}/public-schema", { params: { path } }),
);
equal(shown.fields[0].name, "prompt");

const finished = taken("runWorkflow", await client.POST("/api/workflows/{slug}/run", { params: portrait, body: run }));
if ("_async" in finished) throw new Error("a run that waits was submitted");
equal(finished.cost, 2 * (price ?? 0));
const modelRun = taken(
  "runModel",
  await client.POST("/api/models/{internalName}/run", { params: { path: { internalName: "seedream-v5" } }, body: run }),
);
if ("_async" in modelRun) throw new Error("a run that waits was submitted");
const usage = taken(
  "listUsage",
  await client.GET("/api/usage", { params: { query: { status: "completed", limit: 5 } } }),
);
equal(usage.rows[0].creditsCost, modelRun.cost);
const models = taken("listUsageModels", await client.GET("/api/usage/models"));
const ids: string[] | undefined = Array.isArray(models) ? models : models.models;
equal(ids?.includes("seedream-v5"), true);
taken("deleteWorkflow", await client.DELETE("/api/workflows/{slug}", { params: { path } }));

const submitted = taken(
  "runWorkflow",
  await slow.POST("/api/workflows/{slug}/run", {
    params: { ...portrait, query: { async: true } },
    body: run,
  }),
);
if (!("_async" in submitted)) throw new Error("a run that is to be submitted was waited for");
const execution = { path: { id: submitted.executionId } };
const polled = taken("getExecution", await slow.GET("/api/executions/{id}", { params: execution }));
const status: "processing" | "cancel_requested" | "completed" | "failed" | "cancelled" = polled.status;
equal(status, "processing");
taken("cancelExecution", await slow.POST("/api/executions/{id}/cancel", { params: execution }));

const gone = await client.GET("/api/workflows/{slug}", { params: { path } });
if (!gone.error) throw new Error("a deleted workflow was found");
equal(gone.error.code, "NOT_FOUND");

console.log(JSON.stringify(passed));
