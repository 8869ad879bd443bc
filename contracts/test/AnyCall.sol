// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AppAuth} from "../AppAuth.sol";
import {TcbAcceptance} from "../base/TcbAcceptance.sol";
import {IHardening} from "../interfaces/IHardening.sol";
import {IKmsAuth} from "../interfaces/IKmsAuth.sol";
import {KmsAuth} from "../KmsAuth.sol";
import {Evidence} from "./Evidence.sol";

/// @title Every call that changes something, chosen by a number
/// @notice The accounts that calls name come from a small pool, so that a sequence of calls meets the same ones again.
library AnyCall {
    uint256 internal constant POOL = 8;
    uint256 internal constant APP_CALLS = 21;
    uint256 internal constant KMS_CALLS = 31;
    /// @dev The calls of KmsAuth itself and of our bases come before those of the ownership.
    uint256 internal constant KMS_OWN_CALLS = 28;
    uint256 private constant _APP_SWITCHES = 3;
    uint256 private constant _KMS_SWITCHES = 127;
    uint256 private constant _SHARED_CALLS = 5;

    function account(uint256 index) internal pure returns (address) {
        return address(uint160(0xacc000 + (index % POOL)));
    }

    /// A hash for the lists of an app, of a few.
    function listed(bytes32 word) internal pure returns (bytes32) {
        return bytes32(uint256(word) % 4);
    }

    /// A TCB status or advisory id, of a few.
    function text(bytes32 word) internal pure returns (string memory) {
        return string(abi.encodePacked("text ", bytes1(uint8(0x30 + (uint256(word) % 4)))));
    }

    function ofApp(uint256 which, bytes32 word, bool flag, address next) internal view returns (bytes memory) {
        address other = account(uint256(word));
        if (which == 0) return abi.encodeCall(AppAuth.addComposeHash, (listed(word)));
        if (which == 1) return abi.encodeCall(AppAuth.removeComposeHash, (listed(word)));
        if (which == 2) return abi.encodeCall(AppAuth.addDevice, (listed(word)));
        if (which == 3) return abi.encodeCall(AppAuth.removeDevice, (listed(word)));
        if (which == 4) return abi.encodeCall(AppAuth.setAllowAnyDevice, (flag));
        if (which == 5) return abi.encodeCall(AppAuth.setRequireTcbUpToDate, (flag));
        if (which == 6) return abi.encodeCall(AppAuth.disableUpgrades, ());
        if (which == 7) return abi.encodeWithSignature("upgradeToAndCall(address,bytes)", next, "");
        if (which == 8) return abi.encodeWithSignature("transferOwnership(address)", other);
        if (which == 9) return abi.encodeWithSignature("acceptOwnership()");
        if (which == 10) return abi.encodeWithSignature("renounceOwnership()");
        if (which == 11) {
            return abi.encodeWithSignature("initialize(address,bool,bool,bytes32,bytes32)", other, flag, flag, word, word);
        }
        if (which == 12) {
            return
                abi.encodeWithSignature(
                    "initialize(address,bool,bool,bool,bytes32,bytes32)",
                    other,
                    flag,
                    flag,
                    flag,
                    word,
                    word
                );
        }
        if (which == 13) return abi.encodeCall(AppAuth.initializeStrict, (other, flag, flag, flag, word, word));
        if (which == 14) return abi.encodeCall(AppAuth.replaceComposeHash, (listed(word), listed(word >> 8)));
        if (which == 15) return abi.encodeCall(AppAuth.freezePolicy, ());
        return _ofBoth(which - 16, word, flag, _APP_SWITCHES);
    }

    function ofKms(uint256 which, bytes32 word, bool flag, address next) internal view returns (bytes memory) {
        address other = account(uint256(word));
        bytes memory data = abi.encodePacked(word, flag ? "" : "short");
        if (which == 0) {
            // keys with the evidence that binds them, and any bytes
            return
                abi.encodeCall(
                    KmsAuth.setKmsInfo,
                    (flag ? Evidence.info(word, 0, data) : IKmsAuth.KmsInfo(data, data, data, data))
                );
        }
        if (which == 1) return abi.encodeCall(KmsAuth.setKmsQuote, (data));
        if (which == 2) return abi.encodeCall(KmsAuth.setKmsEventlog, (data));
        if (which == 3) return abi.encodeCall(KmsAuth.setGatewayAppId, (string(data)));
        if (which == 4) return abi.encodeCall(KmsAuth.registerApp, (other));
        if (which == 5) return abi.encodeCall(KmsAuth.setAppImplementation, (flag ? other : address(0)));
        if (which == 6)
            return _deploy("(address,bool,bool,bool,bytes32,bytes32)", abi.encode(other, flag, flag, flag, word, word));
        if (which == 7) return _deploy("(address,bool,bool,bytes32,bytes32)", abi.encode(other, flag, flag, word, word));
        if (which == 8) return abi.encodeCall(KmsAuth.addKmsAggregatedMr, (word));
        if (which == 9) return abi.encodeCall(KmsAuth.removeKmsAggregatedMr, (word));
        if (which == 10) return abi.encodeCall(KmsAuth.addKmsDevice, (word));
        if (which == 11) return abi.encodeCall(KmsAuth.removeKmsDevice, (word));
        if (which == 12) return abi.encodeCall(KmsAuth.addOsImageHash, (word));
        if (which == 13) return abi.encodeCall(KmsAuth.removeOsImageHash, (word));
        if (which == 14) return abi.encodeWithSignature("upgradeToAndCall(address,bytes)", next, "");
        if (which == 15) return abi.encodeCall(KmsAuth.initialize, (other, other));
        return _ofNewerKms(which - 16, word, flag, next);
    }

    function _ofNewerKms(uint256 which, bytes32 word, bool flag, address next) private view returns (bytes memory) {
        address other = account(uint256(word));
        if (which == 0) return abi.encodeCall(KmsAuth.initializeStrict, (other, next));
        if (which == 1) {
            bytes memory settings = abi.encode(other, flag, flag, flag, word, word, word);
            return _deploy("(address,bool,bool,bool,bytes32,bytes32,bytes32)", settings);
        }
        if (which == 2) return abi.encodeCall(KmsAuth.setQuoteVerifier, (flag ? other : address(0)));
        if (which == 3) return abi.encodeCall(KmsAuth.pause, ());
        if (which == 4) return abi.encodeCall(KmsAuth.unpause, ());
        if (which == 5) return abi.encodeCall(KmsAuth.suspendApp, (other));
        if (which == 6) return abi.encodeCall(KmsAuth.reinstateApp, (other));
        if (which < 7 + _SHARED_CALLS) return _ofBoth(which - 7, word, flag, _KMS_SWITCHES);
        if (which == 12) return abi.encodeWithSignature("transferOwnership(address)", other);
        if (which == 13) return abi.encodeWithSignature("acceptOwnership()");
        return abi.encodeWithSignature("renounceOwnership()");
    }

    function _ofBoth(uint256 which, bytes32 word, bool flag, uint256 switches) private view returns (bytes memory) {
        if (which == 0) return abi.encodeCall(IHardening.setHardening, (flag ? uint256(word) & switches : uint256(word) & 255));
        if (which == 1) return abi.encodeCall(TcbAcceptance.acceptTcbStatus, (text(word), uint64(block.timestamp)));
        if (which == 2) return abi.encodeCall(TcbAcceptance.withdrawTcbStatus, (text(word)));
        if (which == 3) return abi.encodeCall(TcbAcceptance.acceptAdvisory, (text(word)));
        return abi.encodeCall(TcbAcceptance.withdrawAdvisory, (text(word)));
    }

    function _deploy(string memory types, bytes memory settings) private pure returns (bytes memory) {
        return bytes.concat(bytes4(keccak256(bytes(string.concat("deployAndRegisterApp", types)))), settings);
    }
}
