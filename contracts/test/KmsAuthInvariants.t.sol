// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {AppAuth} from "../AppAuth.sol";
import {KmsAuth} from "../KmsAuth.sol";
import {AnyCall} from "./AnyCall.sol";
import {OwnershipModel} from "./OwnershipModel.sol";
import {TestBase} from "./TestBase.sol";

/// @title Anybody's calls of one trust domain, and what they must have led to
contract KmsCaller is OwnershipModel {
    KmsAuth public immutable KMS;
    address private immutable _NEXT;

    address public appImplementation;
    address[] public factoryApps;
    mapping(address appId => bool) public isRegistered;
    bool public initializedAgain;

    constructor(KmsAuth kms, address next) {
        KMS = kms;
        _NEXT = next;
        appImplementation = kms.appImplementation();
    }

    function act(uint256 caller, uint256 choice, bytes32 word, bool flag) external {
        uint256 which = choice % AnyCall.KMS_CALLS;
        bytes memory data = AnyCall.ofKms(which, word, flag, _NEXT);
        if (_isSkipped(data, word)) return;
        (bool done, bytes memory returned) = _call(address(KMS), _caller(caller, bytes4(data)), data);
        if (!done) return;
        _followOwnership(data, word);
        if (which == 4) isRegistered[AnyCall.account(uint256(word))] = true;
        if (which == 5) appImplementation = flag ? AnyCall.account(uint256(word)) : address(0);
        if (which == 6 || which == 7) factoryApps.push(abi.decode(returned, (address)));
        if (which == 15) initializedAgain = true;
    }

    function factoryAppCount() external view returns (uint256) {
        return factoryApps.length;
    }
}

/// @title What no sequence of calls to a trust domain can break
contract KmsAuthInvariantsTest is TestBase {
    KmsCaller private _caller;

    function setUp() public override {
        super.setUp();
        _caller = new KmsCaller(_newKms(), address(new KmsAuth()));
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_caller);
    }

    /// INV-2: ownership moves by the two-step transfer or by renouncing.
    function invariant_ownershipMovesInTwoSteps() external view {
        check(_caller.KMS().owner() == _caller.owner(), "owner");
        check(_caller.KMS().pendingOwner() == _caller.pendingOwner(), "pending owner");
    }

    /// INV-3: initialized once.
    function invariant_initializedOnce() external view {
        check(!_caller.initializedAgain(), "initialized again");
        checkInitializedOnce(address(_caller.KMS()));
    }

    /// INV-4, as far as it holds without a code check: the app implementation is what was set last, and never zero again.
    function invariant_appImplementationStaysSet() external view {
        address implementation = _caller.KMS().appImplementation();
        check(implementation == _caller.appImplementation(), "app implementation");
        check(implementation != address(0), "zero app implementation");
    }

    /// INV-5: what is registered came from the factory or from registerApp.
    function invariant_registrationsHaveAnOrigin() external view {
        KmsAuth target = _caller.KMS();
        for (uint256 i = 0; i < AnyCall.POOL; ++i) {
            address appId = AnyCall.account(i);
            check(target.registeredApps(appId) == _caller.isRegistered(appId), "registered");
        }
        for (uint256 i = 0; i < _caller.factoryAppCount(); ++i) {
            check(target.registeredApps(_caller.factoryApps(i)), "app of the factory");
        }
    }

    /// INV-6: the slots kept for later are zero.
    function invariant_gapIsZero() external view {
        checkZero(address(_caller.KMS()), 10, 59);
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

    function _newKms() private returns (KmsAuth) {
        bytes memory initData = abi.encodeCall(KmsAuth.initialize, (AnyCall.account(0), address(new AppAuth())));
        return KmsAuth(address(new ERC1967Proxy(address(new KmsAuth()), initData)));
    }
}
