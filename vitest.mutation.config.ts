/** The tests of the verifier that need no process, socket or contract: those that every mutant of kms/attestation is put before. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  // beside the sandbox's own files, not in the node_modules that it shares
  cacheDir: "cache/vite",
  test: {
    include: [
      "test/kms/tdx-{decoders,extension,mutations,samples,steps,tcb,x509,rules,json}*.test.ts",
      "test/kms/{evidence,events,event-*,envelope-*,boot-info,appraise,report-data,standing,verifier,ccel,key-provider}*.test.ts",
      "test/kms/{opened-collateral,collateral-signer,compose}*.test.ts",
      "test/kms/{os-image,image,acpi,authenticode,tdvf,mrtd,td-hob,kernel,vm-config}*.test.ts",
    ],
    exclude: [
      "test/kms/**/*-{process,command,disk,fetch,net,http}.test.ts",
      "test/kms/evidence-{corpus-generated,differential}.test.ts",
    ],
    testTimeout: 60_000,
  },
});
