"""The engine ``server``: prompts out to an OpenAI-compatible endpoint, replies back as each is ready."""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Literal
from urllib.parse import urlsplit

from popsim.engines.server.bodies import Body, chat_body, to_reply
from popsim.engines.server.calls import Calls, Got
from popsim.engines.server.probe import find_out, first_tokens, raise_if_refused
from popsim.engines.wire import NOTICE, Ability, Prompt, Reply
from popsim.errors import EngineError

_HOPELESS = 20
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Server:
    """A language model behind any endpoint that speaks OpenAI's chat completions.

    Many requests are in flight at once. One that meets a time-out, a broken connection, an answer that is none, or
    HTTP 408, 409, 425, 429 or 5xx is sent again after a growing random wait, on top of what the server asks for in
    Retry-After; what still fails comes back as an error, and the other prompts go on. When nothing answers at the
    address any more, when the key or the model is refused, or when twenty prompts in a row fail after all retries, the
    engine gives up with one error. What the server can do is found out by some short requests when the engine is made.

    The key comes from the environment and is kept nowhere; a server that needs none gets a placeholder.

    Args:
        model: The model's name on the server.
        url: The address up to and with ``/v1``, without credentials.
        concurrency: Requests in flight at once.
        timeout: Seconds after which an answer is no longer waited for.
        retries: How often at most a failed request is sent again.
        api_key_env: The environment variable that holds the key.

    Attributes:
        fingerprint: Name of the model, address, and what the server says the model is.
        reproducible: ``best_effort``: what else a server does is not known.
        remarks: What the server cannot do, in words; also in ``notice``.

    Raises:
        EngineError: An option or the address is wrong, or the server cannot be used.
    """

    def __init__(
        self,
        model: str,
        url: str = "",
        concurrency: int = 128,
        timeout: float = 600.0,
        retries: int = 5,
        api_key_env: str = "OPENAI_API_KEY",
    ) -> None:
        place = _checked_place(model, url)
        self._where = f"server:{model}@{place}"
        self._check_options(concurrency, timeout, retries, api_key_env)
        self._model = model
        self._calls = Calls(url, api_key_env, concurrency, timeout, retries)
        found = find_out(Calls(url, api_key_env, concurrency, timeout, min(retries, 2)), model, self._where)
        self._can = can = found.can
        self._first: dict[tuple[str, ...], list[list[int]]] = {}
        self.fingerprint = self._where + (f"={found.root}" if found.root else "")
        self.reads: Literal["text", "facts"] = "text"
        able: dict[Ability, object] = {
            "seed": can.seed,
            "prefill": can.prefill,
            "grammar": can.form,
            "choice": can.scores,
            "adapter": can.adapters,
        }
        self.abilities: frozenset[Ability] = frozenset(ability for ability, has in able.items() if has)
        self.reproducible: Literal["exact", "best_effort"] = "best_effort"
        self.remarks = found.remarks
        self.notice = NOTICE + (f" Of this server: {'; '.join(found.remarks)}." if found.remarks else "")

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Reply]]:
        """Yield each reply as it comes; prompts are read one by one, a bounded number ahead of the replies.

        Raises:
            EngineError: The server is gone, refuses everything, or cannot do what a prompt needs.
        """
        read = ((i, prompts[i]) for i in range(len(prompts)))
        asked = (((i, prompt), self._body(prompt)) for i, prompt in read)
        failed = 0
        with closing(self._calls.send(asked)) as answers:
            for (position, prompt), got in answers:
                failed = failed + 1 if got.again else 0
                if got.error:
                    self._give_up(got, failed)
                    yield position, Reply("", finish="error", error=got.error)
                else:
                    yield position, to_reply(prompt, got.data, self._can, self._first_tokens(prompt.choices))

    def _body(self, prompt: Prompt) -> Body:
        """Write the request of a prompt, if the server can do what it needs."""
        can = self._can
        if prompt.prefill and not can.prefill:
            raise EngineError(f"{self._where}: cannot go on from the beginning of a reply; ask for whole replies")
        if prompt.choices and not can.scores:
            raise EngineError(f"{self._where}: gives no log-probabilities; let it write its answers instead")
        if prompt.sampling.top_k and not (can.neutral or prompt.sampling.model):
            raise EngineError(f"{self._where}: takes no top_k; take sampling.top_k {prompt.sampling.top_k} out")
        if prompt.adapter and can.adapters is not None and prompt.adapter not in can.adapters | {self._model}:
            known = ", ".join(sorted(can.adapters)) or "none"
            raise EngineError(f"{self._where}: has no adapter {prompt.adapter!r}; it lists: {known}")
        tokens = [token for mine in self._first_tokens(prompt.choices) for token in mine]
        return chat_body(self._model, prompt, can, tokens)

    def _first_tokens(self, choices: tuple[str, ...]) -> list[list[int]]:
        """Look up the first tokens of choices, where the server takes them; one that two share speaks for neither."""
        if not choices or not self._can.token_ids:
            return []
        if choices not in self._first:
            found = [set(first_tokens(self._calls, self._model, choice)) for choice in choices]
            every = [token for tokens in found for token in tokens]
            own = [[token for token in sorted(tokens) if every.count(token) == 1] for tokens in found]
            if not all(own):
                choice = choices[own.index([])]
                raise EngineError(f"{self._where}: choice {choice!r} has no first token of its own; use letters")
            self._first[choices] = own
        return self._first[choices]

    def _give_up(self, got: Got, failed: int) -> None:
        """Raise when what went wrong with one prompt will go wrong with all."""
        raise_if_refused(got, self._where, self._calls.api_key_env)
        kept = "what was answered before is stored; run the same command again to go on"
        if got.gone:
            raise EngineError(f"{self._where}: the server is gone: {got.error}; start it again: {kept}")
        if got.status == 404:
            raise EngineError(f"{self._where}: the server does not serve this model any more: {got.error}; {kept}")
        if failed >= _HOPELESS:
            raise EngineError(f"{self._where}: {failed} prompts in a row failed, the last with: {got.error}; {kept}")

    def _check_options(self, concurrency: int, timeout: float, retries: int, api_key_env: str) -> None:
        def wrong(name: str, allowed: str, value: object) -> EngineError:
            return EngineError(f"{self._where}: {name} must be {allowed}, not {value!r}")

        if not isinstance(concurrency, int) or not 1 <= concurrency <= 1000:
            raise wrong("concurrency", "a whole number from 1 to 1000", concurrency)
        if not isinstance(timeout, int | float) or not timeout > 0:
            raise wrong("timeout", "a number of seconds above 0", timeout)
        if not isinstance(retries, int) or retries < 0:
            raise wrong("retries", "a whole number, 0 or more", retries)
        if not isinstance(api_key_env, str) or not _VARIABLE.fullmatch(api_key_env):
            raise EngineError(
                f"{self._where}: api_key_env must be the name of an environment variable that holds the key, "
                "not the key itself; the default is OPENAI_API_KEY"
            )


def _checked_place(model: str, url: str) -> str:
    """Check the address and give it as it may stand in a fingerprint, without repeating what may be a secret."""
    form = "write server:MODEL@URL, for example server:qwen2.5:3b@http://localhost:11434/v1"
    if "://" in model:
        raise EngineError(f"server: the address holds a user name or key before its host; take it out: {form}")
    if not url:
        raise EngineError(f"server: needs the address of the server; {form}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise EngineError(f"server:{model}: the address cannot be read; {form}") from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise EngineError(
            f"server:{model}: the address must hold no user name, key or query; "
            "keys come from the environment, by the option api_key_env"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise EngineError(f"server:{model}: the address must begin with http:// or https:// and a host; {form}")
    place = f"[{host}]" if ":" in host else host
    return f"{place}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
