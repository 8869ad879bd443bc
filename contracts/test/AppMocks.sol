// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IAppAuth} from "../interfaces/IAppAuth.sol";

/// @title App contract that answers what it was told
contract AnsweringApp is IAppAuth {
    bool private _isAllowed;
    string private _reason;

    constructor(bool isAllowed, string memory reason) {
        _isAllowed = isAllowed;
        _reason = reason;
    }

    function isAppAllowed(AppBootInfo calldata) external view override returns (bool, string memory) {
        return (_isAllowed, _reason);
    }

    function supportsInterface(bytes4) external pure returns (bool) {
        return true;
    }
}

/// @title App contract that answers these bytes to any call, or reverts with them
contract RawApp {
    bool private _reverts;
    bytes private _data;

    constructor(bool reverts, bytes memory data) {
        _reverts = reverts;
        _data = data;
    }

    fallback() external {
        bytes memory data = _data;
        if (_reverts) {
            assembly {
                revert(add(data, 32), mload(data))
            }
        }
        assembly {
            return(add(data, 32), mload(data))
        }
    }
}

/// @title App contract that burns all gas it gets
contract BurningApp {
    fallback() external {
        assembly {
            invalid()
        }
    }
}

/// @title App contract that writes while it is asked
contract WritingApp {
    uint256 public asked;

    function isAppAllowed(IAppAuth.AppBootInfo calldata) external returns (bool, string memory) {
        ++asked;
        return (true, "");
    }
}
