"""A service that watches jobs for a team, shows them live in a browser, and resumes after a restart.

    python -m service --port 8000 --database watches.sqlite3
    curl --json '["image-version/9002", "image-diff/5002"]' http://127.0.0.1:8000/watches

Run it from the parent folder. Credentials come from the environment, see `ClanforgeClient.from_env`. It needs starlette
and uvicorn, and has no access control: put it behind your own login.
"""
