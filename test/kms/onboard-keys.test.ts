/** Onboarding after the first connection: who answers the second, what keys come, and what the policy and the contract say to them. */
import type { ServerResponse } from "node:http";
import { connect, createServer, type Server } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { generateP256Scalar, generateRootKeys } from "../../kms/keys/root-keys.ts";
import type { SourceLimits } from "../../kms/replication/source.ts";
import { createReceiver, type Receiver, replicaDomain, sourceTd } from "./support/receiver.ts";
import { refusal } from "./support/refusals.ts";
import {
  keyText,
  kmsKeyAnswer,
  publicKeys,
  random,
  type SourceKms,
  type SourceOptions,
  sourceRpcScalar,
  startSource,
  tempCaAnswer,
} from "./support/source-kms.ts";

const otherRoots = generateRootKeys(random);
const otherScalar = generateP256Scalar(random);
const [honest] = kmsKeyAnswer.keys;
const zeroAddress = `0x${"0".repeat(40)}`;

let node: Receiver;
beforeAll(async () => {
  node = await createReceiver();
});
afterAll(() => node.close());
beforeEach(() => node.reset());
afterEach(() => node.source?.close());

/** A source that answers GetKmsKey with this. */
const giving = (answer: unknown) => ({
  answer: (method: string) => (method === "GetKmsKey" ? answer : undefined),
});

/** Forwards the first connection to one server and all later ones to another, byte by byte. */
async function switching(first: string, later: string): Promise<{ url: string; server: Server }> {
  let count = 0;
  const server = createServer((socket) => {
    count += 1;
    const target = connect(Number(new URL(count === 1 ? first : later).port), "127.0.0.1");
    socket.pipe(target).pipe(socket);
    socket.on("error", () => target.destroy());
    target.on("error", () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return { url: `https://127.0.0.1:${typeof address === "object" ? address?.port : 0}`, server };
}

describe("someone between who passes on the first connection and answers the second", () => {
  let impostor: SourceKms;
  afterEach(() => impostor.close());

  test.each<[string, Partial<SourceOptions>]>([
    ["a certificate without evidence", { extensions: ({ usage }) => [usage] }],
    ["a copy of the source's evidence", { evidenceOver: sourceRpcScalar }],
    ["evidence of its own, of a KMS that the policy allows", {}],
  ])("with %s gets no request, and its keys are not taken", async (_, certificate) => {
    node.source = await startSource({ td: sourceTd });
    impostor = await startSource({ td: sourceTd, rpcScalar: otherScalar, ...certificate });
    const { url, server } = await switching(node.source.url, impostor.url);
    await node.refused(
      node.onboard().from(url, replicaDomain),
      "unproven.server-identity",
      "server key is not the one that was attested",
    );
    expect(impostor.requests).toEqual([]);
    expect(node.source.requests.map(({ path }) => path)).toEqual(["/prpc/GetTempCaCert?json"]);
    server.close();
  });

  test("may only pass both on", async () => {
    node.source = await startSource({ td: sourceTd });
    impostor = await startSource({ td: sourceTd });
    const { url, server } = await switching(node.source.url, impostor.url); // the same key: a source that started again
    await node.onboard().from(url, replicaDomain);
    expect(impostor.requests).toHaveLength(1);
    server.close();
  });
});

describe("keys are refused", () => {
  const caKey = honest?.ca_key ?? "";
  const k256Key = honest?.k256_key ?? "";
  const notPem = "need one PKCS#8 key in PEM (BEGIN PRIVATE KEY)";
  const keys = (changes: object) => giving({ ...kmsKeyAnswer, keys: [{ ...honest, ...changes }] });

  test.each<[string, object, string, string]>([
    ["that are none", giving({ ...kmsKeyAnswer, keys: [] }), "malformed.key", "Invalid keys"],
    ["that are two sets", giving({ ...kmsKeyAnswer, keys: [honest, honest] }), "malformed.key", "Invalid keys"],
    ["with a k256 key cut short", keys({ k256_key: k256Key.slice(2) }), "malformed.key", "need 32 bytes, have 31"],
    ["with an empty k256 key", keys({ k256_key: "" }), "malformed.key", "need 32 bytes, have 0"],
    ["with a k256 key of zeros", keys({ k256_key: "00".repeat(32) }), "malformed.key", "out of range of the curve"],
    ["with a k256 key over the order", keys({ k256_key: "ff".repeat(32) }), "malformed.key", "out of range of the curve"],
    ["with a k256 key that is no hex", keys({ k256_key: "xy".repeat(32) }), "malformed.key", "need hex"],
    ["with a root CA key cut short", keys({ ca_key: caKey.slice(0, 100) }), "malformed.key", notPem],
    ["with an empty root CA key", keys({ ca_key: "" }), "malformed.key", notPem],
    ["with a root CA key and more", keys({ ca_key: caKey + caKey }), "malformed.key", notPem],
    [
      "with a root CA key that is not that of the root CA shown before",
      keys({ ca_key: keyText(otherRoots.caScalar) }),
      "unproven.server-identity",
      "root CA key is not the key of the certificate that the source showed",
    ],
    [
      "with a temp CA key that is not that of the temp CA shown before",
      giving({ ...kmsKeyAnswer, temp_ca_key: keyText(otherScalar) }),
      "unproven.server-identity",
      "temp CA key is not the key of the certificate that the source showed",
    ],
  ])("%s", async (_, source, code, text) => {
    const refused = await refusal(node.from(source));
    expect(refused.code).toBe(code);
    expect(refused.message).toMatch(/^Failed to onboard: Invalid keys/);
    expect(refused.message).toContain(text);
    expect(refused.message).not.toContain(k256Key.slice(2, 20));
    expect(node.stored()).toEqual([]);
    expect(node.around.webhook.calls.some(({ method }) => method === "GET")).toBe(false);
  });

  test.each([[null], [{}], [{ temp_ca_key: 1, keys: [] }], [{ ...kmsKeyAnswer, keys: {} }]])(
    "whose answer is %j, which says nothing about them",
    async (answer) => {
      const giveAnything = {
        answer: (method: string, response: ServerResponse) => {
          if (method !== "GetKmsKey") return undefined;
          response.end(JSON.stringify(answer));
          return "taken over";
        },
      };
      await node.refused(node.from(giveAnything), "unavailable.kms", "GetKmsKey: the answer cannot be decoded");
    },
  );

  test("in very old hex, but not for that", async () => {
    await node.from(keys({ k256_key: `0x${k256Key.toUpperCase()}` }));
    expect(node.stored()).toContain("root-k256.key");
  });
});

describe("a source", () => {
  const limits: SourceLimits = {
    tempCa: { connectMs: 300, timeoutMs: 300, maxReplyBytes: 64 * 1024 },
    keys: { connectMs: 300, timeoutMs: 300, maxReplyBytes: 64 * 1024 },
  };

  test.each(["GetTempCaCert", "GetKmsKey"])("that hangs in %s is left after the limit", async (method) => {
    const options = { answer: (called: string) => (called === method ? "taken over" : undefined) };
    await node.refused(node.from(options, { limits }), "unavailable.kms", expect.stringContaining("no answer within 300 ms"));
  });

  test.each(["GetTempCaCert", "GetKmsKey"])("that answers %s with a gigabyte is cut off at the limit", async (method) => {
    let sent = 0;
    const chunk = Buffer.alloc(64 * 1024, "x");
    const flood = (called: string, response: ServerResponse) => {
      if (called !== method) return undefined;
      const write = () => {
        if (sent >= 1024 ** 3 || response.destroyed) return;
        sent += chunk.length;
        if (response.write(chunk)) setImmediate(write);
        else response.once("drain", write);
      };
      write();
      return "taken over";
    };
    await node.refused(node.from({ answer: flood }), "unavailable.kms", expect.stringContaining("over 65536 bytes"));
    expect(sent).toBeLessThan(32 * 1024 * 1024);
  });

  test("that accepts a connection and says nothing is left after the limit", async () => {
    const server = createServer(() => undefined);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const url = `https://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
    const work = node.onboard({ limits }).from(url, replicaDomain);
    await node.refused(work, "unavailable.kms", expect.stringContaining("no connection within 300 ms"));
    server.close();
  });

  test("that is not there, or answers nonsense, is unavailable", async () => {
    const nowhere = node.onboard().from("https://127.0.0.1:1", replicaDomain);
    await node.refused(nowhere, "unavailable.kms", expect.stringContaining("ECONNREFUSED"));
    const broken = node.from({ answer: () => ({ ...tempCaAnswer, ca_cert: "" }) });
    await node.refused(broken, "unavailable.kms", "GetTempCaCert: the answer cannot be decoded");
  });

  test("that refuses this KMS is quoted with its code", async () => {
    const denies = (called: string, response: ServerResponse) => {
      if (called !== "GetKmsKey") return undefined;
      response.writeHead(400, { "X-Error-Code": "denied.policy" }).end('{"error":"Boot denied: KMS MR not allowed"}');
      return "taken over";
    };
    await node.refused(node.from({ answer: denies }), "denied.policy", "Boot denied: KMS MR not allowed");
  });
});

describe("this side's policy", () => {
  const denial = "Source KMS is not allowed for onboarding: boot denied: ";

  test("may deny the source, which then is asked for no keys", async () => {
    node.deny = () => "Aggregated MR not allowed";
    await node.refused(node.from(), "denied.policy", `${denial}Aggregated MR not allowed`);
    expect(node.source?.requests.map(({ path }) => path)).toEqual(["/prpc/GetTempCaCert?json"]);
  });

  test("may revoke the source while it answers", async () => {
    let asked = 0;
    node.deny = () => (++asked > 1 ? "Aggregated MR not allowed" : undefined);
    await node.refused(node.from(), "denied.policy", `${denial}Aggregated MR not allowed`);
    expect(asked).toBe(2);
  });

  test("that cannot be read allows nothing", async () => {
    node.deny = () => "authorization backend unavailable";
    await node.refused(node.from(), "unavailable.webhook", `${denial}authorization backend unavailable`);
  });
});

describe("the keys in the contract", () => {
  test.each([
    ["k256Pubkey", { ...publicKeys, k256Pubkey: `02${"11".repeat(32)}` }],
    ["caPubkey", { ...publicKeys, caPubkey: `3059${"22".repeat(89)}` }],
    ["caPubkey, which is empty", { ...publicKeys, caPubkey: "" }],
  ])("must be those that came: another %s is refused before anything is stored", async (_, kmsInfo) => {
    node.description = { kmsInfo };
    const { k256Pubkey, caPubkey } = publicKeys;
    const need = `k256Pubkey ${kmsInfo.k256Pubkey}, caPubkey ${kmsInfo.caPubkey}`;
    const message = `root keys are not those of KmsAuth: need ${need}, have k256Pubkey ${k256Pubkey}, caPubkey ${caPubkey}`;
    await node.refused(node.from(), "unproven.root-keys", message);
  });

  test("may be written with 0x and capitals", async () => {
    const capitals = (text: string) => `0x${text.toUpperCase()}`;
    node.description = {
      kmsInfo: { k256Pubkey: capitals(publicKeys.k256Pubkey), caPubkey: capitals(publicKeys.caPubkey) },
    };
    await node.from();
    expect(node.warnings).toEqual([]);
  });

  test("must be there", async () => {
    node.description = { kmsInfo: null };
    const remedy = "register those of the source first: ./run hardhat kms register --bootstrap-info FILE";
    await node.refused(node.from(), "denied.no-keys-registered", `KmsAuth has no root keys to compare with, ${remedy}`);
  });

  test("must be readable", async () => {
    const failing = { status: 500, body: '{"status":"error","message":"authorization backend unavailable"}' };
    node.around.webhook.respond = ({ method }) => (method === "GET" ? failing : undefined);
    await node.refused(node.from(), "unavailable.webhook", expect.stringContaining("returned 500"));
  });

  test.each([
    ["of another make", {}],
    ["that reads a file and names no contract", { kmsInfo: null, kmsContractAddr: zeroAddress, chainId: 0 }],
    ["that reads a file and names nothing", { kmsInfo: null, kmsContractAddr: "", appImplementation: "", chainId: 0 }],
    ["without ethRpcUrl", { ethRpcUrl: undefined }],
  ])("are not compared, with a warning, behind a webhook %s", async (_, description) => {
    node.description = description;
    await node.from();
    expect(node.warnings).toEqual(["the webhook does not report the registered root keys: they are not compared"]);
    expect(node.stored()).toContain("root-ca.key");
  });
});

test("nothing is stored when this side cannot make its own evidence any more", async () => {
  let calls = 0;
  const ownEvidence = {
    ...node.services.ownEvidence,
    forCertificate: () => {
      calls += 1;
      return Promise.reject(new Error("gone"));
    },
  };
  await node.refused(node.from({}, { ownEvidence }), "fault.internal", "internal error");
  expect(calls).toBe(1);
});
