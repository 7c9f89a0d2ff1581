"""The `oarlock` command. It says things to people and turns what they ask for into calls; it never decides about training."""


def main() -> None:
    """Run the command line."""
    from oarlock.cli.app import app

    app()
