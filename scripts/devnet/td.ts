/** A simulated TD: real registers that events extend, and the evidence its guest agent hands out. */
import { createHash } from "node:crypto";
import { eventDigest, extend, RUNTIME_EVENT_TYPE } from "../../kms/attestation/events.ts";
import {
  type Evidence,
  encodeEvidence,
  preferredWire,
  type RuntimeEvent,
  type TdxEvent,
} from "../../kms/attestation/evidence.ts";
import { mrConfigIdV1 } from "../../kms/attestation/mr-config.ts";
import { concat, needLength, utf8 } from "../../kms/bytes.ts";
import { type Launched, type LiteImage, launch, type VmShape, vmConfigText } from "./lite-image.ts";
import type { SimulatedPlatform } from "./platform.ts";
import type { QuoteKnobs } from "./quote.ts";

export interface TdSettings {
  readonly platform: SimulatedPlatform;
  readonly image: LiteImage;
  /** A launch of real files, in place of the image's. */
  readonly launched?: Launched;
  readonly shape: VmShape;
  /** The bytes of app-compose.json as delivered; their hash is the compose hash. */
  readonly appCompose: string;
  /** Given at deployment; otherwise cut from the compose hash. */
  readonly appId?: Uint8Array;
  /** 20 bytes; without it the VM has no instance id. */
  readonly instanceSeed?: Uint8Array;
  /** The key provider that has already answered; an app that asks a KMS has none yet. */
  readonly keyProvider?: string;
  /** Hashes of the app's init scripts. */
  readonly initScriptHashes?: readonly Uint8Array[];
  readonly eventVersion?: 1 | 2;
  readonly quoteKnobs?: QuoteKnobs;
}

export interface SimulatedTd {
  readonly appId: Uint8Array;
  readonly instanceId: Uint8Array;
  readonly composeHash: Uint8Array;
  readonly appCompose: string;
  readonly vmConfig: string;
  readonly osImageHash: Uint8Array;
  readonly mrTd: Uint8Array;
  readonly mrConfigId: Uint8Array;
  readonly registers: () => readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  readonly runtimeEvents: () => readonly RuntimeEvent[];
  readonly eventLog: () => readonly TdxEvent[];
  readonly measure: (event: string, payload: Uint8Array) => void;
  readonly quote: (reportData: Uint8Array) => Uint8Array;
  readonly evidence: (reportData: Uint8Array) => Evidence;
  /** The envelope of `Attest`: full, not stripped. */
  readonly attest: (reportData: Uint8Array) => Uint8Array;
}

const acpiEventType = 10;
const nothing = new Uint8Array(0);
const defaultGpuPolicy = "{}";
const sha256 = (data: string | Uint8Array): Uint8Array => new Uint8Array(createHash("sha256").update(data).digest());

export function startTd(settings: TdSettings): SimulatedTd {
  const version = settings.eventVersion ?? 1;
  const composeHash = sha256(settings.appCompose);
  const appId = needLength(settings.appId ?? composeHash.subarray(0, 20), 20, "app id");
  const instanceId = settings.instanceSeed === undefined ? nothing : sha256(concat(settings.instanceSeed, appId)).subarray(0, 20);
  const { osImageHash, vmConfig, registers: started } = settings.launched ?? launchLite(settings);
  const mrConfigId = mrConfigIdV1(composeHash);
  const [rtmr0, rtmr1, rtmr2] = started.rtmrs;
  let rtmr3: Uint8Array = new Uint8Array(48);
  const runtimeEvents: RuntimeEvent[] = [];
  const eventLog: TdxEvent[] = started.acpi.map(({ name, digest }) => ({
    imr: 0,
    eventType: acpiEventType,
    digest,
    event: name,
    eventPayload: utf8("ACPI DATA"),
    version: 1,
  }));
  const measure = (event: string, payload: Uint8Array): void => {
    const runtimeEvent: RuntimeEvent = { event, payload, version };
    const digest = eventDigest(runtimeEvent, "sha384");
    rtmr3 = extend(rtmr3, digest, "sha384");
    runtimeEvents.push(runtimeEvent);
    eventLog.push({ imr: 3, eventType: RUNTIME_EVENT_TYPE, digest, event, eventPayload: payload, version });
  };
  const registers = () => [rtmr0, rtmr1, rtmr2, rtmr3] as const;
  const quote = (reportData: Uint8Array) =>
    settings.platform.quote({ mrTd: started.mrTd, mrConfigId, rtmrs: registers(), reportData }, settings.quoteKnobs);
  const evidence = (reportData: Uint8Array): Evidence => {
    const stack = { kind: "dstack", reportData, runtimeEvents: [...runtimeEvents], config: vmConfig } as const;
    const platform = { kind: "tdx", quote: quote(reportData), eventLog: [...eventLog] } as const;
    return { wire: preferredWire(stack), platform, stack };
  };
  boot(measure, {
    appId,
    composeHash,
    instanceId,
    initScriptHashes: settings.initScriptHashes ?? [],
    keyProvider: settings.keyProvider,
  });
  return {
    appId,
    instanceId,
    composeHash,
    appCompose: settings.appCompose,
    vmConfig,
    osImageHash,
    mrTd: started.mrTd,
    mrConfigId,
    registers,
    runtimeEvents: () => runtimeEvents,
    eventLog: () => eventLog,
    measure,
    quote,
    evidence,
    attest: (reportData) => encodeEvidence(evidence(reportData)),
  };
}

function launchLite({ image, shape }: TdSettings): Launched {
  return { osImageHash: image.osImageHash, vmConfig: vmConfigText(image, shape), registers: launch(image, shape) };
}

/** The guest's own order (tdx-attestation 3.3). In KMS mode the log ends at boot-mr-done until the keys have come. */
function boot(
  measure: (event: string, payload: Uint8Array) => void,
  facts: {
    readonly appId: Uint8Array;
    readonly composeHash: Uint8Array;
    readonly instanceId: Uint8Array;
    readonly initScriptHashes: readonly Uint8Array[];
    readonly keyProvider: string | undefined;
  },
): void {
  measure("system-preparing", nothing);
  measure("app-id", facts.appId);
  measure("compose-hash", facts.composeHash);
  for (const hash of facts.initScriptHashes) measure("init-script-hash", hash);
  measure("gpu-policy-hash", sha256(defaultGpuPolicy));
  measure("instance-id", facts.instanceId);
  measure("boot-mr-done", nothing);
  if (facts.keyProvider === undefined) return;
  measure("key-provider", utf8(facts.keyProvider));
  measure("storage-fs", utf8("zfs"));
  measure("system-ready", nothing);
}
