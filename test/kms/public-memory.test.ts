import { expect, test } from "vitest";
import { signEnvPublicKey } from "../../kms/keys/app-keys.ts";
import { signaturePrefixes } from "../../kms/keys/kdf.ts";
import { PublicMemory } from "../../kms/keys/public-memory.ts";
import { RootKeys } from "../../kms/keys/root-keys.ts";

const app = (byte: number) => new Uint8Array(20).fill(byte);
const root = (byte: number) => new RootKeys(new Uint8Array(32).fill(byte), new Uint8Array(32).fill(byte));

test("a signature is made once for each purpose and app", () => {
  const memory = new PublicMemory();
  let made = 0;
  const sign = () => Uint8Array.of(++made);
  const ask = (prefix: keyof typeof signaturePrefixes, byte: number) =>
    memory.of(signaturePrefixes[prefix], [app(byte)], sign)[0];
  expect([ask("appKey", 1), ask("appKey", 1), ask("envKey", 1), ask("appKey", 2), ask("appKey", 1)]).toEqual([1, 1, 2, 3, 1]);
});

test("what a caller does to its copy changes no later answer", () => {
  const memory = new PublicMemory();
  const ask = () => memory.of(signaturePrefixes.appKey, [app(1)], () => Uint8Array.of(7));
  ask().fill(0);
  ask().fill(0);
  expect(ask()).toEqual(Uint8Array.of(7));
});

test("the oldest goes when there are too many", () => {
  const memory = new PublicMemory();
  let made = 0;
  const ask = (number: number) => {
    const id = app(0);
    new DataView(id.buffer).setUint32(0, number);
    memory.of(signaturePrefixes.appKey, [id], () => Uint8Array.of(++made & 0xff));
  };
  for (let number = 0; number <= 1_024; number++) ask(number);
  ask(1_024);
  expect(made).toBe(1_025);
  ask(0);
  expect(made).toBe(1_026);
});

test("root keys do not share their memories", () => {
  const at = new Date(0);
  const [one, two] = [root(1), root(2)];
  expect(signEnvPublicKey(one, app(1), at)).toEqual(signEnvPublicKey(one, app(1), at));
  expect(signEnvPublicKey(one, app(1), at).signature).not.toEqual(signEnvPublicKey(two, app(1), at).signature);
  expect(signEnvPublicKey(root(1), app(1), at)).toEqual(signEnvPublicKey(one, app(1), at));
});
