/** Audit replay: every list, switch and rule of a strict trust domain and its apps, from PolicyChanged logs alone. */
import fc from "fast-check";
import { type Address, getAddress, type Hex, keccak256, toHex } from "viem";
import { expect, test } from "vitest";
import { APP_CHANGES, KMS_CHANGES, NEW_APP_CHANGES, NEW_KMS_CHANGES, text } from "./strict-changes.ts";
import { appOf, bootstrapped, deployStrictApp, strictKms } from "./strict-domain.ts";
import {
  appOwner,
  ask,
  BOOT_INFO,
  type Contract,
  client,
  networkHelpers,
  owner,
  padded,
  refusal,
  type SetterRow,
  send,
  tag,
  ZERO_WORD,
} from "./trust-domain.ts";

/** What a reader of the log knows: the last word on each rule and value, and the last value of each rule. */
interface Replayed {
  readonly rules: ReadonlyMap<string, boolean>;
  readonly latest: ReadonlyMap<string, Hex>;
}

async function replay(contract: Contract): Promise<Replayed> {
  const logs = await client.getContractEvents({ ...contract, eventName: "PolicyChanged", fromBlock: 0n, strict: true });
  const [rules, latest] = [new Map<string, boolean>(), new Map<string, Hex>()];
  for (const { topics, data } of logs) {
    const [, , policy, value] = topics;
    if (policy === undefined || value === undefined) throw new Error("an audit log without its rule");
    rules.set(`${policy},${value}`, BigInt(data) === 1n);
    latest.set(policy, value);
  }
  return { rules, latest };
}

/** Rules with one value at a time: how a getter's answer reads as the value of a log. */
const SINGLE: Readonly<Record<string, (answer: unknown) => Hex>> = {
  "gateway-app-id": (id) => text(String(id)),
  "app-implementation": (address) => padded(getAddress(String(address))),
  "quote-verifier": (address) => padded(getAddress(String(address))),
  hardening: (bits) => toHex(BigInt(String(bits)), { size: 32 }),
  "kms-info": (info) => keccak256(Array.isArray(info) && info[0] !== "0x" ? info[0] : "0x"),
};
/** What the getter of a rule answers before the first log. */
const UNSET: Readonly<Record<string, Hex>> = {
  "gateway-app-id": text(""),
  "quote-verifier": ZERO_WORD,
  "kms-info": keccak256("0x"),
};

async function expectReplayed(contract: Contract, rows: readonly (readonly [...SetterRow, ...unknown[]])[]): Promise<void> {
  const { rules, latest } = await replay(contract);
  for (const [setter, , , , policy, value, , getter, getterArgs] of rows) {
    const answer = await ask(contract, getter, getterArgs);
    const single = SINGLE[policy];
    const known =
      single === undefined ? (rules.get(`${tag(policy)},${value}`) ?? false) : (latest.get(tag(policy)) ?? UNSET[policy]);
    expect([setter, known]).toEqual([setter, single === undefined ? Boolean(answer) : single(answer)]);
  }
}

const keysOf = (seed: number): SetterRow => {
  const info = bootstrapped(seed);
  const { k256Pubkey } = info;
  return ["setKmsInfo", [info], "KmsInfoSet", { k256Pubkey }, "kms-info", keccak256(k256Pubkey), true, "kmsInfo", []];
};
const KMS_ROWS = [...KMS_CHANGES, ...NEW_KMS_CHANGES, keysOf(7), keysOf(40)];
const APP_ROWS = [...APP_CHANGES, ...NEW_APP_CHANGES];

async function walk(
  contract: Contract,
  holder: Address,
  rows: readonly (readonly [...SetterRow, ...unknown[]])[],
  steps: readonly number[],
) {
  for (const step of steps) {
    const row = rows[step % rows.length];
    if (row === undefined || (await refusal(holder, contract, row[0], row[1])) !== undefined) continue;
    await send(holder, contract, row[0], row[1]);
  }
}

const steps = fc.array(fc.nat({ max: 10_000 }), { minLength: 30, maxLength: 60 });
const runs = { numRuns: 6, seed: 20_260_801, endOnFailure: true } as const;

test("after any changes, repeats and no-ops the replayed log of a trust domain is what its getters answer", async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (chosen) => {
      const snapshot = await networkHelpers.takeSnapshot();
      await walk(strictKms, owner, KMS_ROWS, chosen);
      await expectReplayed(strictKms, KMS_ROWS);
      await snapshot.restore();
    }),
    runs,
  );
});

// Flags that are set as an app is built have logs too: nothing has to be asked of the contract.
test.each([
  ["locked, with every rule", [true, true, true, BOOT_INFO.deviceId, BOOT_INFO.composeHash]],
  ["with nothing", [false, false, false, ZERO_WORD, ZERO_WORD]],
] as const)(
  "the replayed log of an app that was built %s is what its getters answer, then and after any changes",
  async (_name, settings) => {
    for (const { app } of [await appOf(strictKms, [appOwner, ...settings]), await deployStrictApp([appOwner, ...settings])]) {
      await expectReplayed(app, APP_ROWS);
      await fc.assert(
        fc.asyncProperty(steps, async (chosen) => {
          const snapshot = await networkHelpers.takeSnapshot();
          await walk(app, appOwner, APP_ROWS, chosen);
          await expectReplayed(app, APP_ROWS);
          await snapshot.restore();
        }),
        { ...runs, numRuns: 3 },
      );
    }
  },
);

test("in strict mode two logs of one rule and value never say the same twice in a row", async () => {
  for (const [setter, args] of [...KMS_ROWS, ...KMS_ROWS.toReversed(), ...KMS_ROWS]) {
    if (setter === "setHardening" || (await refusal(owner, strictKms, setter, args)) !== undefined) continue;
    await send(owner, strictKms, setter, args);
  }
  const logs = await client.getContractEvents({ ...strictKms, eventName: "PolicyChanged", fromBlock: 0n, strict: true });
  const last = new Map<string, string>();
  for (const { topics, data } of logs) {
    const [, , policy, value] = topics;
    const isSingle = Object.keys(SINGLE).some((name) => tag(name) === policy);
    const [rule, said] = isSingle ? [`${policy}`, `${value}`] : [`${policy},${value}`, data];
    expect(last.get(rule)).not.toBe(said);
    last.set(rule, said);
  }
  expect(last.size).toBeGreaterThan(10);
});
