// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC1822Proxiable} from "@openzeppelin/contracts/interfaces/draft-IERC1822.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {ERC1967Utils} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Utils.sol";
import {AppAuth} from "../AppAuth.sol";
import {IAppAuth} from "../interfaces/IAppAuth.sol";
import {IKmsAuth} from "../interfaces/IKmsAuth.sol";
import {KmsAuth} from "../KmsAuth.sol";
import {AnyCall} from "./AnyCall.sol";
import {OwnershipModel} from "./OwnershipModel.sol";
import {TestBase} from "./TestBase.sol";

/// @title Anybody's calls of one trust domain, and what they must have led to
contract KmsCaller is OwnershipModel {
    uint256 private constant FACTORY_ONLY = 8;
    /// @dev One in so many chances to turn switches is taken where most of a sequence shall belong to the mode it began in.
    uint256 private constant SWITCH_RARITY = 4;
    /// @dev What depends on each other comes more often where switches turn: they, and the app implementation.
    uint256 private constant EXTRA_CALLS = 8;

    KmsAuth public immutable KMS;
    address private immutable _NEXT;
    bool private immutable _TURNS;

    address public appImplementation;
    address[] public factoryApps;
    address[] public implementations;
    mapping(address appId => bool) public isRegistered;
    mapping(address appId => bool) public isSuspended;
    bool public isPaused;
    bool public initializedAgain;
    bool public registeredByStranger;
    IKmsAuth.KmsInfo private _info;

    constructor(KmsAuth kms, address next, address[] memory candidates, bool turns) {
        KMS = kms;
        _NEXT = next;
        _TURNS = turns;
        appImplementation = kms.appImplementation();
        implementations = candidates;
        switches = kms.hardening();
    }

    function act(uint256 caller, uint256 choice, bytes32 word, bool flag) external {
        bytes memory data = _data(choice, word, flag);
        bytes4 selector = bytes4(data);
        if (_isSkipped(data, word)) return;
        if (selector == SET_HARDENING && !_TURNS && (choice / AnyCall.KMS_CALLS) % SWITCH_RARITY != 1) return;
        address from = _caller(caller, selector);
        (bool done, bytes memory returned) = _call(address(KMS), from, data, choice / AnyCall.KMS_CALLS);
        if (!done) return;
        if (selector == KmsAuth.registerApp.selector) _followRegistration(data, from);
        _followOwnership(data);
        _follow(selector, data, returned);
        _followEvidence(selector, data);
    }

    function factoryAppCount() external view returns (uint256) {
        return factoryApps.length;
    }

    function info() external view returns (IKmsAuth.KmsInfo memory) {
        return _info;
    }

    function _data(uint256 choice, bytes32 word, bool flag) private view returns (bytes memory data) {
        uint256 which = choice % (AnyCall.KMS_CALLS + (_TURNS ? EXTRA_CALLS : 0));
        if (which < AnyCall.KMS_CALLS) data = AnyCall.ofKms(which, word, flag, _NEXT);
        else if (which % 2 == 0) return abi.encodeWithSelector(SET_HARDENING, uint256(word) & 127);
        if (data.length != 0 && (bytes4(data) != KmsAuth.setAppImplementation.selector || !flag)) return data;
        return abi.encodeCall(KmsAuth.setAppImplementation, (implementations[uint256(word) % implementations.length]));
    }

    function _followRegistration(bytes memory data, address from) private {
        isRegistered[address(uint160(_argument(data)))] = true;
        if (switches & FACTORY_ONLY != 0 && from != owner) registeredByStranger = true;
    }

    function _follow(bytes4 selector, bytes memory data, bytes memory returned) private {
        address account = address(uint160(_argument(data)));
        if (selector == KmsAuth.setAppImplementation.selector) appImplementation = account;
        if (selector == KmsAuth.suspendApp.selector) isSuspended[account] = true;
        if (selector == KmsAuth.reinstateApp.selector) isSuspended[account] = false;
        if (selector == KmsAuth.pause.selector) isPaused = true;
        if (selector == KmsAuth.unpause.selector) isPaused = false;
        if (_isFactory(selector)) factoryApps.push(abi.decode(returned, (address)));
        if (_isInitializer(selector)) initializedAgain = true;
    }

    function _followEvidence(bytes4 selector, bytes memory data) private {
        if (selector == KmsAuth.setKmsInfo.selector) _info = this.infoOf(data);
        if (selector == KmsAuth.setKmsQuote.selector) _info.quote = this.bytesOf(data);
        if (selector == KmsAuth.setKmsEventlog.selector) _info.eventlog = this.bytesOf(data);
    }

    function infoOf(bytes calldata data) external pure returns (IKmsAuth.KmsInfo memory) {
        return abi.decode(data[4:], (IKmsAuth.KmsInfo));
    }

    function bytesOf(bytes calldata data) external pure returns (bytes memory) {
        return abi.decode(data[4:], (bytes));
    }

    function _isAnybodys(bytes4 selector) internal pure override returns (bool) {
        return super._isAnybodys(selector) || selector == KmsAuth.registerApp.selector || _isFactory(selector);
    }

    function _isFactory(bytes4 selector) private pure returns (bool) {
        return
            selector == bytes4(keccak256("deployAndRegisterApp(address,bool,bool,bytes32,bytes32)")) ||
            selector == bytes4(keccak256("deployAndRegisterApp(address,bool,bool,bool,bytes32,bytes32)")) ||
            selector == bytes4(keccak256("deployAndRegisterApp(address,bool,bool,bool,bytes32,bytes32,bytes32)"));
    }
}

/// @title What no sequence of calls to a trust domain can break, in compatible mode and whatever the switches become
contract KmsAuthInvariantsTest is TestBase {
    uint256 private constant CHECK_CONTRACTS = 16;

    KmsCaller internal caller;

    function setUp() public override {
        super.setUp();
        // one account of the pool has an app's code, so that registering it passes every check
        VM.etch(AnyCall.account(1), address(appImplementation).code);
        address next = address(new KmsAuth());
        address[] memory candidates = new address[](4);
        (candidates[0], candidates[1]) = (address(appImplementation), address(new AppAuth()));
        (candidates[2], candidates[3]) = (next, AnyCall.account(1));
        caller = new KmsCaller(_newKms(), next, candidates, _turns());
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(caller);
    }

    /// INV-2: ownership moves by the two-step transfer or by renouncing, and only an owner changes what is not anybody's.
    function invariant_ownershipMovesInTwoSteps() external view {
        check(caller.KMS().owner() == caller.owner(), "owner");
        check(caller.KMS().pendingOwner() == caller.pendingOwner(), "pending owner");
        check(!caller.unownedChange(), "change of a stranger");
        check(!caller.renouncedWhileKept(), "renounced");
        check(caller.KMS().hardening() == caller.switches(), "switches");
    }

    /// INV-3: initialized once.
    function invariant_initializedOnce() external view {
        check(!caller.initializedAgain(), "initialized again");
        checkInitializedOnce(address(caller.KMS()));
    }

    /// INV-4: the app implementation is what was set last, never zero again, and while contracts are checked one that proxies take.
    function invariant_appImplementationStaysSet() external view {
        address implementation = caller.KMS().appImplementation();
        check(implementation == caller.appImplementation(), "app implementation");
        check(implementation != address(0), "zero app implementation");
        if (caller.switches() & CHECK_CONTRACTS == 0) return;
        check(implementation.code.length != 0, "app implementation without code");
        check(IERC1822Proxiable(implementation).proxiableUUID() == ERC1967Utils.IMPLEMENTATION_SLOT, "not proxiable");
    }

    /// INV-5: what is registered came from the factory or from registerApp, and while only the factory registers, from the owner's.
    function invariant_registrationsHaveAnOrigin() external view {
        KmsAuth target = caller.KMS();
        for (uint256 i = 0; i < AnyCall.POOL; ++i) {
            address appId = AnyCall.account(i);
            check(target.registeredApps(appId) == caller.isRegistered(appId), "registered");
            check(target.suspendedApps(appId) == caller.isSuspended(appId), "suspended");
        }
        for (uint256 i = 0; i < caller.factoryAppCount(); ++i) {
            check(target.registeredApps(caller.factoryApps(i)), "app of the factory");
        }
        check(!caller.registeredByStranger(), "registered by a stranger");
    }

    /// INV-6: the slots kept for later are zero.
    function invariant_gapIsZero() external view {
        checkZero(address(caller.KMS()), 10, 59);
    }

    /// What was published last is what is read, wherever the mode of its time has put it.
    function invariant_evidenceIsTheLast() external view {
        (bytes memory k256, bytes memory ca, bytes memory quote, bytes memory eventlog) = caller.KMS().kmsInfo();
        bytes memory expected = abi.encode(
            caller.info().k256Pubkey,
            caller.info().caPubkey,
            caller.info().quote,
            caller.info().eventlog
        );
        check(keccak256(abi.encode(k256, ca, quote, eventlog)) == keccak256(expected), "evidence");
    }

    /// A pause is the first word on every question, and ends by nothing but its end.
    function invariant_pauseIsTheFirstWord() external view {
        IAppAuth.AppBootInfo memory bootInfo;
        check(caller.KMS().paused() == caller.isPaused(), "paused");
        (, string memory ofKms) = caller.KMS().isKmsAllowed(bootInfo);
        (, string memory ofApp) = caller.KMS().isAppAllowed(bootInfo);
        checkAnswer(false, ofKms, caller.isPaused() ? "KMS is paused" : "TCB status is not up to date");
        checkAnswer(false, ofApp, caller.isPaused() ? "KMS is paused" : "App not registered");
    }

    /// H16: none of the contract's own mutators moves ownership, whoever calls it.
    function testFuzz_ownCallsKeepTheOwner(address stranger, bool asOwner, uint256 which, bytes32 word, bool flag) public {
        KmsAuth target = _newKms();
        bytes memory data = AnyCall.ofKms(which % AnyCall.KMS_OWN_CALLS, word, flag, address(new KmsAuth()));
        VM.prank(asOwner ? AnyCall.account(0) : stranger);
        (bool done, ) = address(target).call(data);
        check(target.owner() == AnyCall.account(0), done ? "owner after a call" : "owner after a refused call");
        check(target.pendingOwner() == address(0), "pending owner");
    }

    /// Whether the switches turn often.
    function _turns() internal pure virtual returns (bool) {
        return true;
    }

    function _newKms() internal virtual returns (KmsAuth) {
        bytes memory initData = abi.encodeCall(KmsAuth.initialize, (AnyCall.account(0), address(appImplementation)));
        return KmsAuth(address(new ERC1967Proxy(address(new KmsAuth()), initData)));
    }
}

/// @title The same of a trust domain that begins strict
contract StrictKmsAuthInvariantsTest is KmsAuthInvariantsTest {
    function _turns() internal pure override returns (bool) {
        return false;
    }

    function _newKms() internal override returns (KmsAuth) {
        return newStrictKms(AnyCall.account(0));
    }
}
