"""What to do where the ``simulator`` extra is not installed."""

ADVICE = "the simulator needs starlette and uvicorn: pip install 'clanforge-async[simulator]'"
