"""The work of the commands, a module each, imported when its command runs, so that help answers at once."""
