"""The error of a user's input."""


class InputError(ValueError):
    """One sentence that names the file, row or option at fault and the remedy.

    The command line prints it and exits with status 2; any other exception is a defect of ours and
    keeps its traceback.
    """
