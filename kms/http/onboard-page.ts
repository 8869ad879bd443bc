/** The page that drives the Onboard RPCs. It is whole in itself: nothing is loaded, and its policy lets nothing else run. */
import { createHash } from "node:crypto";

const style = `
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
fieldset { border: 1px solid #d0d7de; border-radius: 6px; margin: 1rem 0; padding: 1rem; }
label { display: block; margin: .5rem 0; }
input { width: 100%; box-sizing: border-box; padding: .4rem; font: inherit; }
button { padding: .4rem 1rem; font: inherit; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem; overflow-wrap: anywhere; font-family: monospace; }
pre { background: #f6f8fa; padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere; }
pre:empty { display: none; }
.failed { color: #b3261e; }
`;

// Success is the absence of an error member, whatever the status: that is what every release of the service promises.
const script = `
const element = (id) => document.getElementById(id);
const call = async (method, input) => {
  const response = await fetch("/prpc/Onboard." + method + "?json", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(input),
  });
  const answer = await response.json();
  if (answer && answer.error) throw new Error(typeof answer.error === "string" ? answer.error : answer.error.description);
  return answer;
};
const hex = (text) => "0x" + text;
const show = (text, failed) => {
  element("result").textContent = text;
  element("result").className = failed ? "failed" : "";
};
const row = (name, value) => {
  const term = document.createElement("dt");
  const detail = document.createElement("dd");
  term.textContent = name;
  detail.textContent = value || "–";
  element("info").append(term, detail);
};
const run = async (work) => {
  for (const button of document.querySelectorAll("button")) button.disabled = true;
  show("working…");
  try { show(await work()); } catch (error) { show(error.message, true); }
  for (const button of document.querySelectorAll("button")) button.disabled = false;
};
const loadInfo = async () => {
  const info = await call("GetAttestationInfo", {});
  if (info.site_name) document.title = element("title").textContent = info.site_name;
  row("TEE variant", info.tee_variant);
  row("PPID", info.ppid);
  row("Device ID", hex(info.device_id));
  row("MR aggregated", hex(info.mr_aggregated));
  row("OS image hash", hex(info.os_image_hash));
  row("Ethereum RPC", info.eth_rpc_url);
  row("KMS contract", info.kms_contract_address);
};
element("bootstrap").addEventListener("submit", (event) => {
  event.preventDefault();
  run(async () => {
    const keys = await call("Bootstrap", { domain: element("bootstrap-domain").value });
    const shown = { caPubkey: hex(keys.ca_pubkey), k256Pubkey: hex(keys.k256_pubkey), attestation: hex(keys.attestation) };
    return JSON.stringify(shown, null, 2);
  });
});
element("onboard").addEventListener("submit", (event) => {
  event.preventDefault();
  run(async () => {
    const source = element("source-url").value + "/prpc";
    const keys = await call("Onboard", { source_url: source, domain: element("onboard-domain").value });
    return JSON.stringify({ k256Pubkey: hex(keys.k256_pubkey) }, null, 2);
  });
});
element("finish").addEventListener("click", () => run(async () => (await fetch("/finish")).text()));
loadInfo().catch((error) => show(error.message, true));
`;

export const onboardPage = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>KMS onboarding</title>
<style>${style}</style>
</head>
<body>
<h1 id="title">KMS onboarding</h1>
<p>This KMS has no keys yet. Allow its identity on the chain, then make new keys or take those of another KMS.</p>
<dl id="info"></dl>
<form id="bootstrap"><fieldset><legend>Make new root keys</legend>
<label>Domain of this KMS <input id="bootstrap-domain" required autocomplete="off"></label>
<button>Bootstrap</button></fieldset></form>
<form id="onboard"><fieldset><legend>Take the keys of another KMS</legend>
<label>URL of the other KMS <input id="source-url" type="url" required placeholder="https://kms.example.com:8000"></label>
<label>Domain of this KMS <input id="onboard-domain" required autocomplete="off"></label>
<button>Onboard</button></fieldset></form>
<pre id="result" role="status"></pre>
<p><button id="finish">Finish</button> ends onboarding and starts the service.</p>
<script>${script}</script>
</body>
</html>
`;

/** Only this script and this style run, and they talk to this server alone. */
export const onboardPagePolicy = [
  "default-src 'none'",
  `script-src '${digest(script)}'`,
  `style-src '${digest(style)}'`,
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

function digest(text: string): string {
  return `sha256-${createHash("sha256").update(text).digest("base64")}`;
}
