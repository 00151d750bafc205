"""What is asked for as JSON."""

import pydantic


class Event(pydantic.BaseModel):
    """Something that happens."""

    name: str
    day: str
