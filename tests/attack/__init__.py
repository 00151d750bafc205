"""The attack: what one customer, stranger or upstream can send, and how long another customer waits beside it."""
