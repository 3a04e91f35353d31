"""`python -m simulate`: see run.py. Ctrl-C ends it at once, whatever it is doing."""

from localstack.stopping import run_main_of

if __name__ == "__main__":
    run_main_of("simulate.run")
