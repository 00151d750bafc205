"""OpenAI's newer dialect, Responses, by which some of its models want to be asked."""
