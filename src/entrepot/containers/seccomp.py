"""The system calls that a container may make, by the capabilities it has.

A list of what is allowed, as docker's, and not of what is forbidden: a call that a kernel gets tomorrow is no
way out. A call that is known and forbidden fails with EPERM. One that nobody here knows fails with ENOSYS,
as on a kernel without it, since C libraries then use an older one; docker's answer to those depends on the
runtime. `--security-opt seccomp=FILE` takes any profile in the runtime's own form, `seccomp=unconfined` none.
runtime-spec: Seccomp.
"""

from __future__ import annotations

import errno
import platform
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from entrepot.containers.syscalls import (
    ALLOWED,
    ALLOWED_ON,
    ALLOWED_PERSONALITIES,
    ALLOWED_WITH,
    LAST_FAMILY,
    NEW_NAMESPACES,
    REFUSED,
    REFUSED_FAMILIES,
)

_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    "s390x": ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
    "ppc64le": ["SCMP_ARCH_PPC64LE"],
    "riscv64": ["SCMP_ARCH_RISCV64"],
}
_TOP_BIT = 1 << 31

Rule = dict[str, Any]


def default_seccomp(capabilities: Sequence[str], *, machine: str | None = None) -> dict[str, Any]:
    """The profile for a process with these capabilities; `machine` as `uname -m` says it."""
    machine = machine or platform.machine()
    allowed = [name for names in ALLOWED.values() for name in names.split()]
    allowed += ALLOWED_ON.get(machine, "").split()
    refused = REFUSED.split()
    for needed, names in ALLOWED_WITH:
        (allowed if any(name in capabilities for name in needed) else refused).extend(names.split())
    refused = [name for name in refused if name not in ("clone", "clone3")]
    # Rules of one call must not overlap: which of two counts is up to the library.
    rules = [_allow(sorted(allowed)), _refuse(sorted(refused))]
    rules += [*_socket_rules(), *_personality_rules()]
    if "CAP_SYS_ADMIN" not in capabilities:
        # clone3 hides its flags from seccomp: unknown to this profile, so that C libraries use clone.
        rules += _clone_rules(flags_at=1 if machine == "s390x" else 0)
    profile: dict[str, Any] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "syscalls": rules,
    }
    architectures = _ARCHITECTURES.get(machine)
    if architectures:
        profile["architectures"] = architectures
    return profile


def _socket_rules() -> Iterator[Rule]:
    lowest = min(REFUSED_FAMILIES)  # one rule for all below: each costs time at the start of a container
    yield _allow(["socket"], _compared(0, "LT", lowest))
    for family in range(lowest, LAST_FAMILY + 1):
        if family not in REFUSED_FAMILIES:
            yield _allow(["socket"], _compared(0, "EQ", family))
        else:
            yield _refuse(["socket"], _compared(0, "EQ", family))
    # Also whatever has more than 32 bits: the kernel looks at the lower ones only.
    yield _refuse(["socket"], _compared(0, "GT", LAST_FAMILY))


def _personality_rules() -> Iterator[Rule]:
    for persona in ALLOWED_PERSONALITIES:
        yield _allow(["personality"], _compared(0, "EQ", persona))
    harmless = 0
    for persona in ALLOWED_PERSONALITIES:
        harmless |= persona if not persona & _TOP_BIT else 0
    # Each other flag; none has the top bit, but the value that only asks has.
    for flag in _bits(~harmless & (_TOP_BIT - 1)):
        yield _refuse(["personality"], _masked(0, flag | _TOP_BIT, flag))


def _clone_rules(flags_at: int) -> Iterator[Rule]:
    yield _allow(["clone"], _masked(flags_at, NEW_NAMESPACES, 0))
    for flag in _bits(NEW_NAMESPACES):
        yield _refuse(["clone"], _masked(flags_at, flag, flag))


def _allow(names: list[str], *arguments: dict[str, Any]) -> Rule:
    return _rule(names, arguments, {"action": "SCMP_ACT_ALLOW"})


def _refuse(names: list[str], *arguments: dict[str, Any]) -> Rule:
    return _rule(names, arguments, {"action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM})


def _rule(names: list[str], arguments: Iterable[dict[str, Any]], action: Rule) -> Rule:
    compared = list(arguments)
    return {"names": names, **action, **({"args": compared} if compared else {})}


def _compared(index: int, operator: str, value: int) -> dict[str, Any]:
    return {"index": index, "value": value, "op": f"SCMP_CMP_{operator}"}


def _masked(index: int, mask: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def _bits(flags: int) -> list[int]:
    return [1 << position for position in range(flags.bit_length()) if flags >> position & 1]
