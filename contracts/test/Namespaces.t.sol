// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AppAuth} from "../AppAuth.sol";
import {TestBase} from "./TestBase.sol";

/// @title Where the newer state is: in the namespaces that the source names, and in no slot of the deployed layout
contract NamespacesTest is TestBase {
    function testFuzz_switchesAndFreezeShareTheirSlot(uint256 switches) public {
        switches %= 4;
        AppAuth app = newStrictApp(false, false);
        app.setHardening(switches);
        app.freezePolicy();
        uint256 word = uint256(VM.load(address(app), _namespace("keyward.storage.Hardening")));
        check(word == switches + (1 << 128), "switches and freeze");
        checkZero(address(app), 4, 52);
    }

    function testFuzz_stateOfTheTrustDomain(address appId, bytes32 seed) public {
        VM.assume(appId != address(0));
        kms.setHardening(127);
        bytes32 base = _namespace("keyward.storage.KmsAuth");
        kms.setQuoteVerifier(address(appImplementation));
        check(VM.load(address(kms), base) == bytes32(uint256(uint160(address(appImplementation)))), "verifier");
        kms.suspendApp(appId);
        bytes32 suspended = keccak256(abi.encode(appId, uint256(base) + 1));
        check(VM.load(address(kms), suspended) == bytes32(uint256(1)), "suspended app");
        kms.setKmsEventlog(abi.encode(seed));
        bytes32 kept = keccak256(abi.encode(keccak256("kms-eventlog"), uint256(base) + 2));
        address code = address(uint160(uint256(VM.load(address(kms), kept))));
        check(keccak256(code.code) == keccak256(abi.encodePacked(hex"00", seed)), "event log");
        checkZero(address(kms), 0, 8);
        checkZero(address(kms), 10, 59);
    }

    function testFuzz_acceptances(string memory text, bool ofApp) public {
        VM.assume(bytes(text).length != 0 && bytes(text).length < 65 && keccak256(bytes(text)) != keccak256("UpToDate"));
        VM.assume(keccak256(bytes(text)) != keccak256("Revoked"));
        AppAuth app = newStrictApp(false, false);
        (address target, bytes32 base) = (ofApp ? address(app) : address(kms), _namespace("keyward.storage.TcbAcceptance"));
        uint64 until = uint64(block.timestamp + 1);
        AppAuth(target).acceptTcbStatus(text, until);
        AppAuth(target).acceptAdvisory(text);
        bytes32 status = keccak256(abi.encode(keccak256(bytes(text)), base));
        bytes32 advisory = keccak256(abi.encode(keccak256(bytes(text)), uint256(base) + 1));
        check(VM.load(target, status) == bytes32(uint256(until)), "status");
        check(VM.load(target, advisory) == bytes32(uint256(1)), "advisory");
        checkZero(target, ofApp ? 4 : 10, ofApp ? 52 : 59);
    }

    /// The formula of ERC-7201.
    function _namespace(string memory id) private pure returns (bytes32) {
        return keccak256(abi.encode(uint256(keccak256(bytes(id))) - 1)) & ~bytes32(uint256(0xff));
    }
}
