/** AppAuth.isAppAllowed: the decision table row by row. */
import { expect, test } from "vitest";
import { appOwner, ask, BOOT_INFO, deployApp, stranger, word, ZERO_WORD } from "./trust-domain.ts";

const { deviceId: DEVICE, composeHash: HASH } = BOOT_INFO;
const TCB_REASON = "TCB status is not up to date";
const HASH_REASON = "Compose hash not allowed";
const DEVICE_REASON = "Device not allowed";
// A7 A8 A11 A12: rules of the app (TCB rule, any device), then the machine, then the answer: the first failing rule gives the reason.
test.each([
  ["a listed hash on a listed device", false, false, {}, [true, ""]],
  ["an outdated platform without the TCB rule", false, false, { tcbStatus: "OutOfDate" }, [true, ""]],
  ["an up-to-date platform under the TCB rule", true, false, {}, [true, ""]],
  ["an outdated platform under the TCB rule", true, false, { tcbStatus: "OutOfDate" }, [false, TCB_REASON]],
  ["a status in other letters under the TCB rule", true, true, { tcbStatus: "uptodate" }, [false, TCB_REASON]],
  ["a status with a trailing space under the TCB rule", true, true, { tcbStatus: "UpToDate " }, [false, TCB_REASON]],
  ["an empty status under the TCB rule", true, true, { tcbStatus: "" }, [false, TCB_REASON]],
  [
    "an outdated platform with an unlisted hash: TCB comes first",
    true,
    false,
    { tcbStatus: "", composeHash: word("x") },
    [false, TCB_REASON],
  ],
  ["an unlisted hash", false, true, { composeHash: word("x") }, [false, HASH_REASON]],
  ["a zero hash", false, true, { composeHash: ZERO_WORD }, [false, HASH_REASON]],
  [
    "an unlisted hash on an unlisted device: the hash comes first",
    false,
    false,
    { composeHash: word("x"), deviceId: word("x") },
    [false, HASH_REASON],
  ],
  ["an unlisted device", false, false, { deviceId: word("x") }, [false, DEVICE_REASON]],
  ["a zero device", false, false, { deviceId: ZERO_WORD }, [false, DEVICE_REASON]],
  ["an unlisted device while any is allowed", false, true, { deviceId: word("x") }, [true, ""]],
  [
    "fields that no rule reads",
    true,
    false,
    {
      appId: stranger,
      instanceId: stranger,
      mrAggregated: word("x"),
      mrSystem: word("x"),
      osImageHash: word("x"),
      advisoryIds: [],
    },
    [true, ""],
  ],
] as const)("answers %s", async (_name, requireTcb, anyDevice, change, answer) => {
  const { app } = await deployApp([appOwner, false, requireTcb, anyDevice, DEVICE, HASH]);
  expect(await ask(app, "isAppAllowed", [{ ...BOOT_INFO, ...change }])).toEqual(answer);
});
