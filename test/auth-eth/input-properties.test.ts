/** Whatever comes in, JSON values or bytes: no server error, and no approval that the authority did not give. */
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Answer, ask, rawConnection } from "../support/http-client.ts";
import { bootBody, denying, startSurface } from "./support/surface.ts";

let surface: Awaited<ReturnType<typeof startSurface>>;
beforeAll(async () => {
  surface = await startSurface(denying);
});
afterAll(() => surface.close());
afterEach(async () => {
  const answer = await post("app", JSON.stringify(bootBody));
  expect(answer).toMatchObject({ status: 200, text: expect.stringContaining('"code":"denied.other"') });
  expect(surface.lines.filter(({ message }) => message === "request failed")).toEqual([]);
});

const json = { "content-type": "application/json" };
const post = (kind: "app" | "kms", body: string | Uint8Array, headers: Record<string, string> = json): Promise<Answer> =>
  ask(surface.url, `/bootAuth/${kind}`, { method: "POST", headers, body });
const expectRefusal = ({ status, text }: Answer): void => {
  expect([200, 400]).toContain(status);
  expect(JSON.parse(text)).toMatchObject({ isAllowed: false });
};
const kinds = fc.constantFrom("app" as const, "kms" as const);
const numRuns = 400;

test("no JSON value", async () => {
  const members = fc.constantFrom(
    ...Object.keys(bootBody),
    "tcbStatus",
    "advisoryIds",
    "teeVariant",
    "mrSystem",
    "__proto__",
    "isAllowed",
  );
  const changed = fc.array(fc.tuple(members, fc.jsonValue()), { minLength: 1, maxLength: 3 }).map((changes) =>
    JSON.stringify(bootBody)
      .replace("}", changes.map(([name, value]) => `,"${name}":${JSON.stringify(value)}`).join(""))
      .concat("}"),
  );
  const anything = fc.jsonValue().map((value) => JSON.stringify(value));
  const property = fc.asyncProperty(kinds, fc.oneof(changed, anything), async (kind, body) => {
    expectRefusal(await post(kind, body));
  });
  await fc.assert(property, { numRuns });
});

/** A valid text with bytes replaced, put in, taken out or cut off. */
function damaged(text: string): fc.Arbitrary<Uint8Array> {
  const place = fc.nat(text.length);
  const edit = fc.tuple(place, fc.nat(4), fc.uint8Array({ maxLength: 4 }));
  return fc.tuple(fc.array(edit, { maxLength: 4 }), fc.option(place)).map(([edits, end]) => {
    const whole = edits.reduce(
      (bytes, [at, drop, put]) => Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + drop)]),
      Buffer.from(text),
    );
    return new Uint8Array(end === null ? whole : whole.subarray(0, end));
  });
}

test("no body, type or framing", async () => {
  const bodies = fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged(JSON.stringify(bootBody)));
  const types = fc.constantFrom<string | undefined>(
    undefined,
    "application/json",
    "text/plain",
    "application/x+json; charset=utf-16",
    "json",
    "",
  );
  const property = fc.asyncProperty(kinds, bodies, types, fc.boolean(), async (kind, body, type, isChunked) => {
    const framing = isChunked ? { "transfer-encoding": "chunked" } : undefined;
    expectRefusal(await post(kind, body, { ...(type !== undefined && { "content-type": type }), ...framing }));
  });
  await fc.assert(property, { numRuns });
});

test("no bytes on the connection", async () => {
  const body = JSON.stringify(bootBody);
  const head = "POST /bootAuth/app HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nx-request-id: a\r\n";
  const plain = `${head}content-length: ${body.length}\r\n\r\n${body}`;
  const chunked = `${head}transfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  const bytes = fc.oneof(damaged(plain), damaged(chunked), damaged(plain + chunked), fc.uint8Array({ maxLength: 200 }));
  const property = fc.asyncProperty(bytes, async (sent) => {
    const received = await untilClosed(sent);
    for (const [, status] of received.matchAll(/HTTP\/1\.1 (\d+)/g)) expect(Number(status)).toBeLessThan(500);
    expect(received).not.toContain('"isAllowed":true');
  });
  await fc.assert(property, { numRuns });
});

/** Says all and no more, then reads on to the end. */
function untilClosed(bytes: Uint8Array): Promise<string> {
  const socket = rawConnection(surface.url);
  const { promise, resolve } = Promise.withResolvers<string>();
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
  });
  socket.on("error", () => undefined); // a reset is an answer too
  socket.on("close", () => resolve(received));
  socket.end(bytes);
  return promise;
}
