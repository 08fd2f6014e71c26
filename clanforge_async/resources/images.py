"""Calls for images: update options, activation and rollout."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from clanforge_async._codec.images import parse_image, parse_image_options, parse_image_rollout
from clanforge_async._http.request import ApiRequest, ApiResponse
from clanforge_async._http.session import Session
from clanforge_async._validation import flag, positive_id
from clanforge_async.errors import ConfigurationError, NotFoundError, OutcomeUnknownError
from clanforge_async.images import Image, ImageOptions, ImageRollout
from clanforge_async.resources.base import Resource
from clanforge_async.resources.requests import API

_OPTIONS = f"{API}/image/options"


class Images(Resource):
    """Images, as ``client.images``."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._games: dict[int, int] = {}  # the game of each image seen so far
        self._search = asyncio.Lock()

    async def options(
        self, image_id: int | None = None, *, game_id: int | None = None, game_version_id: int | None = None
    ) -> ImageOptions:
        """Read the account's games, a game's images and its build machines, and the lock of an image ("Image options").

        The API describes an image only together with its game. Without ``game_id``, the client lists the games and
        tries each with this image until one has it; it then remembers the game. Retried after transient failures.

        Args:
            image_id: The image; None: only the account's games.
            game_id: The game of this image, if known.
            game_version_id: The game version whose mods the server lists.

        Raises:
            TypeError: An id is not an ``int``.
            ValueError: An id is not positive, or ``game_id`` or ``game_version_id`` is given without ``image_id``.
            NotFoundError: No game of the account has the image.
            APIError: The server responded with an error.
            InvalidResponseError: A response cannot be parsed.
            TransportError: The network failed.
        """
        if image_id is None:
            if game_id is not None or game_version_id is not None:
                msg = "game_id and game_version_id need an image_id"
                raise ValueError(msg)
            return await self._read_options()
        positive_id(image_id, "image_id")
        version: dict[str, str] = {}
        if game_version_id is not None:
            version["gameversion_identifier"] = str(positive_id(game_version_id, "game_version_id"))
        if game_id is not None:
            return await self._read_options(positive_id(game_id, "game_id"), image_id, version)
        return await self._read_options_of_known(image_id, version) or await self._find(image_id, version)

    async def _read_options_of_known(self, image_id: int, version: Mapping[str, str]) -> ImageOptions | None:
        """Read the options of an image; None if its game is unknown or no longer has the image."""
        game_id = self._games.get(image_id)
        if game_id is None:
            return None
        options = await self._read_options(game_id, image_id, version)
        if image_id in options.images:
            return options
        self._games.pop(image_id, None)
        return None

    async def _find(self, image_id: int, version: Mapping[str, str]) -> ImageOptions:
        """Find the game of an image and read its options, one image at a time: a response lists all images of a game.

        Raises:
            NotFoundError: No game of the account has the image.
        """
        self._session.ensure_open()  # an asyncio lock belongs to one event loop
        async with self._search:
            options = await self._read_options_of_known(image_id, version)
            if options is not None:
                return options
            for game_id in (await self._read_options()).games:
                options = await self._read_options(game_id, image_id)
                self._games.update(dict.fromkeys(options.images, game_id))
                if image_id in options.images:
                    # A game version may be an error for the other games, so the search does not send it.
                    return await self._read_options(game_id, image_id, version) if version else options
        msg = f"no game of the account has an image {image_id}"
        raise NotFoundError(msg, status_code=404, url=self._session.url_of(_OPTIONS))

    async def _read_options(
        self, game_id: int | None = None, image_id: int | None = None, version: Mapping[str, str] | None = None
    ) -> ImageOptions:
        ids = {} if image_id is None else {"gameid": str(game_id), "imageid": str(image_id)}
        request = ApiRequest(_OPTIONS, partial(parse_image_options, game_id, image_id), {**ids, **(version or {})})
        return (await self._session.call(request)).value

    async def set_active(self, image_id: int, active: bool) -> Image:
        """Activate or deactivate an image ("Image update").

        The call has a side effect, so it is sent again only if the server cannot have processed it.

        Args:
            image_id: The image.
            active: True activates the image, False deactivates it.

        Raises:
            TypeError: ``image_id`` is not an ``int``, or ``active`` is not a ``bool``.
            ValueError: ``image_id`` is not positive.
            OutcomeUnknownError: The server may or may not have processed the call; no other call shows which.
            APIError: The server refused.
            TransportError: No connection could be made.
        """
        path = f"{API}/image/{positive_id(image_id, 'image_id')}/update"
        params = {"active": str(int(flag(active, "active")))}
        response = await self._send_once(ApiRequest(path, partial(parse_image, image_id), params, idempotent=False))
        if isinstance(response, ApiResponse):
            return response.value
        raise OutcomeUnknownError(call="images.set_active") from response

    async def rollout(self, image_id: int, include_details: bool = False) -> ImageRollout:
        """Read how many machines have the latest version of an image ("Image status").

        Retried after transient failures. The account service id is part of the URL path, so a client with a Bearer
        token needs one too.

        Args:
            image_id: The image.
            include_details: Request the numbers of each fleet and region too (``detail=true``).

        Raises:
            ConfigurationError: The client has no ``account_service_id``.
            TypeError: ``image_id`` is not an ``int``, or ``include_details`` is not a ``bool``.
            ValueError: ``image_id`` is not positive.
            APIError: The server responded with an error.
            InvalidResponseError: The response cannot be parsed.
            TransportError: The network failed.
        """
        positive_id(image_id, "image_id")
        params = {"detail": "true"} if flag(include_details, "include_details") else {}
        account = self._session.config.account_service_id
        if account is None:
            msg = "images.rollout needs the client's account_service_id: it is part of the URL path"
            raise ConfigurationError(msg)
        path = f"/cfp/v2/project/{account}/image/{image_id}/status"
        request = ApiRequest(path, parse_image_rollout, params, sends_account=False)
        return (await self._session.call(request)).value
