/** The interface of the contracts already deployed, as data: what existing proxies, indexers and tools depend on. */

/** `selector name mutability`. */
export const FUNCTIONS = {
  both: [
    "8da5cb5b owner view",
    "e30c3978 pendingOwner view",
    "f2fde38b transferOwnership nonpayable",
    "79ba5097 acceptOwnership nonpayable",
    "715018a6 renounceOwnership nonpayable",
    "4f1ef286 upgradeToAndCall payable",
    "52d1902d proxiableUUID view",
    "ad3cb1cc UPGRADE_INTERFACE_VERSION view",
    "01ffc9a7 supportsInterface view",
  ],
  KmsAuth: [
    "485cc955 initialize nonpayable",
    "7d025352 setKmsInfo nonpayable",
    "18c1ecb2 setKmsQuote nonpayable",
    "736ede7a setKmsEventlog nonpayable",
    "3971db27 setGatewayAppId nonpayable",
    "17a1d80f registerApp nonpayable",
    "3ceaaa11 setAppImplementation nonpayable",
    "9cb9c31f deployAndRegisterApp nonpayable",
    "8618169d deployAndRegisterApp nonpayable",
    "3e32d346 addKmsAggregatedMr nonpayable",
    "2adee48d removeKmsAggregatedMr nonpayable",
    "4d5922a1 addKmsDevice nonpayable",
    "9e6f3114 removeKmsDevice nonpayable",
    "06a3ae96 addOsImageHash nonpayable",
    "9425bac6 removeOsImageHash nonpayable",
    "e067ec9d isKmsAllowed view",
    "1e079198 isAppAllowed view",
    "09177063 kmsInfo view",
    "95f51931 gatewayAppId view",
    "25a992da appImplementation view",
    "a6c4cce9 registeredApps view",
    "f6fe4f40 kmsAllowedAggregatedMrs view",
    "13eb9770 kmsAllowedDeviceIds view",
    "9a4e1d18 allowedOsImages view",
    "65638829 appAuthImplementation view",
  ],
  AppAuth: [
    "187515ca initialize nonpayable",
    "9ed28193 initialize nonpayable",
    "dfc77223 addComposeHash nonpayable",
    "67b3f22c removeComposeHash nonpayable",
    "2a819728 addDevice nonpayable",
    "1d266200 removeDevice nonpayable",
    "7c4beeb8 setAllowAnyDevice nonpayable",
    "6e4c7422 setRequireTcbUpToDate nonpayable",
    "ec669036 disableUpgrades nonpayable",
    "1e079198 isAppAllowed view",
    "54fd4d50 version pure",
    "2f6622e5 allowedComposeHashes view",
    "bf8b211b allowedDeviceIds view",
    "3440a16a allowAnyDevice view",
    "0aa58c83 requireTcbUpToDate view",
  ],
} as const;

/** `topic name(indexed members)`. */
export const EVENTS = {
  both: [
    "0x341d3bc64e32172fc5bcf27b0f7f69dc5adc19af64b7aa1dee361e5883c32375 PolicyChanged(actor,policy,value)",
    "0xbc7cd75a20ee27fd9adebab32041f755214dbc6bffa90cc0225b39da2e5c2d3b Upgraded(implementation)",
    "0xc7f505b2f371ae2175ee4913f4499e1f2633a7b5936321eed1cdaeb6115181d2 Initialized()",
    "0x8be0079c531659141344cd1fd0a4f28419497f9722a3daafe3b4186f6b6457e0 OwnershipTransferred(previousOwner,newOwner)",
    "0x38d16b8cac22d99fc7c124b9cd0de2d3fa1faef420bfe791d8c362d765e22700 OwnershipTransferStarted(previousOwner,newOwner)",
  ],
  KmsAuth: [
    "0x0d540ad8f39e07d19909687352b9fa017405d93c91a6760981fbae9cf28bfef7 AppRegistered()",
    "0xfd86d7f6962eba3b7a3bf9129c06c0b2f885e1c61ef2c9f0dbb856be0deefdee AppDeployedViaFactory(appId,deployer)",
    "0x08bb433f12b5fd81d2d5e0deeb3b4d28371781ddbd80e9d053e7468d2b1aa82d AppImplementationSet()",
    "0x77cdad119a452bbd96c45635758fc4af8a6bde3deaccf3fada634ddf9a162706 KmsInfoSet()",
    "0x5b2b64f770ea5266055ebd3ebf205ef06cbfa738e62684edf0e28356e34acf06 GatewayAppIdSet()",
    "0x68615a0b92795750b3d180ff73429e1291d225e449eee954a567b91104fd9837 KmsAggregatedMrAdded()",
    "0x54cd662e41eec7ddf0f32f034b2533e481b471dd3ea978222d609ec8fffb1bb0 KmsAggregatedMrRemoved()",
    "0xf2b290637b1193e12eb38ab32b986303639b1687cc2cd1e25f993e6eae2f4041 KmsDeviceAdded()",
    "0x1a9888a45e3df8b7e6bb3090747d598d2a0d78e61388161a90799f54df8f4434 KmsDeviceRemoved()",
    "0x4911843506849c85a5ca6e6e2c01eed2d3ab86baba619517a2aad9d5ab2aeff2 OsImageHashAdded()",
    "0x99b3cee95daf3138d0c982299cd0264f5b7a61aa629b42b92f3ec8966aa7f6fe OsImageHashRemoved()",
  ],
  AppAuth: [
    "0xfecb34306dd9d8b785b54d65489d06afc8822a0893ddacedff40c50a4942d0af ComposeHashAdded()",
    "0x755b79bd4b0eeab344d032284a99003b2ddc018b646752ac72d681593a6e8947 ComposeHashRemoved()",
    "0x67fc71ab96fe3fa3c6f78e9a00e635d591b7333ce611c0380bc577aac702243b DeviceAdded()",
    "0xe0862975ac517b0478d308012afabc4bc37c23874a18144d7f2dfb852ff95c2c DeviceRemoved()",
    "0xbb2cdb6c7b362202d40373f87bc4788301cca658f91711ac1662e1ad2cba4a20 AllowAnyDeviceSet()",
    "0xafae60561b2481a349b45b3a47357f70eef6ae67e5b6e1749d74de7f19a25aa1 RequireTcbUpToDateSet()",
    "0x0e5daa943fcd7e7182d0e893d180695c2ea9f6f1b4a1c5432faf14cf17b774e8 UpgradesDisabled()",
  ],
} as const;

/** `selector signature`. */
export const ERRORS = [
  "118cdaa7 OwnableUnauthorizedAccount(address)",
  "1e4fbdf7 OwnableInvalidOwner(address)",
  "f92ee8a9 InvalidInitialization()",
  "d7e6bcf8 NotInitializing()",
  "e07c8dba UUPSUnauthorizedCallContext()",
  "aa1d49a4 UUPSUnsupportedProxiableUUID(bytes32)",
  "4c9c8ce3 ERC1967InvalidImplementation(address)",
  "b398979f ERC1967NonPayable()",
  "9996b315 AddressEmptyCode(address)",
  "d6bda275 FailedCall()",
] as const;

/** `PolicyChanged.policy` is the keccak256 of the tag. */
export const TAGS: readonly (readonly [tag: string, hash: string])[] = [
  ["kms-aggregated-mr", "0x22cfb8b3fc209be958082ecee5badccf8f7ab55e79ec93f5ac413a164feb98ea"],
  ["kms-device", "0x1a2d46e254225ae2e84638f6fcb742191317930982ce206e0917877506edc3a0"],
  ["os-image", "0xbc0346dd2a1caffcfdf89515e8a3ad921515d32b39d8e28334b87bd5a1bdb6aa"],
  ["gateway-app-id", "0x6061a738ec69c97ed6ae96633751763d1291f32a6ef6515845ad8ddefda35ec6"],
  ["registered-app", "0x1a61f88f2e67632c1bf4321c88aec40bbf788e2b1a14b69f1186e6a3a31d9028"],
  ["app-implementation", "0xeec6b85dea30e3cb63f324855a4722f1bf23ddd4c142a551610e18744a193734"],
  ["kms-info", "0xadc23d82fa8b20f02103a2405c452d2446e5a589f0182bd71f6d87e3357fbe65"],
  ["implementation-upgrade", "0xdd3079240d4e002c905dcbcaf6b06d77e782afb127bbb837120b8c7fc6703da3"],
  ["compose-hash", "0x56bdf4352a9ceb1ba8f5c68066725c095e69c1d3f8a437290f0ac1da8fb4e19c"],
  ["device", "0x8e7eff7e4a57bd436b18f220111863326b17773a8b4460f9fabd87a334233046"],
  ["allow-any-device", "0x560720bbc77afadfad8faeab0a79cf66b13e5433c09dd9182d5d36413084a84e"],
  ["require-tcb-up-to-date", "0xeb206ee4e1c06549322091bfcf2a5ff8658edc40901aa7f3af6f571a159471fb"],
  ["upgrades-disabled", "0xf6943036509aad7f2319e01f7ed528873bcbdaaf6d25921b03e395124e6a46d3"],
];

/** `slot+offset name type`, of the proxy's storage. */
export const SLOTS: Readonly<Record<"KmsAuth" | "AppAuth", readonly string[]>> = {
  KmsAuth: [
    "0+0 _kmsInfo struct IKmsAuth.KmsInfo",
    "4+0 gatewayAppId string",
    "5+0 registeredApps mapping(address => bool)",
    "6+0 kmsAllowedAggregatedMrs mapping(bytes32 => bool)",
    "7+0 kmsAllowedDeviceIds mapping(bytes32 => bool)",
    "8+0 allowedOsImages mapping(bytes32 => bool)",
    "9+0 appImplementation address",
    "10+0 __gap uint256[50]",
  ],
  AppAuth: [
    "0+0 allowedComposeHashes mapping(bytes32 => bool)",
    "1+0 _upgradesDisabled bool",
    "1+1 allowAnyDevice bool",
    "2+0 allowedDeviceIds mapping(bytes32 => bool)",
    "3+0 requireTcbUpToDate bool",
    "4+0 __gap uint256[49]",
  ],
};

/** What this project adds, by name: a deployed selector or topic must not move into this list. */
export const ADDED: Readonly<
  Record<"functions" | "events", Readonly<Record<"both" | "KmsAuth" | "AppAuth", readonly string[]>>>
> = {
  functions: {
    both: [
      "initializeStrict",
      "hardening",
      "setHardening",
      "multicall",
      "acceptTcbStatus",
      "withdrawTcbStatus",
      "tcbStatusAcceptedUntil",
      "acceptAdvisory",
      "withdrawAdvisory",
      "acceptedAdvisories",
    ],
    KmsAuth: [
      "pause",
      "unpause",
      "paused",
      "suspendApp",
      "reinstateApp",
      "suspendedApps",
      "quoteVerifier",
      "setQuoteVerifier",
      "deployAndRegisterApp",
      "predictAppId",
    ],
    AppAuth: ["replaceComposeHash", "freezePolicy", "policyFrozen", "upgradesDisabled"],
  },
  events: {
    both: ["HardeningSet", "TcbStatusAccepted", "TcbStatusWithdrawn", "AdvisoryAccepted", "AdvisoryWithdrawn"],
    KmsAuth: ["Paused", "Unpaused", "AppSuspended", "AppReinstated", "QuoteVerifierSet", "KmsEvidenceSet"],
    AppAuth: ["PolicyFrozen"],
  },
};

/** ERC-7201 namespaces of the bases, and ours. */
export const NAMESPACES: readonly (readonly [name: string, slot: string])[] = [
  ["openzeppelin.storage.Initializable", "0xf0c57e16840df040f15088dc2f81fe391c3923bec73e23a9662efc9c229c6a00"],
  ["openzeppelin.storage.Ownable", "0x9016d09d72d40fdae2fd8ceac6b6234c7706214fd39c1cd1e609a0528c199300"],
  ["openzeppelin.storage.Ownable2Step", "0x237e158222e3e6968b72b9db0d8043aacf074ad9f650f0d1606b4d82ee432c00"],
  ["openzeppelin.storage.Pausable", "0xcd5ed15c6e187e77e9aee88184c21f4f2182ab5827cb3b7e07fbedcd63f03300"],
  ["keyward.storage.Hardening", "0x740f50752b9075ce911fe3d6b7fa4e4c862306670ae052cc3ccf4c2290f4cb00"],
  ["keyward.storage.TcbAcceptance", "0x2ea73469ece72c62cf6a98225fe82a0339096bc878eac908f6fe00db390eb300"],
  ["keyward.storage.KmsAuth", "0xf7f55bef94f18b5f046d9c94a50e98b4dc1179b64367d3ad65bf0fb3930b6d00"],
];
