"""The system calls that a container is kept from, unless it has the capability that they need.

The calls are those that docker's documentation lists as blocked by its default profile, and io_uring, which
newer
engines block as well. Everything else is allowed, so a kernel's new calls work; `--security-opt seccomp=FILE`
takes
any profile in the runtime's own form, `seccomp=unconfined` none. runtime-spec: Seccomp.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    "s390x": ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
    "ppc64le": ["SCMP_ARCH_PPC64LE"],
    "riscv64": ["SCMP_ARCH_RISCV64"],
}

_BLOCKED: dict[str | None, tuple[str, ...]] = {
    None: (
        "add_key", "create_module", "get_kernel_syms", "io_uring_enter", "io_uring_register",
        "io_uring_setup", "kexec_file_load", "kexec_load", "keyctl", "move_pages", "nfsservctl",
        "query_module", "request_key", "sysfs", "_sysctl", "uselib", "userfaultfd", "ustat", "vm86",
        "vm86old",
    ),
    "CAP_SYS_ADMIN": (
        "bpf", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount", "mount_setattr",
        "move_mount", "open_tree", "perf_event_open", "pivot_root", "quotactl", "quotactl_fd", "setns",
        "swapon", "swapoff", "umount", "umount2", "unshare",
    ),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_TIME": ("clock_adjtime", "clock_settime", "settimeofday", "stime"),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy"),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise"),
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_SYS_BOOT": ("reboot",),
}  # fmt: skip
"""Capability that unblocks them (None: nothing does) to system calls."""

_EPERM = 1
_ENOSYS = 38
_NEW_NAMESPACES = 0x7E020000
"""The CLONE_NEW* bits of clone's flags."""


def default_seccomp(capabilities: Sequence[str]) -> dict[str, Any]:
    """The profile for a process with these capabilities."""
    blocked = [
        name
        for needed, names in _BLOCKED.items()
        for name in names
        if (needed is None or needed not in capabilities)
    ]
    rules: list[dict[str, Any]] = [
        {"names": sorted(blocked), "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM},
    ]
    if "CAP_SYS_ADMIN" not in capabilities:
        flags = {"index": 0, "value": _NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
        # A new namespace is refused bit by bit; clone3 hides its flags from seccomp, so the C library falls
        # back to clone.
        for bit in range(17, 31):
            mask = 1 << bit
            if mask & _NEW_NAMESPACES:
                rule = {**flags, "value": mask, "valueTwo": mask}
                rules.append(
                    {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM, "args": [rule]}
                )
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
    profile: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    architectures = _ARCHITECTURES.get(platform.machine())
    if architectures:
        profile["architectures"] = architectures
    return profile
