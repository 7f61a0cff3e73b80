"""What can go wrong with containers. Messages are docker's where docker has one."""

from __future__ import annotations

from typing import ClassVar

from entrepot.errors import Conflict, EntrepotError, InvalidInput, NotFound, Unavailable


class NoSuchContainer(NotFound):
    """No container has this name or ID."""

    code: ClassVar[str] = "no-such-container"

    def __init__(self, name: str) -> None:
        super().__init__(f"No such container: {name}")
        self.name = name


class AmbiguousContainer(NotFound):
    """A shortened ID that fits several containers."""

    code: ClassVar[str] = "ambiguous-container"

    def __init__(self, prefix: str) -> None:
        super().__init__(f"multiple IDs found with provided prefix: {prefix}")


class ContainerNameTaken(Conflict):
    """Another container has the name."""

    code: ClassVar[str] = "container-name-taken"

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(
            f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )


class InvalidContainerName(InvalidInput):
    """A name outside of docker's grammar."""

    code: ClassVar[str] = "invalid-container-name"

    def __init__(self, name: str) -> None:
        super().__init__(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


class ContainerRunning(Conflict):
    """What was asked for needs a container that does not run."""

    code: ClassVar[str] = "container-running"


class ContainerNotRunning(Conflict):
    """What was asked for needs a running container."""

    code: ClassVar[str] = "container-not-running"

    def __init__(self, container_id: str) -> None:
        super().__init__(f"Container {container_id} is not running")


class InvalidOption(InvalidInput):
    """A setting of a container that makes no sense."""

    code: ClassVar[str] = "invalid-container-option"


class NoCommand(InvalidInput):
    """Neither the image nor the user says what to run."""

    code: ClassVar[str] = "no-command"

    def __init__(self) -> None:
        super().__init__("no command specified")


class NoSuchUser(InvalidInput):
    """The user or group is not in the image's own files."""

    code: ClassVar[str] = "no-such-user"


class NoRuntime(Unavailable):
    """No OCI runtime is installed, or none that works here."""

    code: ClassVar[str] = "no-container-runtime"


class NoNetwork(Unavailable):
    """No program for a container's network is installed, or it cannot work here."""

    code: ClassVar[str] = "no-container-network"


class RuntimeFailed(EntrepotError):
    """The OCI runtime could not start the process; `exit_code` is docker's for `run`."""

    code: ClassVar[str] = "container-runtime-failed"

    def __init__(self, message: str, *, exit_code: int = 125, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.run_exit_code = exit_code


class MountFailed(Unavailable):
    """The kernel would not mount a container's files."""

    code: ClassVar[str] = "mount-failed"


class NoSuchPath(NotFound):
    """A path inside of a container that is not there."""

    code: ClassVar[str] = "no-such-path"

    def __init__(self, path: str, container: str) -> None:
        super().__init__(f"Could not find the file {path} in container {container}")
