// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {AppAuth} from "../AppAuth.sol";
import {IAppAuth} from "../interfaces/IAppAuth.sol";
import {IHardening} from "../interfaces/IHardening.sol";
import {IKmsAuthHardening} from "../interfaces/IKmsAuthHardening.sol";
import {IRefusals} from "../interfaces/IRefusals.sol";
import {KmsAuth} from "../KmsAuth.sol";
import {AnsweringApp, BurningApp, RawApp} from "./AppMocks.sol";
import {TestBase} from "./TestBase.sol";

/// @title Proxy that leaves its initialization to the test
contract UninitializedProxy is ERC1967Proxy {
    constructor(address implementation) ERC1967Proxy(implementation, "") {}

    function _unsafeAllowUninitialized() internal pure override returns (bool) {
        return true;
    }
}

/// @title Properties of a strict trust domain for all inputs, and of what is new in both modes
contract StrictKmsTest is TestBase {
    uint256 private constant ALL = 127;
    uint256 private constant CHECK_CONTRACTS = 16;
    uint256 private constant STRICT_APPS = 64;
    uint256 private constant MAX_GATEWAY_APP_ID_BYTES = 1_024;

    /// @dev As a delegation of an externally owned account looks: three bytes and an address.
    bytes3 private constant DELEGATION = 0xef0100;

    function setUp() public override {
        super.setUp();
        setUpStrict();
    }

    /// The strict counterpart of H6: nobody but the owner registers what the factory did not make.
    function testFuzz_onlyTheOwnerRegisters(address caller, bool strict, bool anyDevice) public {
        VM.assume(caller != address(this));
        address appId = address(strict ? newStrictApp(false, anyDevice) : _olderApp());
        VM.expectRevert(abi.encodeWithSelector(IKmsAuthHardening.RegistrationClosed.selector, address(this), caller));
        VM.prank(caller);
        kms.registerApp(appId);
        check(!kms.registeredApps(appId), "registered by a stranger");
        checkQuietRepeat(address(kms), abi.encodeCall(kms.registerApp, (appId)));
        check(kms.registeredApps(appId), "registered");
    }

    /// H7 holds in strict mode too, before anything else is asked.
    function testFuzz_zeroIsNoApp(address caller) public {
        VM.expectRevert("Invalid app ID");
        VM.prank(caller);
        kms.registerApp(address(0));
    }

    /// The strict counterpart of H14 and H15: anybody still makes apps, and they are strict.
    function testFuzz_factoryMakesStrictApps(
        address caller,
        address owner,
        bool tcb,
        bool anyDevice,
        bytes32 word,
        bool older
    ) public {
        VM.assume(owner != address(0));
        VM.prank(caller);
        AppAuth app = AppAuth(
            older
                ? kms.deployAndRegisterApp(owner, false, anyDevice, word, word)
                : kms.deployAndRegisterApp(owner, false, tcb, anyDevice, word, word)
        );
        check(kms.registeredApps(address(app)) && app.owner() == owner, "registered and owned");
        check(app.hardening() == 3, "switches of the app");
        check(app.requireTcbUpToDate() == (tcb && !older) && app.allowAnyDevice() == anyDevice, "flags");
        check(app.allowedDeviceIds(word) == (word != 0) && app.allowedComposeHashes(word) == (word != 0), "lists");
    }

    /// An account without code of its own is no app and no implementation; a delegation can change any time.
    function testFuzz_accountsAreNoContracts(uint160 account, address delegate, bool isDelegated) public {
        address target = address(uint160(uint256(keccak256(abi.encode(account)))));
        if (isDelegated) VM.etch(target, abi.encodePacked(DELEGATION, delegate));
        bytes memory refusal = abi.encodeWithSelector(IRefusals.NotAContract.selector, target);
        _checkRefused(abi.encodeCall(kms.registerApp, (target)), refusal);
        _checkRefused(abi.encodeCall(kms.setAppImplementation, (target)), refusal);
        _checkRefused(abi.encodeCall(kms.setQuoteVerifier, (target)), refusal);
    }

    /// 23 bytes that are no delegation, and any other code, are a contract: the interface decides then.
    function testFuzz_otherCodeIsAskedForItsInterface(bytes32 code, uint256 size) public {
        address target = address(0xc0de);
        bytes memory etched = bytes.concat(hex"00", code);
        size = 1 + (size % 32);
        assembly ("memory-safe") {
            mstore(etched, size)
        }
        VM.etch(target, etched);
        bytes4 id = type(IAppAuth).interfaceId;
        _checkRefused(
            abi.encodeCall(kms.registerApp, (target)),
            abi.encodeWithSelector(IRefusals.MissingInterface.selector, target, id)
        );
    }

    /// A contract that says yes to everything, answers bytes, burns its gas or reverts has no interface.
    function testFuzz_contractsWithoutTheInterfaceAreNoApps(bool reverts, bytes memory answer) public {
        address[] memory targets = new address[](4);
        (targets[0], targets[1]) = (address(new AnsweringApp(true, "")), address(new RawApp(reverts, answer)));
        (targets[2], targets[3]) = (address(new BurningApp()), address(new RawApp(false, new bytes(100 * 1024))));
        for (uint256 i = 0; i < targets.length; ++i) {
            (bool done, bytes memory returned) = address(kms).call(abi.encodeCall(kms.registerApp, (targets[i])));
            check(!done && bytes4(returned) == IRefusals.MissingInterface.selector, "registered");
        }
    }

    /// The strict part of INV-4: what no proxy could take, or what has not the interfaces of a strict app, is no implementation.
    function test_implementationsAreChecked() public {
        address app = address(newStrictApp(false, false));
        bytes memory notProxiable = abi.encodePacked(IKmsAuthHardening.NotProxiable.selector);
        _checkRefusal(abi.encodeCall(kms.setAppImplementation, (app)), notProxiable);
        _checkRefusal(abi.encodeCall(kms.setAppImplementation, (address(new BurningApp()))), notProxiable);
        _checkRefusal(abi.encodeCall(kms.setAppImplementation, (address(new RawApp(false, "short")))), notProxiable);
        address otherKms = address(new KmsAuth());
        _checkRefusal(
            abi.encodeCall(kms.setAppImplementation, (otherKms)),
            abi.encodePacked(IRefusals.MissingInterface.selector)
        );
        checkQuietRepeat(address(kms), abi.encodeCall(kms.setAppImplementation, (address(new AppAuth()))));
    }

    /// Turned on later, the checks are made up for: an implementation that fails them keeps the switches off.
    function testFuzz_checksAreMadeUpFor(uint160 account, uint256 switches) public {
        VM.assume(account != 0);
        address target = address(uint160(uint256(keccak256(abi.encode(account)))));
        switches %= ALL + 1;
        kms.setHardening(0);
        kms.setAppImplementation(target);
        bool isChecked = switches & (CHECK_CONTRACTS | STRICT_APPS) != 0;
        (bool done, ) = address(kms).call(abi.encodeCall(kms.setHardening, (switches)));
        check(done == !isChecked, "switched on");
        check(kms.hardening() == (isChecked ? 0 : switches), "switches");
    }

    function testFuzz_strictFormNeedsAnImplementation(address owner, uint160 account) public {
        KmsAuth fresh = KmsAuth(_bareProxy());
        address target = address(uint160(uint256(keccak256(abi.encode(account)))));
        VM.expectRevert(abi.encodeWithSelector(IRefusals.ZeroAddress.selector, keccak256("app-implementation")));
        fresh.initializeStrict(owner == address(0) ? address(this) : owner, address(0));
        VM.expectRevert(abi.encodeWithSelector(IRefusals.NotAContract.selector, target));
        fresh.initializeStrict(owner == address(0) ? address(this) : owner, target);
        VM.expectRevert(abi.encodeWithSignature("OwnableInvalidOwner(address)", address(0)));
        fresh.initializeStrict(address(0), address(appImplementation));
    }

    /// H5 of a trust domain: after one initialization both forms fail, and nobody initializes the code itself.
    function testFuzz_initializesOnce(bool strict, bool again, address caller, address owner) public {
        KmsAuth target = KmsAuth(_bareProxy());
        if (strict) target.initializeStrict(address(this), address(appImplementation));
        else target.initialize(address(this), address(appImplementation));
        check(target.hardening() == (strict ? ALL : 0), "switches");
        bytes memory data =
            again
                ? abi.encodeCall(kms.initializeStrict, (owner, address(appImplementation)))
                : abi.encodeCall(kms.initialize, (owner, address(appImplementation)));
        VM.prank(caller);
        (bool done, ) = address(target).call(data);
        check(!done && target.owner() == address(this), "initialized again");
        KmsAuth code = new KmsAuth();
        VM.prank(caller);
        (done, ) = address(code).call(data);
        check(!done && code.owner() == address(0), "initialized code");
    }

    function testFuzz_changesTellOnce(bytes32 word, address appId) public {
        VM.assume(word != 0 && appId != address(0));
        address target = address(kms);
        checkQuietRepeat(target, abi.encodeCall(kms.addKmsAggregatedMr, (word)));
        checkQuietRepeat(target, abi.encodeCall(kms.removeKmsAggregatedMr, (word)));
        checkQuietRepeat(target, abi.encodeCall(kms.addKmsDevice, (word)));
        checkQuietRepeat(target, abi.encodeCall(kms.removeKmsDevice, (word)));
        checkQuietRepeat(target, abi.encodeCall(kms.addOsImageHash, (word)));
        checkQuietRepeat(target, abi.encodeCall(kms.removeOsImageHash, (word)));
        checkQuietRepeat(target, abi.encodeCall(kms.setGatewayAppId, (string(abi.encode(word)))));
        checkQuietRepeat(target, abi.encodeCall(kms.setQuoteVerifier, (address(appImplementation))));
        checkQuietRepeat(target, abi.encodeCall(kms.setQuoteVerifier, (address(0))));
        checkQuietRepeat(target, abi.encodeCall(kms.pause, ()));
        checkQuietRepeat(target, abi.encodeCall(kms.unpause, ()));
        checkQuietRepeat(target, abi.encodeCall(kms.suspendApp, (appId)));
        checkQuietRepeat(target, abi.encodeCall(kms.reinstateApp, (appId)));
        checkQuietRepeat(target, abi.encodeCall(kms.setHardening, (uint256(word) % ALL)));
    }

    function test_zeroIsRefused() public {
        bytes4 selector = IRefusals.ZeroHash.selector;
        _checkRefused(
            abi.encodeCall(kms.addKmsAggregatedMr, (0)),
            abi.encodeWithSelector(selector, keccak256("kms-aggregated-mr"))
        );
        _checkRefused(abi.encodeCall(kms.addKmsDevice, (0)), abi.encodeWithSelector(selector, keccak256("kms-device")));
        _checkRefused(abi.encodeCall(kms.addOsImageHash, (0)), abi.encodeWithSelector(selector, keccak256("os-image")));
        bytes memory refusal = abi.encodeWithSelector(IRefusals.ZeroAddress.selector, keccak256("suspended-app"));
        _checkRefused(abi.encodeCall(kms.suspendApp, (address(0))), refusal);
    }

    function testFuzz_gatewayIdHasALimit(uint16 size) public {
        uint256 length = uint256(size) % (2 * MAX_GATEWAY_APP_ID_BYTES);
        bytes memory refusal = abi.encodeWithSelector(
            IRefusals.LengthOutOfRange.selector,
            keccak256("gateway-app-id"),
            0,
            MAX_GATEWAY_APP_ID_BYTES,
            length
        );
        bytes memory data = abi.encodeCall(kms.setGatewayAppId, (string(new bytes(length))));
        if (length > MAX_GATEWAY_APP_ID_BYTES) return _checkRefused(data, refusal);
        checkLogs(address(kms), data, length == 0 ? 0 : 2);
        check(bytes(kms.gatewayAppId()).length == length, "gateway id");
    }

    function testFuzz_unknownSwitchesAreRefused(uint256 switches) public {
        if (switches > ALL) VM.expectRevert(abi.encodeWithSelector(IHardening.UnknownSwitches.selector, ALL, switches));
        kms.setHardening(switches);
        check(kms.hardening() == (switches > ALL ? ALL : switches), "switches");
    }

    function test_ownerStays() public {
        VM.expectRevert(abi.encodeWithSelector(IRefusals.OwnershipCannotBeRenounced.selector));
        kms.renounceOwnership();
        check(kms.owner() == address(this), "owner");
    }

    function _checkRefused(bytes memory data, bytes memory refusal) private {
        (bool done, bytes memory returned) = address(kms).call(data);
        check(!done, "what must be refused");
        check(keccak256(returned) == keccak256(refusal), "refusal");
    }

    function _checkRefusal(bytes memory data, bytes memory selector) private {
        (bool done, bytes memory returned) = address(kms).call(data);
        check(!done && bytes4(returned) == bytes4(selector), "refusal");
    }

    function _olderApp() private returns (AppAuth) {
        string memory form = "initialize(address,bool,bool,bytes32,bytes32)";
        return newApp(abi.encodeWithSignature(form, address(this), false, false, bytes32(0), bytes32(0)));
    }

    function _bareProxy() private returns (address) {
        return address(new UninitializedProxy(address(new KmsAuth())));
    }
}
