/** The OpenAPI 3.1 document, made from the very schemas that requests are held to and answers are written by. */
import { z } from "zod";
import {
  backendError,
  backendUnavailable,
  errorSchema,
  healthSchema,
  healthy,
  invalidRequest,
  notReadySchema,
  readySchema,
} from "./answers.ts";
import { bootInfoSchema, decisionSchema, infoResponseSchema } from "./api.ts";
import { allowedExample, bootExamples, deniedExample, infoExample, readyExample } from "./examples.ts";

export interface MediaType {
  readonly schema: object;
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>;
}

interface ResponseObject {
  readonly description: string;
  readonly headers: object;
  readonly content: Readonly<Record<string, MediaType>>;
}

export interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  readonly parameters: readonly object[];
  readonly requestBody?: { readonly required: true; readonly content: Readonly<Record<string, MediaType>> };
  readonly responses: Readonly<Record<string, ResponseObject>>;
}

const schemas = {
  BootInfo: z.toJSONSchema(bootInfoSchema, { io: "input" }),
  BootResponse: z.toJSONSchema(decisionSchema),
  SystemInfo: z.toJSONSchema(infoResponseSchema),
  Error: z.toJSONSchema(errorSchema),
  Health: z.toJSONSchema(healthSchema),
  Ready: z.toJSONSchema(readySchema),
  NotReady: z.toJSONSchema(notReadySchema),
};

const component = (kind: string, name: string) => ({ $ref: `#/components/${kind}/${name}` });

function response(description: string, type: string, schema: object, examples: Record<string, unknown> = {}): ResponseObject {
  const values = Object.entries(examples).map(([name, value]) => [name, { value }] as const);
  const media = { schema, ...(values.length > 0 && { examples: Object.fromEntries(values) }) };
  return { description, headers: { "x-request-id": component("headers", "RequestId") }, content: { [type]: media } };
}
const json = (description: string, schema: keyof typeof schemas, examples: Record<string, unknown>) =>
  response(description, "application/json", component("schemas", schema), examples);
const text = (description: string, type: string) => response(description, type, { type: "string" });

const shared = { parameters: [component("parameters", "RequestId")] };

function bootOperation(operationId: string, summary: string, examples: Record<string, unknown>): Operation {
  const values = Object.fromEntries(Object.entries(examples).map(([name, value]) => [name, { value }]));
  return {
    operationId,
    summary,
    description:
      "Any `application/…+json` type will do. An outage is answered with 200 like a denial; `code` tells them apart. Nothing is coerced.",
    tags: ["decisions"],
    ...shared,
    requestBody: {
      required: true,
      content: { "application/json": { schema: component("schemas", "BootInfo"), examples: values } },
    },
    responses: {
      "200": json("A decision, or an outage: `isAllowed` is true only where the policy said yes.", "BootResponse", {
        allowed: allowedExample,
        denied: deniedExample,
        unavailable: backendUnavailable("rpc-timeout"),
      }),
      "400": json("The body is no JSON object of the schema, or its content type is not JSON.", "BootResponse", {
        invalid: invalidRequest,
      }),
      "413": json("The body is over 1 MiB.", "BootResponse", { invalid: invalidRequest }),
      "503": json("All places are taken. Ask again, or another instance.", "BootResponse", {
        overloaded: backendUnavailable("overloaded"),
      }),
    },
  };
}

function readOperation(operationId: string, summary: string, responses: Operation["responses"]): Operation {
  return { operationId, summary, tags: ["operation"], ...shared, responses };
}

const paths: Readonly<Record<string, Readonly<Record<string, Operation>>>> = {
  "/bootAuth/app": {
    post: bootOperation("authenticateAppBoot", "May this app boot, and get its keys?", {
      app: bootExamples.app,
      snp: bootExamples.snp,
    }),
  },
  "/bootAuth/kms": {
    post: bootOperation("authenticateKmsBoot", "May this KMS run, and get the root keys?", { kms: bootExamples.kms }),
  },
  "/": {
    get: readOperation("getSystemInfo", "What this instance decides by", {
      "200": json("Contract, chain and the keys registered there, read at one block.", "SystemInfo", { info: infoExample }),
      "500": json("The chain gives no usable answer.", "Error", { unavailable: backendError }),
      "503": json("All places are taken.", "Error", { overloaded: backendError }),
    }),
  },
  "/health": { get: readOperation("getHealth", "Does the process run?", { "200": json("It does.", "Health", { ok: healthy }) }) },
  "/ready": {
    get: readOperation("getReadiness", "Could it decide now?", {
      "200": json("The policy can be read, and is fresh.", "Ready", { ready: readyExample }),
      "503": json("It cannot; the code tells where.", "NotReady", {
        stale: { status: "unavailable", code: "unavailable.stale" },
      }),
    }),
  },
  "/metrics": {
    get: readOperation("getMetrics", "Counters and durations for Prometheus", {
      "200": text("The text format of Prometheus, version 0.0.4.", "text/plain"),
    }),
  },
  "/openapi.json": {
    get: readOperation("getDocument", "This document", {
      "200": response("OpenAPI 3.1.", "application/json", { type: "object" }),
    }),
  },
  "/docs": {
    get: readOperation("getDocsPage", "This document, for people", { "200": text("A page without scripts.", "text/html") }),
  },
};

export type OpenApiDocument = ReturnType<typeof createDocument>;

export function createDocument() {
  const requestId = { type: "string", pattern: "^[A-Za-z0-9._-]{1,64}$" };
  return {
    openapi: "3.1.1",
    info: {
      title: "Keyward auth-eth",
      version: "1.0.0",
      description:
        "The webhook that a KMS asks whether a machine may boot. Every GET route answers HEAD too; other routes answer 404.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: [],
    tags: [
      { name: "decisions", description: "Asked by the KMS." },
      {
        name: "operation",
        description: "Asked by operators and their tools; `/health`, `/metrics` and `/docs` answer under any load.",
      },
    ],
    paths,
    components: {
      schemas: Object.fromEntries(Object.entries(schemas).map(([name, { $schema: _, ...schema }]) => [name, schema])),
      parameters: {
        RequestId: {
          name: "x-request-id",
          in: "header",
          description: "Taken over into the log; one that does not fit the pattern is replaced.",
          schema: { type: "string" },
        },
      },
      headers: {
        RequestId: { description: "As in the log: the caller's, or one made here.", required: true, schema: requestId },
      },
    },
  };
}
