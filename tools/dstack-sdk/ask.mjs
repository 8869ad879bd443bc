/** Calls the published SDK for a test: one JSON request on stdin, one JSON answer on stdout. The SDK needs older libraries than ours. */
import { text } from "node:stream/consumers";
import { DstackClient, getComposeHash, verifyEnvEncryptPublicKey, verifyEnvEncryptPublicKeyLegacy } from "@phala/dstack-sdk";
import { encryptEnvVars } from "@phala/dstack-sdk/encrypt-env-vars";

const bytes = (hex) => new Uint8Array(Buffer.from(hex, "hex"));

const calls = {
  verify: ({ publicKey, signature, appId, timestamp }) =>
    verifyEnvEncryptPublicKey(bytes(publicKey), bytes(signature), appId, timestamp),
  verifyLegacy: ({ publicKey, signature, appId }) => verifyEnvEncryptPublicKeyLegacy(bytes(publicKey), bytes(signature), appId),
  encrypt: ({ items, publicKey }) => encryptEnvVars(items, publicKey),
  composeHash: ({ compose }) => getComposeHash(compose),
  attest: ({ endpoint, reportData }) => new DstackClient(endpoint).attest(bytes(reportData)),
  getQuote: ({ endpoint, reportData }) => new DstackClient(endpoint).getQuote(bytes(reportData)),
  info: ({ endpoint }) => new DstackClient(endpoint).info(),
  isReachable: ({ endpoint }) => new DstackClient(endpoint).isReachable(),
};

const { call, ...input } = JSON.parse(await text(process.stdin));
process.stdout.write(JSON.stringify({ answer: await calls[call](input) }));
