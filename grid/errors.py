"""Every error raised on purpose.

A message is one sentence: what, where, what was expected, what was found. The command line prints
it and exits with `exit_code`; 2 means that the input was at fault, 1 that the work failed.
"""


class ArgonautError(Exception):
    """Base of all errors that a person can act on."""

    exit_code = 1


class ConfigError(ArgonautError):
    """A config file or flag is wrong."""

    exit_code = 2


class AccessError(ArgonautError):
    """A key is missing, damaged, or does not give the right that is asked for."""

    exit_code = 2


class DataError(ArgonautError):
    """Market data is missing, damaged or unfit."""

    exit_code = 2


class CheckpointError(ArgonautError):
    """A checkpoint is missing, damaged or from another kind of run."""

    exit_code = 2


class TrialsError(ArgonautError):
    """A training grid's folder is damaged, in use, or not what was asked for."""

    exit_code = 2


class SessionError(ArgonautError):
    """A recorded session is missing, damaged or does not hold what was asked for."""

    exit_code = 2


class RecordingError(SessionError):
    """A session could not be written: the disk is at fault, and may be well again later."""

    exit_code = 1


class SpecMismatch(ArgonautError):
    """An agent and a strategy do not mean the same thing by an observation or an action."""

    exit_code = 2


class ProtocolError(ArgonautError):
    """A peer sent what the protocol does not allow."""


class BusError(ArgonautError):
    """The bus cannot be reached or an address is taken."""


class ProcessDied(ArgonautError):
    """A process of the grid ended, or stopped answering, for good."""


class RefusedError(ArgonautError):
    """A running grid said no to what it was asked for."""


class BridgeError(ArgonautError):
    """What a bridge hands events on to cannot be reached, refuses them or holds something else."""


class UnreachableError(BridgeError):
    """What a bridge hands events on to does not answer now; later it may."""


class EngineError(ArgonautError):
    """The trading engine failed inside a run."""


class EnvError(ArgonautError):
    """An env in a process of its own raised an exception that is none of these."""


class ParityError(ArgonautError):
    """Two runs that must be equal are not."""


class InvariantError(ArgonautError):
    """A grid did what it must never do."""
