"""`python -m vmr`: the same as the command `vmr`."""

from vmr.cli import app

if __name__ == "__main__":
    app(prog_name="vmr")
