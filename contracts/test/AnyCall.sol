// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AppAuth} from "../AppAuth.sol";
import {IKmsAuth} from "../interfaces/IKmsAuth.sol";
import {KmsAuth} from "../KmsAuth.sol";

/// @title Every call that changes something, chosen by a number
/// @notice The accounts that calls name come from a small pool, so that a sequence of calls meets the same ones again.
library AnyCall {
    uint256 internal constant POOL = 8;
    uint256 internal constant APP_CALLS = 13;
    uint256 internal constant KMS_CALLS = 19;
    /// @dev The calls of KmsAuth itself come before those of its bases.
    uint256 internal constant KMS_OWN_CALLS = 16;

    function account(uint256 index) internal pure returns (address) {
        return address(uint160(0xacc000 + (index % POOL)));
    }

    function ofApp(uint256 which, bytes32 word, bool flag, address next) internal pure returns (bytes memory) {
        address other = account(uint256(word));
        if (which == 0) return abi.encodeCall(AppAuth.addComposeHash, (word));
        if (which == 1) return abi.encodeCall(AppAuth.removeComposeHash, (word));
        if (which == 2) return abi.encodeCall(AppAuth.addDevice, (word));
        if (which == 3) return abi.encodeCall(AppAuth.removeDevice, (word));
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
        return abi.encodeWithSignature("initialize(address,bool,bool,bool,bytes32,bytes32)", other, flag, flag, flag, word, word);
    }

    function ofKms(uint256 which, bytes32 word, bool flag, address next) internal pure returns (bytes memory) {
        address other = account(uint256(word));
        bytes memory data = abi.encodePacked(word, flag ? "" : "short");
        if (which == 0) return abi.encodeCall(KmsAuth.setKmsInfo, (IKmsAuth.KmsInfo(data, data, data, data)));
        if (which == 1) return abi.encodeCall(KmsAuth.setKmsQuote, (data));
        if (which == 2) return abi.encodeCall(KmsAuth.setKmsEventlog, (data));
        if (which == 3) return abi.encodeCall(KmsAuth.setGatewayAppId, (string(data)));
        if (which == 4) return abi.encodeCall(KmsAuth.registerApp, (other));
        if (which == 5) return abi.encodeCall(KmsAuth.setAppImplementation, (flag ? other : address(0)));
        if (which == 6) {
            return
                abi.encodeWithSignature(
                    "deployAndRegisterApp(address,bool,bool,bool,bytes32,bytes32)",
                    other,
                    flag,
                    flag,
                    flag,
                    word,
                    word
                );
        }
        if (which == 7) {
            return
                abi.encodeWithSignature("deployAndRegisterApp(address,bool,bool,bytes32,bytes32)", other, flag, flag, word, word);
        }
        if (which == 8) return abi.encodeCall(KmsAuth.addKmsAggregatedMr, (word));
        if (which == 9) return abi.encodeCall(KmsAuth.removeKmsAggregatedMr, (word));
        if (which == 10) return abi.encodeCall(KmsAuth.addKmsDevice, (word));
        if (which == 11) return abi.encodeCall(KmsAuth.removeKmsDevice, (word));
        if (which == 12) return abi.encodeCall(KmsAuth.addOsImageHash, (word));
        if (which == 13) return abi.encodeCall(KmsAuth.removeOsImageHash, (word));
        if (which == 14) return abi.encodeWithSignature("upgradeToAndCall(address,bytes)", next, "");
        if (which == 15) return abi.encodeCall(KmsAuth.initialize, (other, other));
        if (which == 16) return abi.encodeWithSignature("transferOwnership(address)", other);
        if (which == 17) return abi.encodeWithSignature("acceptOwnership()");
        return abi.encodeWithSignature("renounceOwnership()");
    }
}
