"""The benchmark: the gateway as shipped beside a plain nginx proxy, both before the same cheap upstream."""
