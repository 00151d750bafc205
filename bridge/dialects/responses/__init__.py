"""OpenAI's Responses, without the state that OpenAI keeps for them."""
