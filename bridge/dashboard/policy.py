"""What the browser lets a page of ours load, run and send: only what comes from this site, and no inline script."""

from secure import ContentSecurityPolicy

CHECKOUT = "https://checkout.stripe.com"  # a top-up's form redirects there
PORTAL = "https://billing.stripe.com"  # a plan's form, to change the card


def page_policy(widget_hosts: str = "") -> str:
    """The Content-Security-Policy of a page; with a widget of another company, also its script and frames."""
    hosts = widget_hosts.split()
    policy = ContentSecurityPolicy().default_src("'self'").img_src("'self'", "data:")
    if hosts:
        policy = policy.script_src("'self'", *hosts).frame_src(*hosts)
        policy = policy.style_src("'self'", *hosts).connect_src("'self'", *hosts)
    policy = policy.object_src("'none'").base_uri("'none'").frame_ancestors("'none'")
    return str(policy.form_action("'self'", CHECKOUT, PORTAL).header_value)
