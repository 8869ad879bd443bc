/** Calls at work are bounded: the one too many is refused as the wire has it, and a place comes free only when the work has ended. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { createFramedApp, serveHealth } from "../../kms/http/framework.ts";
import { KMS } from "../../kms/http/gen/kms_pb.ts";
import { type Listener, listen } from "../../kms/http/listeners.ts";
import { inTime, MAX_PLACES, Places } from "../../kms/http/places.ts";
import { createPrpcEndpoint } from "../../kms/http/prpc.ts";
import { rpcsOf } from "../../kms/http/rpc.ts";
import { ask, rawConnection } from "../support/http-client.ts";
import { silentLog } from "../support/silent-log.ts";
import { refusal } from "./support/refusals.ts";

const overloaded = "too many requests are running: at most 2, try again or another node";

let listener: Listener;
let gate: PromiseWithResolvers<void>;
let started: number;
let ended: number;

beforeEach(async () => {
  gate = Promise.withResolvers<void>();
  started = 0;
  ended = 0;
  const log = silentLog();
  const rpcs = rpcsOf(KMS, {
    GetTempCaCert: async () => {
      started += 1;
      await gate.promise;
      ended += 1;
      return { temp_ca_cert: "", temp_ca_key: "", ca_cert: "" };
    },
  });
  const app = createFramedApp(log);
  serveHealth(app);
  const answer = createPrpcEndpoint({ prefix: "KMS.", rpcs, log, maxPlaces: 2 });
  app.on(["GET", "POST"], "/prpc/:method", (c) => answer(c.env.incoming, c.req.param("method"), async () => undefined));
  listener = await listen(app, { hostname: "127.0.0.1", port: 0, log });
});
afterEach(async () => {
  gate.resolve();
  await listener.close();
});

const call = () => ask(listener.url, "/prpc/GetTempCaCert?json");

test("the call too many is refused at once with its code, and the next one after an end is served", async () => {
  const running = [call(), call()];
  await expect.poll(() => started).toBe(2);
  const refused = await call();
  expect(refused).toMatchObject({ status: 400, headers: { "x-error-code": "unavailable.overloaded" } });
  expect(JSON.parse(refused.text)).toEqual({ error: overloaded });
  expect(await ask(listener.url, "/health")).toMatchObject({ status: 200 });
  gate.resolve();
  for (const answered of await Promise.all(running)) expect(answered.status).toBe(200);
  expect(await call()).toMatchObject({ status: 200 });
});

test("work goes on and keeps its place when the caller leaves", async () => {
  for (let caller = 0; caller < 2; caller++) {
    const socket = rawConnection(listener.url);
    socket.write("GET /prpc/GetTempCaCert?json HTTP/1.1\r\nHost: x\r\n\r\n");
    await expect.poll(() => started).toBe(caller + 1);
    socket.destroy();
  }
  expect((await call()).headers["x-error-code"]).toBe("unavailable.overloaded");
  gate.resolve();
  await expect.poll(() => ended).toBe(2);
  expect(await call()).toMatchObject({ status: 200 });
});

test("bodies that come slowly hold no place", async () => {
  const slow = Array.from({ length: 4 }, () => {
    const socket = rawConnection(listener.url);
    socket.on("error", () => undefined);
    socket.write("POST /prpc/GetTempCaCert?json HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
    return socket;
  });
  gate.resolve();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(await call()).toMatchObject({ status: 200 });
  for (const socket of slow) socket.destroy();
});

test("work that throws gives its place back", async () => {
  const places = new Places(1);
  const fail = () => places.during(() => Promise.reject(new Error("work")));
  await expect(fail()).rejects.toThrow("work");
  await expect(fail()).rejects.toThrow("work");
  const held = places.during(() => gate.promise);
  expect((await refusal(places.during(async () => undefined))).code).toBe("unavailable.overloaded");
  gate.resolve();
  await held;
  expect(MAX_PLACES).toBeGreaterThan(1);
});

test("a caller is answered in time while the work goes on with its place", async () => {
  const places = new Places(1);
  const work = places.during(() => gate.promise);
  expect(await refusal(inTime(work, 10, performance.now()))).toEqual({
    code: "unavailable.timeout",
    message: "no result within 10 ms, the work goes on: try again later",
  });
  expect((await refusal(places.during(async () => undefined))).code).toBe("unavailable.overloaded");
  gate.resolve();
  await work;
  expect(
    await inTime(
      places.during(async () => "done"),
      10_000,
      performance.now(),
    ),
  ).toBe("done");
});

test("what a caller waited for before counts", async () => {
  const begun = performance.now() - 9_990;
  expect((await refusal(inTime(gate.promise, 10_000, begun))).code).toBe("unavailable.timeout");
});

test("work that fails after its caller was answered harms nobody", async () => {
  const work = gate.promise.then(() => Promise.reject(new Error("late")));
  expect((await refusal(inTime(work, 10, performance.now()))).code).toBe("unavailable.timeout");
  gate.resolve();
  await expect(work).rejects.toThrow("late");
});
