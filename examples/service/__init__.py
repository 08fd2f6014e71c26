"""A service that watches jobs for a team, shows them live in a browser, and goes on after a restart.

    python -m service --port 8000 --database watches.sqlite3
    curl --json '["image-version/9002", "image-diff/5002"]' http://127.0.0.1:8000/watches

Run it from the folder that holds this one. Credentials come from the environment, as `ClanforgeClient.from_env` says;
it needs starlette and uvicorn. Whoever reaches the port may use it: put it behind your own login.
"""
