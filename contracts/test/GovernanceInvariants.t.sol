// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {KmsAuth} from "../KmsAuth.sol";
import {GovernedCalls} from "./GovernedCalls.sol";
import {GovernedDomain} from "./GovernedDomain.sol";
import {ACTORS, GovernedState, KINDS} from "./GovernedState.sol";
import {Vm} from "./TestBase.sol";

/// @title Anybody's calls of a governed trust domain and its manager, in any order, while time passes
/// @notice Keeps its own record of what was asked for when, and notes every addition that this record does not explain.
abstract contract GovernanceActions {
    Vm private constant _VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 private constant _LONGEST_STEP = 3 days;
    uint256 private constant _INSTANT_CALLS = GovernedCalls.OPERATOR_CALLS - GovernedCalls.CURATOR_CALLS;

    struct Operation {
        address caller;
        bool alive;
        address target;
        bytes data;
        uint256 scheduledAt;
    }

    AccessManager public immutable MANAGER;
    KmsAuth public immutable KMS;
    address private immutable _NEXT;
    uint256 private immutable _END;

    /// @dev By role, then the deployer and a stranger.
    address[ACTORS] private _actors;
    uint256[KINDS] private _first;
    uint256[KINDS] private _state;
    address private _owner;
    Operation[] private _operations;

    uint256 public clock;
    string public violation;
    uint256 public additions;
    /// @dev From here on the rules of the manager, or of who registers apps, are others: operations that waited made them so.
    bool public rulesChanged;

    constructor(GovernedDomain domain, address[ACTORS] memory actors, uint256 end) {
        (MANAGER, KMS, _NEXT) = (domain.MANAGER(), domain.KMS(), domain.NEXT());
        (_actors, _END, clock) = (actors, end, block.timestamp);
        _first = GovernedState.readFrom(KMS, MANAGER, actors);
        (_state, _owner) = (_first, KMS.owner());
    }

    function _wait(uint256 duration) internal {
        clock += duration % _LONGEST_STEP;
        _start();
    }

    function _scheduleKms(uint256 who, uint256 which, uint256 seed) internal {
        _start();
        which %= GovernedCalls.KMS_CALLS;
        bytes memory data = GovernedCalls.ofKms(which, seed, _actor(seed), _NEXT);
        _schedule(who % 4 == 0 ? _actor(who / 4) : _actors[GovernedCalls.roleOf(which)], address(KMS), data);
    }

    function _scheduleManager(uint256 who, uint256 which, uint256 seed) internal {
        _start();
        _schedule(who % 4 == 0 ? _actor(who / 4) : _actors[0], address(MANAGER), _managerCall(which, seed));
    }

    /// @dev As things stand, or a second before the operation is ready, or as soon as it is.
    function _executeScheduled(uint256 index, uint256 when, bool directly) internal {
        if (_operations.length == 0) return;
        Operation memory operation = _operations[_aliveFrom(index)];
        uint256 timepoint = MANAGER.getSchedule(keccak256(abi.encode(operation.caller, operation.target, operation.data)));
        if (when % 4 != 0 && timepoint > clock) clock = when % 4 == 1 ? timepoint - 1 : timepoint;
        _start();
        bool skipsExecute = directly && operation.target == address(MANAGER);
        bytes memory data = abi.encodeCall(AccessManager.execute, (operation.target, operation.data));
        _act(operation.caller, address(MANAGER), skipsExecute ? operation.data : data);
    }

    function _cancelScheduled(uint256 who, uint256 index) internal {
        _start();
        if (_operations.length == 0) return;
        Operation storage operation = _operations[index % _operations.length];
        _VM.prank(_actor(who));
        try MANAGER.cancel(operation.caller, operation.target, operation.data) {
            for (uint256 i = 0; i < _operations.length; ++i) {
                if (_idOf(_operations[i]) == _idOf(operation)) _operations[i].alive = false;
            }
            _judge();
        } catch {}
    }

    function _callKms(uint256 who, uint256 which, uint256 seed) internal {
        _start();
        _act(_actor(who), address(KMS), _kmsCall(which, seed));
    }

    /// @dev Half of them are calls that some role may make at once, or must not.
    function _executeKms(uint256 who, uint256 which, uint256 seed) internal {
        _start();
        which = seed % 2 == 0 ? which % GovernedCalls.KMS_CALLS : GovernedCalls.CURATOR_CALLS + (which % _INSTANT_CALLS);
        bytes memory data = GovernedCalls.ofKms(which, seed >> 8, _actor(seed >> 8), _NEXT);
        address caller = who % 4 == 0 ? _actor(who / 4) : _actors[GovernedCalls.roleOf(which)];
        _act(caller, address(MANAGER), abi.encodeCall(AccessManager.execute, (address(KMS), data)));
    }

    function _callManager(uint256 who, uint256 which, uint256 seed, bool through) internal {
        _start();
        bytes memory data = _managerCall(which, seed);
        if (through) data = abi.encodeCall(AccessManager.execute, (address(MANAGER), data));
        _act(_actor(who), address(MANAGER), data);
    }

    function _batch(uint256 who, uint256 which, uint256 seed, bool schedulesFirst) internal {
        _start();
        bytes[] memory calls = new bytes[](2);
        calls[1] = abi.encodeCall(AccessManager.execute, (address(KMS), _kmsCall(which, seed)));
        calls[0] =
            schedulesFirst
                ? abi.encodeCall(AccessManager.schedule, (address(KMS), _kmsCall(which, seed), 0))
                : abi.encodeCall(AccessManager.execute, (address(KMS), _kmsCall(which >> 8, seed >> 8)));
        _act(_actor(who), address(MANAGER), abi.encodeWithSignature("multicall(bytes[])", calls));
    }

    /// @dev Rare, because a sequence without holders says little.
    function _renounce(uint256 who, uint256 role) internal {
        _start();
        if (who % 64 != 0) return;
        address account = _actor(who / 64);
        _act(account, address(MANAGER), abi.encodeCall(AccessManager.renounceRole, (uint64(role % 6), account)));
    }

    /// @dev Whether a kind has more than at the start.
    function hasGrown(uint256 kind) external view returns (bool) {
        return GovernedState.isAddition(kind, _first[kind], _state[kind]);
    }

    /// @dev The clock is kept here too, and what expired meanwhile was not executed.
    function _start() private {
        if (clock > _END) clock = _END;
        _VM.warp(clock);
        for (uint256 i = 0; i < _operations.length; ++i) {
            if (_operations[i].alive && MANAGER.getSchedule(_idOf(_operations[i])) == 0) _operations[i].alive = false;
        }
    }

    function _schedule(address caller, address target, bytes memory data) private {
        _VM.prank(caller);
        try MANAGER.schedule(target, data, 0) {
            _operations.push(Operation(caller, true, target, data, clock));
            _judge();
        } catch {}
    }

    function _act(address caller, address target, bytes memory data) private {
        _VM.prank(caller);
        (bool done, ) = target.call(data);
        if (done) _judge();
    }

    /// @dev What the record says was scheduled, and the manager no longer has, was executed by the last call.
    function _judge() private {
        uint256[KINDS] memory before = _state;
        uint256[KINDS] memory later = GovernedState.readFrom(KMS, MANAGER, _actors);
        bool[KINDS] memory isExplained = _consume();
        for (uint256 kind = 0; kind < KINDS; ++kind) {
            if (!GovernedState.isAddition(kind, before[kind], later[kind])) continue;
            ++additions;
            if (!isExplained[kind] && !rulesChanged) violation = string.concat("unexplained addition of kind ", _digits(kind));
            if (kind >= GovernedState.MEMBERS || kind == GovernedState.SWITCHES) rulesChanged = true;
        }
        address owner = KMS.owner();
        if (owner != _owner) {
            if (uint160(owner) != before[GovernedState.PENDING_OWNER]) violation = "ownership moved in one step";
            (_owner, rulesChanged) = (owner, true);
        }
        _state = later;
    }

    function _consume() private returns (bool[KINDS] memory isExplained) {
        for (uint256 i = 0; i < _operations.length; ++i) {
            Operation storage operation = _operations[i];
            if (!operation.alive || MANAGER.getSchedule(_idOf(operation)) != 0) continue;
            operation.alive = false;
            bool ofManager = operation.target == address(MANAGER);
            bytes4 selector = bytes4(operation.data);
            if (clock < operation.scheduledAt + (ofManager ? 7 days : _delayOf(selector))) continue;
            for (uint256 kind = 0; kind < KINDS; ++kind) {
                if (ofManager ? kind >= GovernedState.MEMBERS : GovernedState.canAdd(selector, kind)) isExplained[kind] = true;
            }
        }
    }

    function _aliveFrom(uint256 index) private view returns (uint256) {
        for (uint256 i = 0; i < _operations.length; ++i) {
            uint256 candidate = addmod(index, i, _operations.length);
            if (_operations[candidate].alive) return candidate;
        }
        return index % _operations.length;
    }

    /// @dev The delays that the domain was handed over with, told by the function and not by the manager.
    function _delayOf(bytes4 selector) private view returns (uint256) {
        for (uint256 which = 0; which < GovernedCalls.OPERATOR_CALLS; ++which) {
            if (bytes4(GovernedCalls.ofKms(which, 0, address(0), address(0))) != selector) continue;
            return GovernedCalls.roleOf(which) == 1 ? 2 days : 1 days;
        }
        return 7 days;
    }

    function _idOf(Operation storage operation) private view returns (bytes32) {
        return keccak256(abi.encode(operation.caller, operation.target, operation.data));
    }

    function _actor(uint256 seed) private view returns (address) {
        return _actors[seed % _actors.length];
    }

    function _kmsCall(uint256 which, uint256 seed) private view returns (bytes memory) {
        return GovernedCalls.ofKms(which % GovernedCalls.KMS_CALLS, seed, _actor(seed), _NEXT);
    }

    function _managerCall(uint256 which, uint256 seed) private view returns (bytes memory) {
        address target = seed % 2 == 0 ? address(KMS) : address(MANAGER);
        return GovernedCalls.ofManager(which % GovernedCalls.MANAGER_CALLS, seed, _actor(seed >> 8), target);
    }

    function _digits(uint256 kind) private pure returns (string memory) {
        return string(abi.encodePacked(bytes1(uint8(48 + kind / 10)), bytes1(uint8(48 + (kind % 10)))));
    }
}

/// @title Several of them at a time, in an order that one number decides
contract GovernanceCaller is GovernanceActions {
    uint256 private constant _STEPS = 3;

    constructor(GovernedDomain domain, address[ACTORS] memory actors, uint256 end) GovernanceActions(domain, actors, end) {}

    function act(uint256 seed) external {
        for (uint256 i = 0; i < _STEPS; ++i) {
            seed = uint256(keccak256(abi.encode(seed, clock)));
            _step(seed % 16, seed >> 8, seed >> 72, seed >> 136);
        }
    }

    /// @dev Once the rules are others, the record has less to say.
    function _rarelyScheduleManager(uint256 who, uint256 which, uint256 seed) private {
        if (seed % 5 == 0) _scheduleManager(who, which, seed);
    }

    /// @dev Half of the steps ask for a change or make it, or else sequences rarely get anywhere.
    function _step(uint256 choice, uint256 who, uint256 which, uint256 seed) private {
        if (choice < 4) _scheduleKms(who, which, seed);
        else if (choice < 5) _rarelyScheduleManager(who, which, seed);
        else if (choice < 9) _executeScheduled(who, which, seed % 2 == 0);
        else if (choice < 10) _cancelScheduled(who, which);
        else if (choice < 11) _wait(seed);
        else if (choice < 12) _callKms(who, which, seed);
        else if (choice < 13) _executeKms(who, which, seed);
        else if (choice < 14) _callManager(who, which, seed, who % 3 == 0);
        else if (choice < 15) _batch(who, which, seed, who % 3 == 0);
        else _renounce(who, which);
    }
}

/// @title Some of them as a test wants them
contract GovernanceDriver is GovernanceActions {
    constructor(GovernedDomain domain, address[ACTORS] memory actors) GovernanceActions(domain, actors, type(uint256).max) {}

    function schedule(uint256 role, uint256 which) external {
        _scheduleKms(role * 4 + 1, which, 0);
    }

    function execute() external {
        _executeScheduled(0, 0, false);
    }

    function executeAtOnce(uint256 role, uint256 which) external {
        _executeKms(role * 4 + 1, which, 0);
    }

    function wait(uint256 duration) external {
        _wait(duration);
    }
}

/// @title A trust domain handed over, and what is called of it
abstract contract GovernanceBase {
    Vm internal constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 internal constant START = 1_800_000_000;

    GovernanceCaller internal caller;

    /// @notice A property does not hold.
    error Failed(string what);

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(caller);
    }

    function check(bool condition, string memory what) internal pure {
        if (!condition) revert Failed(what);
    }

    /// @dev Admin, curator, upgrader, guardian, operator; then the deployer and a stranger.
    function handOver(uint32 curatorDelay) internal returns (GovernedDomain domain, address[ACTORS] memory actors) {
        VM.warp(START);
        address[5] memory holders = [address(0xa0), address(0xa1), address(0xa2), address(0xa3), address(0xa4)];
        uint32[5] memory delays = [uint32(7 days), curatorDelay, 7 days, 0, 1 days];
        domain = new GovernedDomain(holders, delays);
        actors = [holders[0], holders[1], holders[2], holders[3], holders[4], address(domain), address(0xa6)];
    }
}

/// @title While less time passes than the shortest delay of an addition
contract GovernanceWithinDelayTest is GovernanceBase {
    function setUp() external {
        (GovernedDomain domain, address[ACTORS] memory actors) = handOver(2 days);
        caller = new GovernanceCaller(domain, actors, START + 2 days - 1);
    }

    /// Nobody adds anything, whoever calls whatever in whatever order: the admin, the deployer and all holders together included.
    function invariant_nothingIsAdded() external view {
        for (uint256 kind = 0; kind < KINDS; ++kind) {
            bool isOperators = kind == GovernedState.UNPAUSED || kind == GovernedState.NOT_SUSPENDED;
            check(isOperators || !caller.hasGrown(kind), "an addition");
        }
        check(caller.KMS().owner() == address(caller.MANAGER()), "owner");
        check(bytes(caller.violation()).length == 0, caller.violation()); // what the operator gave back had waited its day
    }
}

/// @title While any time passes
contract GovernanceOverTimeTest is GovernanceBase {
    uint256 private constant _ADD_OS_IMAGE = 2;

    function setUp() external {
        (GovernedDomain domain, address[ACTORS] memory actors) = handOver(2 days);
        caller = new GovernanceCaller(domain, actors, type(uint256).max);
    }

    /// Each addition was scheduled its delay earlier; a change of the manager's rules, which could shorten delays, seven days earlier.
    function invariant_everyAdditionWaited() external view {
        check(bytes(caller.violation()).length == 0, caller.violation());
    }

    /// The record is not blind: what was scheduled, waited and was executed counts as an addition, and is explained.
    function test_anAdditionThatWaitedIsSeen() external {
        GovernanceDriver driver = _driver(2 days);
        driver.schedule(1, _ADD_OS_IMAGE);
        driver.execute();
        check(driver.additions() == 0, "too early");
        driver.wait(2 days);
        driver.execute();
        check(driver.additions() == 1, "seen");
        check(bytes(driver.violation()).length == 0, driver.violation());
    }

    /// The record is not lenient: in a domain whose curator waits too short, or not at all, the addition is a violation.
    function test_anAdditionThatDidNotWaitIsAViolation() external {
        GovernanceDriver driver = _driver(1 days);
        driver.schedule(1, _ADD_OS_IMAGE);
        driver.wait(1 days);
        driver.execute();
        check(bytes(driver.violation()).length != 0, "a day");
        driver = _driver(0);
        driver.executeAtOnce(1, _ADD_OS_IMAGE);
        check(bytes(driver.violation()).length != 0, "no delay");
    }

    function _driver(uint32 curatorDelay) private returns (GovernanceDriver) {
        (GovernedDomain domain, address[ACTORS] memory actors) = handOver(curatorDelay);
        return new GovernanceDriver(domain, actors);
    }
}
