/** What the transport knows of an RPC: its name, its message types and the work. */
import type { DescMessage, DescService } from "@bufbuild/protobuf";
import type { VerifiedEvidence } from "../attestation/verifier.ts";
import type { PlainMessage } from "./plain.ts";

/** What a handler may know of its caller: the verified evidence of the client certificate, and nothing that a request can claim. */
export interface Call {
  readonly caller: () => VerifiedEvidence | undefined;
}

export type Handle = (input: PlainMessage, call: Call) => Promise<PlainMessage | null>;

export interface Rpc {
  readonly name: string;
  readonly input: DescMessage | "empty";
  readonly output: DescMessage | "empty";
  readonly handle: Handle;
}

/** Joins the methods of a service of kms.proto with their work. A method left out is not served; an unknown one is a mistake. */
export function rpcsOf(service: DescService, handlers: Readonly<Record<string, Handle>>): Rpc[] {
  return Object.entries(handlers).map(([name, handle]) => {
    const method = service.methods.find((candidate) => candidate.name === name);
    if (method === undefined) throw new TypeError(`service ${service.name} has no method ${name}`);
    return { name, input: messageOrEmpty(method.input), output: messageOrEmpty(method.output), handle };
  });
}

function messageOrEmpty(desc: DescMessage): DescMessage | "empty" {
  return desc.typeName === "google.protobuf.Empty" ? "empty" : desc;
}
