"""The image pipeline: updates, diffs and versions, with the rules and locks of the API."""

from __future__ import annotations

import math
import random
from collections import defaultdict, deque
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from attrs import define, field, frozen

from clanforge_async.jobs import ImageDiffDetails, JobState
from clanforge_async.refs import JobKind, JobRef
from clanforge_async.simulator.builds import Builds, Files
from clanforge_async.simulator.errors import RequestRefusedError, locked
from clanforge_async.simulator.events import EventQueue
from clanforge_async.simulator.images import BuildMachine, Game, Image
from clanforge_async.simulator.installs import Installs
from clanforge_async.simulator.jobs import JobRecord, JobStore, Task
from clanforge_async.simulator.payloads import Listing, Quirks
from clanforge_async.simulator.runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from clanforge_async.simulator.auth import Account
    from clanforge_async.simulator.installs import VersionOptions
    from clanforge_async.simulator.policies import Policies

