"""server: any endpoint that speaks OpenAI's chat completions, asked through the openai client."""

from popsim.engines.server.engine import Server

__all__ = ["Server"]
