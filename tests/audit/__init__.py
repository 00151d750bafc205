"""The audit of the money: a gateway under everything that can go wrong, and every request reconciled afterwards."""
