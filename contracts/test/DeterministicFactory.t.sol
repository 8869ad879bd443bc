// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC1967Utils} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Utils.sol";
import {AppAuth} from "../AppAuth.sol";
import {IKmsAuthHardening} from "../interfaces/IKmsAuthHardening.sol";
import {TestBase} from "./TestBase.sol";

/// @title App implementation that calls the factory back while it is initialized
contract ReenteringImplementation {
    function proxiableUUID() external pure returns (bytes32) {
        return ERC1967Utils.IMPLEMENTATION_SLOT;
    }

    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId != 0xffffffff;
    }

    /// Asks for the very app that is being made, with the same arguments.
    fallback() external {
        (bool done, ) = msg.sender.call(
            abi.encodeWithSignature(
                "deployAndRegisterApp(address,bool,bool,bool,bytes32,bytes32,bytes32)",
                abi.decode(msg.data[4:], (address)),
                false,
                false,
                false,
                bytes32(0),
                bytes32(0),
                bytes32(0)
            )
        );
        done;
    }
}

/// @title The factory of ids known in advance, for all settings, in both kinds of app
contract DeterministicFactoryTest is TestBase {
    uint256 private constant STRICT_APPS = 64;
    uint256 private constant STRICT_APP_SWITCHES = 3;

    struct Settings {
        address owner;
        bool lock;
        bool tcb;
        bool anyDevice;
        bytes32 device;
        bytes32 hash;
        bytes32 salt;
    }

    /// Whoever calls, the app has the predicted id and the given settings, and is of the kind that the switch says.
    function testFuzz_predictionHolds(Settings memory settings, bool strict, address caller) public {
        VM.assume(settings.owner != address(0));
        kms.setHardening(strict ? STRICT_APPS : 0);
        address predicted = _predict(settings);
        check(predicted.code.length == 0 && !kms.registeredApps(predicted), "before");
        VM.prank(caller);
        AppAuth app = AppAuth(_deploy(settings));
        check(address(app) == predicted && _predict(settings) == predicted, "id");
        check(kms.registeredApps(predicted), "registered");
        check(app.owner() == settings.owner, "owner");
        check(app.upgradesDisabled() == settings.lock, "lock");
        check(app.requireTcbUpToDate() == settings.tcb && app.allowAnyDevice() == settings.anyDevice, "flags");
        check(app.allowedDeviceIds(settings.device) == (settings.device != 0), "device");
        check(app.allowedComposeHashes(settings.hash) == (settings.hash != 0), "compose hash");
        check(app.hardening() == (strict ? STRICT_APP_SWITCHES : 0), "switches of the app");
    }

    /// The second caller of the same arguments learns that his app is there already, and whose settings it has.
    function testFuzz_secondTimeIsRefused(Settings memory settings, bool strict, address first, address second) public {
        VM.assume(settings.owner != address(0));
        kms.setHardening(strict ? STRICT_APPS : 0);
        VM.prank(first);
        address appId = _deploy(settings);
        VM.expectRevert(abi.encodeWithSelector(IKmsAuthHardening.AppAlreadyDeployed.selector, appId));
        VM.prank(second);
        _deploy(settings);
    }

    /// The id belongs to these very settings: no other settings, no other kind of app and no other code get it.
    function testFuzz_idChangesWithEveryArgument(
        Settings memory settings,
        uint160 otherOwner,
        bytes32 other,
        uint256 which
    ) public {
        VM.assume(settings.owner != address(0) && otherOwner != 0 && other != 0);
        address before = _predict(settings);
        which %= 9;
        if (which == 0) settings.owner = address(uint160(settings.owner) ^ otherOwner);
        if (which == 1) settings.lock = !settings.lock;
        if (which == 2) settings.tcb = !settings.tcb;
        if (which == 3) settings.anyDevice = !settings.anyDevice;
        if (which == 4) settings.device ^= other;
        if (which == 5) settings.hash ^= other;
        if (which == 6) settings.salt ^= other;
        if (which == 7) kms.setHardening(STRICT_APPS);
        if (which == 8) kms.setAppImplementation(address(new AppAuth()));
        VM.assume(settings.owner != address(0));
        check(_predict(settings) != before, "same id");
    }

    /// An id registered before its app exists does not keep the app from being made.
    function testFuzz_registeringFirstIsNoObstacle(Settings memory settings, address caller) public {
        VM.assume(settings.owner != address(0));
        VM.prank(caller);
        kms.registerApp(_predict(settings));
        check(AppAuth(_deploy(settings)).owner() == settings.owner, "owner");
    }

    /// Older ways of making apps in between move no id.
    function testFuzz_otherAppsMoveNoId(Settings memory settings, uint8 others) public {
        VM.assume(settings.owner != address(0));
        address predicted = _predict(settings);
        for (uint256 i = 0; i < others % 4; ++i) {
            kms.deployAndRegisterApp(settings.owner, false, false, false, settings.device, settings.hash);
        }
        check(_deploy(settings) == predicted, "id");
    }

    function testFuzz_ownerIsNotZero(Settings memory settings) public {
        settings.owner = address(0);
        VM.expectRevert("Invalid owner address");
        _predict(settings);
        VM.expectRevert("Invalid owner address");
        _deploy(settings);
    }

    /// Code that calls back gets no second app under the id, and leaves no app unregistered.
    function test_callingBackMakesOneApp() public {
        kms.setAppImplementation(address(new ReenteringImplementation()));
        Settings memory settings;
        settings.owner = address(this);
        address predicted = _predict(settings);
        VM.recordLogs();
        check(_deploy(settings) == predicted, "id");
        check(kms.registeredApps(predicted), "registered");
        VM.expectRevert(abi.encodeWithSelector(IKmsAuthHardening.AppAlreadyDeployed.selector, predicted));
        _deploy(settings);
    }

    function _predict(Settings memory s) private view returns (address) {
        return kms.predictAppId(s.owner, s.lock, s.tcb, s.anyDevice, s.device, s.hash, s.salt);
    }

    function _deploy(Settings memory s) private returns (address) {
        return kms.deployAndRegisterApp(s.owner, s.lock, s.tcb, s.anyDevice, s.device, s.hash, s.salt);
    }
}
