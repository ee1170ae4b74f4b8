"""What can go wrong around the services, told in one sentence that says what to do next."""


class LauncherError(Exception):
    """A fault of the surroundings, not of this program: its text is all that the user sees; no traceback."""
