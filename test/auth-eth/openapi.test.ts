/** The document that the server publishes: well formed, true of the schemas, and every answer it names was given. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { bootInfoSchema, maxTcbStatusPoints } from "../../auth-eth/api.ts";
import { createDocument, type MediaType } from "../../auth-eth/openapi.ts";
import { maxBodyBytes } from "../../auth-eth/request-body.ts";
import { type Ask, ask } from "../support/http-client.ts";
import { allowing, bootBody, denying, failing, held, startSurface } from "./support/surface.ts";

const document = createDocument();
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);

function resolve(ref: string): unknown {
  expect(ref).toMatch(/^#\//);
  const steps = ref.slice(2).split("/");
  return steps.reduce<unknown>((value, step) => (value as Record<string, unknown> | undefined)?.[step], document);
}
function validatorOf(schema: object): z.ZodType {
  const target = "$ref" in schema ? (resolve(String(schema.$ref)) as object) : schema;
  return z.fromJSONSchema(target as Parameters<typeof z.fromJSONSchema>[0]);
}

describe("structure", () => {
  const reference = z.strictObject({ $ref: z.string().startsWith("#/components/") });
  const schemaObject = z.union([reference, z.looseObject({ type: z.enum(["object", "string"]) })]);
  const media = z.strictObject({
    schema: schemaObject,
    examples: z.record(z.string().regex(/^[\w.-]+$/), z.strictObject({ value: z.unknown() })).optional(),
  });
  const content = z.record(z.string().regex(/^[a-z]+\/[a-z.+-]+$/), media);
  const header = z.strictObject({ description: z.string(), required: z.boolean(), schema: schemaObject });
  const operation = z.strictObject({
    operationId: z.string().regex(/^[a-z]\w+$/),
    summary: z.string(),
    description: z.string().optional(),
    tags: z.array(z.enum(document.tags.map(({ name }) => name))),
    parameters: z.array(reference),
    requestBody: z.strictObject({ required: z.literal(true), content }).optional(),
    responses: z.record(
      z.string().regex(/^[1-5]\d\d$/),
      z.strictObject({ description: z.string(), headers: z.record(z.string(), reference), content }),
    ),
  });
  const openapi = z.strictObject({
    openapi: z.string().regex(/^3\.1\.\d+$/),
    info: z.strictObject({
      title: z.string(),
      version: z.string(),
      description: z.string(),
      license: z.strictObject({ name: z.string(), identifier: z.string() }),
    }),
    servers: z.array(z.strictObject({ url: z.string() })),
    security: z.array(z.never()),
    tags: z.array(z.strictObject({ name: z.string(), description: z.string() })),
    paths: z.record(z.string().startsWith("/"), z.partialRecord(z.enum(["get", "post"]), operation)),
    components: z.strictObject({
      schemas: z.record(z.string().regex(/^[\w.-]+$/), z.looseObject({ type: z.literal("object") })),
      parameters: z.record(
        z.string(),
        z.strictObject({ name: z.string(), in: z.literal("header"), description: z.string(), schema: schemaObject }),
      ),
      headers: z.record(z.string(), header),
    }),
  });

  test("is that of OpenAPI 3.1", () => {
    openapi.parse(document);
    const ids = operations.map(({ operation: { operationId } }) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(expect.arrayContaining(["getSystemInfo", "authenticateAppBoot", "authenticateKmsBoot"]));
  });

  test("has no reference that leads nowhere, and no component that nothing refers to", () => {
    const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref = ""]) => ref);
    expect(refs.length).toBeGreaterThan(20);
    for (const ref of refs) expect([ref, resolve(ref)]).toEqual([ref, expect.any(Object)]);
    const names = Object.entries(document.components).flatMap(([kind, values]) =>
      Object.keys(values).map((name) => `#/components/${kind}/${name}`),
    );
    expect(new Set(refs)).toEqual(new Set(names));
  });

  test("carries patterns and limits in its schemas", () => {
    expect(document.components.schemas).toMatchObject({
      BootInfo: {
        properties: {
          mrAggregated: { pattern: "^(0x)?[0-9a-fA-F]{64}$" },
          tcbStatus: { maxLength: maxTcbStatusPoints, default: "" },
          advisoryIds: { maxItems: 128, items: { maxLength: 256 } },
        },
      },
    });
  });

  test("names every route of the server, and no other", async () => {
    const surface = await startSurface(denying);
    const routes = surface.app.routes.filter(({ method }) => method !== "ALL").map(({ method, path }) => `${method} ${path}`);
    await surface.close();
    const named = operations.map(({ path, method }) => `${method.toUpperCase()} ${path}`);
    expect(new Set(routes)).toEqual(new Set(named));
  });
});

describe("examples", () => {
  const all = operations.flatMap(({ operation: { operationId, requestBody, responses } }) => {
    const parts: [string, MediaType][] = [
      ...Object.values(requestBody?.content ?? {}).map((media): [string, MediaType] => [`${operationId} request`, media]),
      ...Object.entries(responses).flatMap(([status, { content }]) =>
        Object.values(content).map((media): [string, MediaType] => [`${operationId} ${status}`, media]),
      ),
    ];
    return parts.flatMap(([place, { schema, examples = {} }]) =>
      Object.entries(examples).map(([name, { value }]) => [`${place} ${name}`, schema, value] as const),
    );
  });
  test.each(all)("%s is of its schema", (_name, schema, value) => {
    expect(validatorOf(schema).safeParse(value)).toMatchObject({ success: true });
  });
  test("there is one of each request and each JSON answer with a schema of its own", () => {
    expect(all.length).toBeGreaterThan(18);
  });
});

test("the request schema is no laxer and no stricter than the server", () => {
  const published = validatorOf({ $ref: "#/components/schemas/BootInfo" });
  const digits = fc.constantFrom(0, 2, 39, 40, 63, 64, 65, 128).map((length) => "aB".repeat(64).slice(0, length));
  const prefix = fc.constantFrom("", "", "0x", "0X", " ");
  const hex = fc.tuple(prefix, digits).map(([head, tail]) => head + tail);
  const words = fc.constantFrom("UpToDate", "😀".repeat(128), "😀".repeat(129), "x".repeat(64), "x".repeat(65), "");
  const value = fc.oneof(hex, words, fc.jsonValue(), fc.array(words, { maxLength: 3 }), fc.constant("dstack-amd-sev-snp"));
  const names = [
    "teeVariant",
    "osImageHash",
    "mrSystem",
    "appId",
    "composeHash",
    "deviceId",
    "tcbStatus",
    "advisoryIds",
    "other",
  ];
  const changes = fc.array(fc.tuple(fc.constantFrom(...names), value), { maxLength: 2 });
  fc.assert(
    fc.property(changes, fc.option(fc.constantFrom(...names)), (changed, dropped) => {
      const { [dropped ?? ""]: _, ...request } = { ...bootBody, ...Object.fromEntries(changed) } as Record<string, unknown>;
      expect(published.safeParse(request).success).toBe(bootInfoSchema.safeParse(request).success);
    }),
    {
      numRuns: 2000,
      examples: [
        [
          [
            ["appId", ""],
            ["teeVariant", "dstack-amd-sev-snp"],
          ],
          null,
        ],
        [[["appId", "0x"]], null],
      ],
    },
  );
});

describe("answers", () => {
  const seen = new Set<string>();
  let surface: Awaited<ReturnType<typeof startSurface>>;
  beforeAll(async () => {
    surface = await startSurface(allowing, { maxConcurrent: 1 });
  });
  afterAll(() => surface.close());

  const post = (body: string): Ask => ({ method: "POST", headers: { "content-type": "application/json" }, body });
  const boot = post(JSON.stringify(bootBody));

  /** Any answer that is not as documented fails here. */
  async function see(path: string, request: Ask = {}): Promise<number> {
    const { status, headers, text } = await ask(surface.url, path, request);
    const found = operations.find((o) => o.path === path && o.method === (request.method ?? "GET").toLowerCase());
    const documented = found?.operation.responses[status];
    expect([path, status, documented]).toEqual([path, status, expect.any(Object)]);
    const [type = "", media] = Object.entries(documented?.content ?? {})[0] ?? [];
    expect(headers["content-type"]?.split(";")[0]).toBe(type);
    expect(headers["x-request-id"]).toMatch(/^[A-Za-z0-9._-]{1,64}$/);
    validatorOf(media?.schema ?? {}).parse(type === "application/json" ? JSON.parse(text) : text);
    seen.add(`${found?.operation.operationId} ${status}`);
    return status;
  }

  test("are as documented when all is well", async () => {
    for (const { path, method } of operations) expect(await see(path, method === "post" ? boot : {})).toBe(200);
    surface.play(denying);
    for (const kind of ["app", "kms"]) expect(await see(`/bootAuth/${kind}`, boot)).toBe(200);
  });

  test("are as documented in an outage", async () => {
    surface.play(failing);
    for (const kind of ["app", "kms"]) expect(await see(`/bootAuth/${kind}`, boot)).toBe(200);
    expect([await see("/"), await see("/ready")]).toEqual([500, 503]);
  });

  test("are as documented for requests that are no good", async () => {
    for (const kind of ["app", "kms"]) {
      expect(await see(`/bootAuth/${kind}`, post("{"))).toBe(400);
      expect(await see(`/bootAuth/${kind}`, post(" ".repeat(maxBodyBytes + 1)))).toBe(413);
    }
  });

  test("are as documented under too much load", async () => {
    const { authority, arrived, release } = held(denying);
    surface.play(authority);
    const running = see("/bootAuth/app", boot);
    await arrived;
    const statuses = [await see("/bootAuth/app", boot), await see("/bootAuth/kms", boot), await see("/")];
    release();
    expect([statuses, await running]).toEqual([[503, 503, 503], 200]);
  });

  test("were all seen", () => {
    const documented = operations.flatMap(({ operation: { operationId, responses } }) =>
      Object.keys(responses).map((status) => `${operationId} ${status}`),
    );
    expect([...seen].sort()).toEqual(documented.sort());
  });
});
