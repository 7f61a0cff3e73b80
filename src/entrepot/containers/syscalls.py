"""The system calls of a container by what they are for, up to Linux 6.18: facts, for `seccomp`.

What is let through, and with which capability, is what docker's engine lets through (moby/profiles). A name
that an architecture lacks, or that the installed libseccomp does not know yet, is skipped by the runtime.
"""

from __future__ import annotations

ALLOWED: dict[str, str] = {
    "reading and writing": """
        read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek _llseek close
        close_range dup dup2 dup3 fcntl fcntl64 ioctl pipe pipe2 sendfile sendfile64 splice tee vmsplice
        copy_file_range readahead fadvise64 fadvise64_64 fallocate ftruncate ftruncate64 truncate
        truncate64 flock fsync fdatasync sync syncfs sync_file_range cachestat io_setup io_submit
        io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64
    """,
    "names and attributes of files": """
        open openat openat2 creat name_to_handle_at access faccessat faccessat2 stat stat64 lstat lstat64
        fstat fstat64 fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64 statmount listmount
        chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32 umask utime
        utimes futimesat utimensat utimensat_time64 link linkat symlink symlinkat readlink readlinkat
        unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir mknod mknodat getdents getdents64
        chdir fchdir getcwd getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr
        setxattrat listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr
        removexattrat inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark
    """,
    "memory": """
        brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock
        munlockall mseal memfd_create memfd_secret remap_file_pages membarrier map_shadow_stack pkey_alloc
        pkey_free pkey_mprotect process_mrelease
    """,
    "processes and threads": """
        fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill getpid getppid
        gettid getpgid getpgrp setpgid getsid setsid prctl seccomp ptrace process_vm_readv
        process_vm_writev pidfd_open pidfd_send_signal futex futex_time64 futex_waitv futex_wait
        futex_wake futex_requeue get_robust_list set_robust_list set_tid_address get_thread_area
        set_thread_area rseq restart_syscall uretprobe landlock_create_ruleset landlock_add_rule
        landlock_restrict_self
    """,
    "users and limits": """
        getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32
        getresgid getresgid32 getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32
        setregid setregid32 setresuid setresuid32 setresgid setresgid32 setgroups setgroups32 setfsuid
        setfsuid32 setfsgid setfsgid32 capget capset getrlimit ugetrlimit setrlimit prlimit64 getrusage
        times sysinfo uname getcpu getrandom getpriority setpriority ioprio_get ioprio_set
        sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam
        sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min
        sched_rr_get_interval sched_rr_get_interval_time64 sched_yield
    """,
    "signals and time": """
        rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
        rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn
        signalfd signalfd4 pause alarm nanosleep clock_nanosleep clock_nanosleep_time64 clock_getres
        clock_getres_time64 clock_gettime clock_gettime64 gettimeofday time adjtimex clock_adjtime
        clock_adjtime64 getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime
        timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64
        timerfd_settime timerfd_settime64
    """,
    "waiting for files": """
        select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1
        epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2
    """,
    "sockets and messages": """
        socketpair socketcall bind connect listen accept accept4 shutdown getsockname getpeername
        getsockopt setsockopt send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64
        ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl
        shmdt shmget mq_open mq_unlink mq_notify mq_getsetattr mq_timedreceive mq_timedreceive_time64
        mq_timedsend mq_timedsend_time64
    """,
}

ALLOWED_ON: dict[str, str] = {
    "x86_64": "arch_prctl modify_ldt",
    "aarch64": "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    "ppc64le": "sync_file_range2 swapcontext",
    "s390x": "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
    "riscv64": "riscv_flush_icache riscv_hwprobe",
}
"""By what `uname -m` says; 32-bit programs of the architecture included."""

ALLOWED_WITH: tuple[tuple[tuple[str, ...], str], ...] = (
    (("CAP_DAC_READ_SEARCH",), "open_by_handle_at"),
    (
        ("CAP_SYS_ADMIN",),
        """
        clone clone3 unshare setns mount umount umount2 mount_setattr move_mount open_tree fsopen fsconfig
        fsmount fspick quotactl quotactl_fd sethostname setdomainname fanotify_init lookup_dcookie
        lsm_get_self_attr lsm_set_self_attr lsm_list_modules
        """,
    ),
    (("CAP_SYS_ADMIN", "CAP_BPF"), "bpf"),
    (("CAP_SYS_ADMIN", "CAP_PERFMON"), "perf_event_open"),
    (("CAP_SYS_ADMIN", "CAP_SYSLOG"), "syslog"),
    (("CAP_SYS_BOOT",), "reboot"),
    (("CAP_SYS_CHROOT",), "chroot"),
    (("CAP_SYS_MODULE",), "init_module finit_module delete_module"),
    (("CAP_SYS_NICE",), "get_mempolicy set_mempolicy set_mempolicy_home_node mbind"),
    (("CAP_SYS_PACCT",), "acct"),
    (("CAP_SYS_PTRACE",), "kcmp pidfd_getfd process_madvise"),
    (("CAP_SYS_RAWIO",), "ioperm iopl"),
    (("CAP_SYS_TIME",), "settimeofday stime clock_settime clock_settime64"),
    (("CAP_SYS_TTY_CONFIG",), "vhangup"),
)
"""Any one of the capabilities lets a process make the calls."""

REFUSED = """
    io_uring_setup io_uring_enter io_uring_register userfaultfd
    add_key keyctl request_key kexec_load kexec_file_load pivot_root swapon swapoff
    create_module query_module get_kernel_syms nfsservctl _sysctl sysfs uselib ustat bdflush vm86 vm86old
    move_pages migrate_pages nice oldfstat oldlstat oldstat olduname oldolduname sgetmask ssetmask
    pciconfig_iobase pciconfig_read pciconfig_write
"""
"""Never, whatever the capabilities."""

# What follows depends on an argument, so the calls are in no list above.

ALLOWED_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX and PER_LINUX32, each also with UNAME26; the last only asks."""

REFUSED_FAMILIES = (12, 19, 20, 23, 25, 34, 37, 38, 40)
"""Sockets of AF_ALG (38: the kernel's cryptography), AF_VSOCK (40: the hypervisor and other machines on it,
past every network namespace), and of families that the kernel no longer has."""
LAST_FAMILY = 45

NEW_NAMESPACES = 0x7E020000
"""The CLONE_NEW* bits of clone's flags."""
